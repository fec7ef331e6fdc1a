"""Debian's Janus, unpacked by `.ci/setup` or installed, as a child process on free ports with a configuration of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

from loadtests.peers.child import START_TIMEOUT_S, PeerProcess
from meeshy_sfu.free_ports import free_ports
from simulator.client.routes import local_address
from simulator.errors import StackError, UsageError

UNPACKED = Path(__file__).resolve().parents[2] / ".tools" / "janus"
_POLL_S = 0.05
_ELSEWHERE = "ws://192.0.2.1"
"""An address of documentation (RFC 5737), which no machine has."""


def janus_root() -> Path | None:
    """Return the directory below which Janus is: that of `.ci/setup`, else the system's; None without Janus."""
    if (UNPACKED / "usr/bin/janus").exists():
        return UNPACKED
    return Path("/") if shutil.which("janus") else None


def configuration(plugins: Path, transports: Path, configs: Path) -> str:
    """Write janus.jcfg. With ICE-lite the bots control ICE on both transports, as they always do."""
    folders = (
        f'configs_folder = "{configs}"\n plugins_folder = "{plugins}"\n transports_folder = "{transports}"'
    )
    return (
        f'general: {{\n {folders}\n debug_level = 4\n server_name = "meeshy"\n}}\n'
        "nat: {\n ice_lite = true\n ice_tcp = false\n full_trickle = false\n}\n"
        'plugins: {\n disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_lua.so,libjanus_sip.so,'
        "libjanus_nosip.so,libjanus_recordplay.so,libjanus_streaming.so,libjanus_textroom.so,"
        'libjanus_videocall.so,libjanus_voicemail.so,libjanus_echotest.so"\n}\n'
        'transports: {\n disable = "libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,'
        'libjanus_rabbitmq.so"\n}\n'
    )


class JanusProcess(PeerProcess):
    """Janus, with a configuration that goes when it ends."""

    def __init__(self, directory: Path) -> None:
        root = janus_root()
        if root is None:
            raise UsageError("Janus is missing. Run .ci/setup test, or: sudo apt-get install -y janus")
        super().__init__("Janus", directory / "janus.log")
        self._root, self._configs = root, directory.absolute() / "janus-config"
        self.api_url = ""
        self.media_url = f"http://{_own_address()}"
        """Janus gathers no candidates on loopback; its media is at the machine's own address."""

    async def _start(self) -> None:
        [port] = free_ports(1)
        self.api_url = f"ws://127.0.0.1:{port}"
        self._configs.mkdir()
        (library,) = (
            path for path in (self._root / "usr/lib").glob("*/janus") if (path / "plugins").is_dir()
        )
        text = configuration(library / "plugins", library / "transports", self._configs)
        (self._configs / "janus.jcfg").write_text(text)
        (self._configs / "janus.transport.websockets.jcfg").write_text(
            f'general: {{\n json = "compact"\n ws = true\n ws_port = {port}\n ws_ip = "127.0.0.1"\n wss = false\n}}\n'
            "admin: {\n admin_ws = false\n}\n"
        )
        (self._configs / "janus.plugin.videoroom.jcfg").write_text("general: {\n}\n")
        await self._launch(
            [str(self._root / "usr/bin/janus"), "-F", str(self._configs)],
            environment={**os.environ, "LD_LIBRARY_PATH": str(library.parent)},
        )
        await self._until_up(port)

    async def _until_up(self, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if complaint := self.complaint():
                raise StackError(complaint)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if time.monotonic() > deadline:
                    raise StackError(self._not_ready()) from None
                await asyncio.sleep(_POLL_S)
            else:
                writer.close()
                return

    async def _stop(self) -> None:
        await super()._stop()
        shutil.rmtree(self._configs, ignore_errors=True)


def _own_address() -> str:
    """Return the address of this machine's first route."""
    try:
        return local_address(_ELSEWHERE)
    except OSError as error:
        raise UsageError("Janus needs a network address beside loopback; this machine has none") from error
