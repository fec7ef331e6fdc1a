"""A group call on another media server: joins, measuring, draining and verdict are those of `meeshy simulate group`."""

from __future__ import annotations

import contextlib
from pathlib import Path

from loadtests.peers.adapter import PeerServer, Room, Seat
from simulator.bots.native import NativeBot
from simulator.client.bot import Bot
from simulator.client.server_figures import ServerFigures
from simulator.errors import SimulatorError, UsageError
from simulator.runs.group import PATTERN, CallServer, GroupRun, Participant, Plan
from simulator.runs.server_watch import ServerWatch
from simulator.samples.recorder import Recorder
from simulator.scenario import Scenario
from simulator.stack.watchdog import Watchdog


async def _no_figures() -> ServerFigures | None:
    return None


class PeerRun(GroupRun):
    """One call of native bots on another media server."""

    def __init__(
        self,
        peer: PeerServer,
        scenario: Scenario,
        *,
        state: Path,
        out: Path | None = None,
        senders: int | None = None,
    ) -> None:
        count = scenario.participants.count
        if scenario.participants.bots != "native":
            raise UsageError("peers are tried with native bots")
        if senders is not None and not 1 <= senders <= count:
            raise UsageError(f"--senders is {senders}, but there are {count} participants (--participants)")
        super().__init__(PATTERN, scenario, state=state, out=out, plan=Plan(scenario, senders))
        self._peer = peer

    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        async with contextlib.AsyncExitStack() as open_things:
            room = await open_things.enter_async_context(
                self._peer.open_room(directory, self._scenario.participants.count)
            )
            if room.process is not None:
                watchdog.watch_process(room.process.pid or 0)
            watch = await open_things.enter_async_context(ServerWatch(_no_figures, recorder))
            server = CallServer(
                room.url,
                f"peer-{self._peer.name}",
                watch,
                lambda bot: self._session(room, bot, recorder),
                room.process,
            )
            try:
                await self._call(recorder, directory, clip, server)
            except SimulatorError as error:
                self._broke_off(recorder, error)

    def _session(self, room: Room, bot: Bot, recorder: Recorder) -> Participant:
        if not isinstance(bot, NativeBot):
            raise UsageError("peers are tried with native bots")
        sends = self._plan.sends(bot.number)
        return room.session(Seat(bot, self._scenario.media.kinds, sends, recorder.event))
