"""aiortc bots: a second, independent protocol stack that decodes what it receives, in child processes.

The parent's side: starts the children and passes orders; what the children do is in aiortc_worker.py. Media never
enters this process, so its event loop stays free for signalling.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa

from simulator.child import bound_command, how_it_ended
from simulator.client.bot import (
    Bot,
    BotSettings,
    Incoming,
    candidate_addresses,
    media_blocked,
    pick_capabilities,
)
from simulator.client.media_server import Direction, Json
from simulator.errors import BotError, NotServedError
from simulator.samples.schema import GENERATOR, TABLES, Kind, rows_to_batch

ORDER_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 3.0
_COLLECTED = ("streams", "latency", "sent", "receivers", "pauses", "playout")
"""Tables that the children fill."""
_LINE_LIMIT = 64 * 1024 * 1024


class AiortcBot:
    """One aiortc bot, living in a child process."""

    kind_of_bot = "aiortc"
    decodes = True
    takes_early = False

    def __init__(self, number: int, process: ChildProcess) -> None:
        self.number = number
        self.generator = process.name
        self._process = process
        self._addresses = ""

    def capabilities(self, router: Json) -> Json:
        """Choose opus and VP8 with aiortc's feedback and extensions; it knows no transport-wide feedback."""
        return pick_capabilities(
            router,
            mime_types=("audio/opus", "video/VP8"),
            feedback=(("nack", ""), ("nack", "pli"), ("goog-remb", "")),
            extensions=(
                "urn:ietf:params:rtp-hdrext:sdes:mid",
                "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
                "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            ),
        )

    async def connect(self, which: Direction, transport: Json) -> Json:
        """Begin ICE and DTLS towards the server's transport; returns the `dtlsParameters` for the server."""
        if which == "send":
            self._addresses = candidate_addresses(transport)
        dtls: Json = await self._order("connect", which=which, transport=transport)
        return dtls

    async def produce(self, kind: Kind) -> Json:
        """Return the `rtpParameters` of what it will send."""
        parameters: Json = await self._order("produce", kind=kind)
        return parameters

    async def start_sending(self, kind: Kind) -> None:
        """Send, once the server has the producer and the transport is up."""
        try:
            await asyncio.wait_for(self._order("start_sending", kind=kind), CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise NotServedError(media_blocked(self.number, CONNECT_TIMEOUT_S, self._addresses)) from error

    async def consume(self, streams: Sequence[Incoming]) -> None:
        """Get ready to receive and decode streams that do not flow yet."""
        await self._order(
            "consume",
            streams=[
                {"tag": s.tag, "sender": s.sender, "kind": s.kind, "rtp_parameters": s.rtp_parameters}
                for s in streams
            ],
        )

    async def close(self) -> None:
        """Stop all media. Idempotent."""
        await self._order("close")

    async def _order(self, do: str, **values: object) -> Any:
        return await self._process.order(do, bot=self.number, **values)


class ChildProcess:
    """One child with a few bots. Owns it: :meth:`stop` ends it, whatever it is doing."""

    program = "simulator.bots.aiortc_worker"
    """The module it runs."""

    def __init__(self, name: str, settings: BotSettings, log: Path) -> None:
        self.name = name
        self._settings = settings
        self._log_path = log
        self._log: IO[bytes] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0
        self._stopping = False
        self.broken: list[str] = []
        """What went wrong on its own."""

    async def start(self) -> int:
        """Start it and hand over the settings; returns its process id."""
        self._log = self._log_path.open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *bound_command([sys.executable, "-m", self.program]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            limit=_LINE_LIMIT,
            start_new_session=True,  # Ctrl-C is for the run, which then ends its children in order
        )
        self._reading = asyncio.create_task(self._read())
        settings = self._settings
        await self.order(
            "setup",
            seed=settings.seed,
            bind=settings.bind,
            clip=settings.clip,
            synthetic=settings.synthetic,
            relay_only=settings.relay_only,
            audio_stamp_every=settings.audio_stamp_every,
            network=settings.network.model_dump(),
        )
        return self._process.pid

    async def order(self, do: str, **values: object) -> Any:
        """Have something done and return the answer.

        Raises:
            BotError: The child refused, is gone, or did not answer in time.
        """
        if self._process is None or self._process.stdin is None or self._process.returncode is not None:
            raise BotError(self._ending())
        self._next_id += 1
        number = self._next_id
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._process.stdin.write(json.dumps({"id": number, "do": do, **values}).encode() + b"\n")
            await self._process.stdin.drain()
            return await asyncio.wait_for(future, ORDER_TIMEOUT_S)
        except TimeoutError as error:
            raise BotError(f"{self.name} did not answer {do!r} within {ORDER_TIMEOUT_S:g} s") from error
        except (ConnectionError, RuntimeError) as error:
            # uvloop raises RuntimeError for a pipe that is closed. The child is ending: wait until it is known how.
            await asyncio.wait({asyncio.ensure_future(self._process.wait())}, timeout=_STOP_TIMEOUT_S)
            raise BotError(self._ending()) from error
        finally:
            self._waiting.pop(number, None)

    async def stop(self) -> None:
        """End the child: by closing its input, and by force if that does not help. Idempotent."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
            except asyncio.CancelledError:
                process.kill()
                raise
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._log is not None:
            self._log.close()
            if self._log_path.exists() and self._log_path.stat().st_size == 0:
                self._log_path.unlink()

    async def _read(self) -> None:
        """Take answers and events until the child ends."""
        stdout = self._process.stdout if self._process is not None else None
        while stdout is not None and (line := await stdout.readline()).endswith(b"\n"):  # else it was cut off
            message = json.loads(line)
            if "event" in message:
                self._event(message)
                continue
            future = self._waiting.get(message["id"])
            if future is None or future.done():
                continue
            if "error" in message:
                future.set_exception(BotError(f"{self.name}: {message['error']}"))
            else:
                future.set_result(message["ok"])
        if self._process is not None:
            await self._process.wait()
        if not self._stopping:
            self.broken.append(self._ending())
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BotError(self._ending()))

    def _event(self, message: Json) -> None:
        name, unix_ns = message.pop("event"), message.pop("unix_ns")
        self._settings.on_event(name, unix_ns, **message)

    def _ending(self) -> str:
        try:
            lines = self._log_path.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        code = None if self._process is None else self._process.returncode
        last = f": {lines[-1]}" if lines and not (code is not None and code < 0) else ""
        return f"{self.name} {how_it_ended(code)}; its log is {self._log_path.name} of the run{last}"


class AiortcGenerator:
    """All aiortc bots of a run, in as many children as their number asks for."""

    def __init__(self, settings: BotSettings, logs: Path) -> None:
        self._settings = settings
        self._logs = logs
        self._children: list[ChildProcess] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(child.stop() for child in self._children))

    async def spawn(self, numbers: Sequence[int]) -> Sequence[Bot]:
        """Start the children that these bots need, and the bots in them."""
        size = self._settings.bots_per_process
        groups = [numbers[i : i + size] for i in range(0, len(numbers), size)]
        first = len(self._children)
        new = [
            ChildProcess(f"aiortc-{first + i}", self._settings, self._logs / f"aiortc-{first + i}.log")
            for i in range(len(groups))
        ]
        self._children += new
        await asyncio.gather(*(child.start() for child in new))
        bots: list[Bot] = []
        for child, group in zip(new, groups, strict=True):
            for number in group:
                await child.order("spawn", bot=number)
                bots.append(AiortcBot(number, child))
        return bots

    async def collect(self, tick: int) -> Mapping[str, Sequence[pa.RecordBatch]]:
        """Return what was measured since the last call, by table."""
        answers = await asyncio.gather(
            *(child.order("collect", tick=tick) for child in self._children), return_exceptions=True
        )
        batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in (*_COLLECTED, "generator")}
        for child, answer in zip(self._children, answers, strict=True):
            if isinstance(answer, BotError):
                continue  # failures() reports it
            if isinstance(answer, BaseException):
                raise answer
            for name in _COLLECTED:
                batches[name].append(rows_to_batch(TABLES[name], answer[name]))
            g = answer["generator"]
            row = (
                tick,
                g["unix_ns"],
                child.name,
                g["cpu_ns"],
                g["lag_max_us"],
                g["stalled_us"],
                0,
                g["sends"],
                g["late_sends"],
            )
            batches["generator"].append(rows_to_batch(GENERATOR, [row]))
        return batches

    def failures(self) -> list[str]:
        """Return what failed on its own since the last call."""
        found = [text for child in self._children for text in child.broken]
        for child in self._children:
            child.broken.clear()
        return found
