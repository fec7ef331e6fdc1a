"""The path of one participant through a media server: built at once, or prepared while the call goes straight.

One session at a time. When a call goes this way is decided in client/mode_changes.py.
"""

from __future__ import annotations

import asyncio

from simulator.client.call_records import Transition
from simulator.client.call_requests import CallRequests
from simulator.client.call_state import CallState
from simulator.client.call_tasks import TROUBLES, CallTasks
from simulator.client.legs import CallBot, ServerLeg
from simulator.client.media_server import Json, ParticipantSession
from simulator.client.sfu_session import SfuSession
from simulator.errors import SignalingError

GATHER_S = 0.005
"""How long announcements are gathered into one consume request."""
CROWD = 8
CROWD_GATHER_S = 0.1
"""The same once so many streams are received: in a storm of joins one request for all beats one for each."""

ServerSession = SfuSession[ServerLeg]


class ServerPath:
    """A session on a media server, or none."""

    session: ServerSession | None = None

    def __init__(self, bot: CallBot, requests: CallRequests, tasks: CallTasks, state: CallState) -> None:
        self._bot = bot
        self._requests = requests
        self._tasks = tasks
        self._state = state
        self._opening: asyncio.Task[None] | None = None
        self._consuming: asyncio.Task[None] | None = None

    @property
    def is_prewarmed(self) -> bool:
        """Whether a session is open, be it only prepared."""
        return self.session is not None and self.session.is_open and self._opening is None

    @property
    def is_live(self) -> bool:
        """Whether a session was told to send."""
        return self.session is not None and self.session.live

    @property
    def flows(self) -> bool:
        """Whether a session was told to send, and its room is there."""
        return self.session is not None and self.session.live and self.session.gone is None

    def leads_to(self, room_id: object) -> bool:
        """Whether a session is in this room, and the room is there."""
        session = self.session
        return session is not None and session.gone is None and session.room_id == room_id

    async def prewarm(self, payload: Json) -> None:
        """Prepare a session to the room that is named; the gateway is told how that went.

        Raises:
            SimulatorError: The bot could not make a leg.
        """
        await self.drop()
        session = await self._begin(payload)

        async def open_session() -> None:
            try:
                await session.open(paused=True)
                report: Json = {"success": True}
            except TROUBLES as error:
                report = {"success": False, "error": str(error)[:500]}
                self._state.note("prewarm-failed", error=str(error))
            self._opening = None
            self._state.changed()
            await self._requests.report("call:sfu-ready", **report)

        self._opening = self._tasks.start(open_session())

    async def open(self, payload: Json, transition: Transition | None) -> ServerSession:
        """Return the pre-warmed session in the room that is named, or build one.

        Raises:
            SimulatorError: No server is named, or it refused or cannot be reached.
        """
        config = payload.get("mediaServerConfig")
        if not config:
            raise SignalingError("the gateway names no media server for mode sfu")
        rehomed = transition is not None and transition.old == "sfu"
        session, opening = self.session, self._opening
        if session is not None and self.leads_to(config.get("roomId")) and not rehomed:
            if opening is not None:
                await opening
            if session is self.session and session.is_open:
                if transition is not None:
                    transition.prewarmed = True
                return session
        # After a re-homing the old room is gone, or the gateway ends it: a goodbye could only reach the new one.
        await self.drop(leave=not rehomed)
        session = await self._begin(payload)
        await session.open()
        return session

    async def drop(self, *, leave: bool = True) -> None:
        """Close the session, with a goodbye to the server unless the room goes anyway. Idempotent."""
        session, self.session = self.session, None
        opening, self._opening = self._opening, None
        if opening is not None and opening is not asyncio.current_task():
            opening.cancel()
        consuming, self._consuming = self._consuming, None
        if consuming is not None:
            consuming.cancel()
        if session is not None:
            await session.close(leave=leave)

    def look(self) -> None:
        """Let those who wait for media check again."""
        if self.session is not None:
            self.session.bot.arrivals.look()

    async def _begin(self, payload: Json) -> ServerSession:
        """Make a session that is not open yet, and consume in it."""
        state, shared = self._state, self._state.shared
        config = payload["mediaServerConfig"]
        rest = shared.servers.at(str(payload["mediaServerUrl"]))
        session = self.session = SfuSession(
            await self._bot.server_leg(),
            ParticipantSession(rest, state.call_id, state.participant_id, str(payload["mediaToken"])),
            kinds=shared.kinds_of(state.number),
            sender_of=state.wanted_sender,
            gather_s=_gather_s,
            room_id=config.get("roomId"),
        )
        session.bot.arrivals.watch(state.shown.entered)
        state.changed()
        self._consuming = self._tasks.start(self._consume(session))
        return session

    async def _consume(self, session: ServerSession) -> None:
        try:
            await session.consume_forever()
        except TROUBLES as error:
            session.bot.arrivals.fail(str(error))
            self._state.note("consume-failed", error=str(error))


def _gather_s(streams: int) -> float:
    return GATHER_S if streams < CROWD else CROWD_GATHER_S
