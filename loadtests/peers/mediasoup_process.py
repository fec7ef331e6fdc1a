"""The Node host of mediasoup as a child process, on a free port of loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from loadtests.peers.child import START_TIMEOUT_S, PeerProcess
from simulator.errors import StackError, UsageError

HOST = Path(__file__).resolve().parent / "mediasoup_host"


class MediasoupProcess(PeerProcess):
    """The host and its worker, which ends with it."""

    def __init__(self, directory: Path, host: Path = HOST) -> None:
        if shutil.which("node") is None:
            raise UsageError("node is missing: Node.js >= 20 runs the host of mediasoup")
        if not (host / "node_modules" / "mediasoup").is_dir():
            raise UsageError(f"mediasoup is missing: run npm install in {host}")
        super().__init__("the host of mediasoup", directory / "mediasoup.log")
        self.url = ""
        self._host = host
        self._worker: int | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the worker, which carries the media."""
        return self._worker

    async def _start(self) -> None:
        process = await self._launch(["node", str(self._host / "host.mjs")], speaks=True)
        said = process.stdout
        try:
            line = b"" if said is None else await asyncio.wait_for(said.readline(), START_TIMEOUT_S)
        except TimeoutError:
            raise StackError(self._not_ready()) from None
        if not line:
            await process.wait()
            raise StackError(self.complaint() or f"{self._name} said nothing")
        ready = json.loads(line)
        self.url, self._worker = str(ready["url"]), int(ready["worker"])
