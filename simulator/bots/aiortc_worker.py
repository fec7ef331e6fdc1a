"""A child process with a few aiortc bots: takes orders as JSON lines on standard input, answers on standard output.

Python media costs so much that bots share processes only by twos and threes. Every order is `{"id", "do", …}` and
gets `{"id", "ok"}` or `{"id", "error"}`; `{"event", …}` comes unasked. The end of the input ends the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import uvloop

from simulator.bots.aiortc_media import Playout, SentFrame
from simulator.bots.aiortc_peer import NOT_COUNTED, Peer, use_address
from simulator.bots.clip import Clip
from simulator.bots.frame_check import Sample
from simulator.bots.netem import link_seed
from simulator.client.media_server import Json
from simulator.scenario import Network

LAG_PERIOD_S = 0.02
"""How often the event loop is asked whether it is on time."""
_LINE_LIMIT = 64 * 1024 * 1024


STALL_US = 20_000
"""From this lateness on the event loop stood still rather than being busy."""


class LagMeter:
    """How late the event loop is. aiortc reads sockets without the kernel's stamps: a late loop makes media look late."""

    def __init__(self) -> None:
        self._worst_us = 0
        self.stalled_us = 0
        """Length of all stalls."""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            due = time.monotonic() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            self.note(int((time.monotonic() - due) * 1e6))

    def note(self, late_us: int) -> None:
        """Take how late the loop was this time."""
        self._worst_us = max(self._worst_us, late_us)
        if late_us >= STALL_US:
            self.stalled_us += late_us

    def take(self) -> int:
        """Return the worst lag since the last call, in microseconds."""
        worst, self._worst_us = self._worst_us, 0
        return worst


class Worker:
    """The bots of this process and what they measure."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._peers: dict[int, Peer] = {}
        self._samples: list[Sample] = []
        self._playouts: list[Playout] = []
        self._sent: list[SentFrame] = []
        self._settings: Json = {}
        self._clip: Clip | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.lag = LagMeter()

    def take(self, line: bytes) -> None:
        """Carry out one order, beside the others that are under way."""
        order = json.loads(line)
        task = asyncio.create_task(self._answer(order))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all bots."""
        await asyncio.gather(*(peer.close() for peer in self._peers.values()), return_exceptions=True)

    async def _answer(self, order: Json) -> None:
        try:
            answer: Json = {"id": order["id"], "ok": await self._do(order)}
        except Exception as error:  # whatever it is belongs to the run that asked
            logging.getLogger(__name__).exception("order %s failed", order.get("do"))
            answer = {"id": order["id"], "error": f"{type(error).__name__}: {error}"}
        self._write(answer)

    async def _do(self, order: Json) -> Any:
        match order["do"]:
            case "setup":
                self._settings = order
                use_address(order["bind"])
                self._clip = Clip.load(Path(order["clip"]))
                return os.getpid()
            case "spawn":
                self._spawn(order["bot"])
            case "connect":
                return await self._peers[order["bot"]].connect(order["which"], order["transport"])
            case "produce":
                return await self._peers[order["bot"]].produce(order["kind"])
            case "start_sending":
                await self._peers[order["bot"]].start_sending(order["kind"])
            case "consume":
                await self._peers[order["bot"]].consume(order["streams"])
            case "close":
                await self._peers[order["bot"]].close()
            case "collect":
                return self._collect(order["tick"])
            case unknown:
                raise ValueError(f"unknown order {unknown!r}")
        return None

    def _spawn(self, bot: int) -> None:
        if self._clip is None:
            raise RuntimeError("spawn before setup")
        seed = self._settings["seed"]
        self._peers[bot] = Peer(
            bot,
            clip=self._clip,
            synthetic=self._settings["synthetic"],
            network=Network.model_validate(self._settings["network"]),
            seeds=(link_seed(seed, bot, down=False), link_seed(seed, bot, down=True)),
            on_sample=self._samples.append,
            on_playout=self._playouts.append,
            on_sent=self._sent.append,
            audio_stamp_every=self._settings["audio_stamp_every"],
            notice=self._notice,
        )

    def _collect(self, tick: int) -> Json:
        receivers = self._receivers(tick)  # before what they count, so that no sample is missed
        samples, self._samples[:] = list(self._samples), []
        sent, self._sent[:] = list(self._sent), []
        playouts, self._playouts[:] = list(self._playouts), []
        clocks = [clock for peer in self._peers.values() for clock in peer.clocks]
        return {
            "streams": [row for peer in self._peers.values() for row in peer.rows(tick)],
            "latency": samples,
            "sent": sent,
            "receivers": receivers,
            "pauses": [pause for peer in self._peers.values() for pause in peer.take_pauses()],
            "playout": playouts,
            "generator": {
                "unix_ns": time.time_ns(),
                "cpu_ns": time.process_time_ns(),
                "lag_max_us": self.lag.take(),
                "stalled_us": self.lag.stalled_us,
                "sends": sum(clock.sends for clock in clocks),
                "late_sends": sum(clock.late for clock in clocks),
            },
        }

    def _receivers(self, tick: int) -> list[tuple[int | None, ...]]:
        now_ns = time.time_ns()
        return [(tick, now_ns, bot, *peer.tally(), *NOT_COUNTED) for bot, peer in self._peers.items()]

    def _notice(self, event: str, **values: object) -> None:
        self._write({"event": event, "unix_ns": time.time_ns(), **values})

    def _write(self, value: Json) -> None:
        self._output.write(json.dumps(value).encode() + b"\n")
        self._output.flush()


async def serve(make: Callable[[BinaryIO], Worker]) -> None:
    """Take orders until the input ends."""
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    worker = make(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    async with asyncio.TaskGroup() as group:
        lag = group.create_task(worker.lag.run())
        while line := await reader.readline():
            worker.take(line)
        await worker.close()
        lag.cancel()


def main(make: Callable[[BinaryIO], Worker] = Worker) -> None:
    """Be a child process with this kind of worker."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        uvloop.run(serve(make))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)


if __name__ == "__main__":
    main()
