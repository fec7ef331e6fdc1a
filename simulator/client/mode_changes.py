"""Changes of a call's mode, as one participant follows them: build the new path, confirm it, close the old one.

The client's part of docs/gateway.md: a path is closed only when the gateway has announced that all are on the other
one. The paths themselves are in client/peer_path.py and client/server_path.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from simulator.client.call_records import Transition
from simulator.client.call_requests import CallRequests
from simulator.client.call_state import CallState
from simulator.client.call_tasks import TROUBLES, CallTasks
from simulator.client.legs import Arrivals, Track
from simulator.client.media_server import Json
from simulator.client.peer_path import PeerPath
from simulator.client.server_path import ServerPath, ServerSession

NS_PER_MS = 1_000_000


class ModeChanges:
    """The changes of mode of one participant, one at a time: a new one ends the work of the last."""

    current: Transition | None = None
    """The change that goes on."""

    def __init__(
        self,
        peer: PeerPath,
        server: ServerPath,
        *,
        requests: CallRequests,
        tasks: CallTasks,
        state: CallState,
    ) -> None:
        self._peer = peer
        self._server = server
        self._requests = requests
        self._tasks = tasks
        self._state = state
        self._building: asyncio.Task[None] | None = None

    def join(self, payload: Json) -> None:
        """Build the path to the media server as a newcomer.

        Raises:
            BotError: The participant is not running.
        """
        self._building = self._tasks.start(self._build_sfu(payload, None))

    def begin(self, payload: Json, told_ns: int) -> None:
        """Build the path that the gateway asks for.

        Raises:
            BotError: The participant is not running.
        """
        if self._building is not None:
            self._building.cancel()
        transition = Transition(
            epoch=int(payload["epoch"]),
            old=str(payload["oldMode"]),
            new=str(payload["newMode"]),
            reason=str(payload.get("reason") or ""),
            told_ns=told_ns,
            decided_ns=self._decided_ns(payload.get("switchDeadline")),
        )
        self.current = transition
        self._state.record.transitions.append(transition)
        work = self._build_sfu if transition.new == "sfu" else self._build_p2p
        self._building = self._tasks.start(work(payload, transition))

    async def end(self, payload: Json, unix_ns: int) -> None:
        """Take over what the gateway says has become of a change, and close the path that is not used."""
        epoch, mode = int(payload["epoch"]), str(payload["mode"])
        transition, self.current = self.current, None
        if transition is not None and transition.epoch == epoch:
            transition.completed_ns, transition.success = unix_ns, bool(payload["success"])
            if not transition.success and not transition.error:
                transition.error = str(payload.get("reason") or "rolled back")
        ours = transition is None or transition.epoch == epoch  # a newcomer builds without a transition
        if self._building is not None and ours and not payload["success"]:
            self._building.cancel()
        self._state.move(mode, epoch)
        self._state.note("switched", epoch=epoch, mode=mode, success=payload["success"])
        if mode == "sfu":
            await self._peer.drop()
        else:
            # After a success the gateway ends the room; a goodbye could reach the next one of the same call.
            await self._server.drop(leave=not payload["success"])

    async def resume(self, data: Json, unix_ns: int) -> None:
        """Go on where the call is now, from the gateway's answer to a participant who comes back.

        Raises:
            SimulatorError: The gateway refused, or the bot could not.
        """
        mode, phase, epoch = str(data["mode"]), str(data["phase"]), int(data["epoch"])
        news = self.current is None or self.current.epoch != epoch
        if self._peer.peer is not None and not self._state.has(self._peer.peer):
            await self._peer.drop()
        if phase == "switching_to_sfu":
            old = "p2p" if self._peer.leg is not None else "sfu"
            # Without a server named, its room is still being made: call:mode-switch follows.
            if news and data.get("mediaServerConfig"):
                self.begin({**data, "oldMode": old, "newMode": "sfu"}, unix_ns)
        elif phase == "switching_to_p2p" and news:
            if mode == "p2p":
                await self._peer.drop()
            self.begin({**data, "oldMode": mode, "newMode": "p2p"}, unix_ns)
        elif phase == "sfu":
            config = data.get("mediaServerConfig") or {}
            if config and not (self._server.flows and self._server.leads_to(config.get("roomId"))):
                self.begin({**data, "oldMode": "sfu", "newMode": "sfu"}, unix_ns)
            elif self._server.flows:
                self.current = None
                await self._peer.drop()
        elif phase == "p2p":
            self.current = None
            if self._server.is_live:
                await self._server.drop(leave=False)
            if self._peer.leg is None and data.get("initiator") and data.get("peer"):
                await self._peer.offer(str(data["peer"]))
        self._state.move(mode, epoch)

    async def _build_sfu(self, payload: Json, transition: Transition | None) -> None:
        """Move to the media server: as one of those who are there, or (without transition) as a newcomer."""
        epoch = int(payload["epoch"])
        try:
            if transition is not None and transition.old == "p2p" and self._peer.peer is not None:
                wanted = self._state.tracks([self._state.number_of(self._peer.peer)])
            else:
                wanted = self._state.announced(payload["producers"])
            session = await self._server.open(payload, transition)
            await session.go_live()
            await session.bot.prefer()
            media_ns = await self._received(session.bot.arrivals, wanted)
        except TROUBLES as error:
            await self._fail(epoch, "sfu", transition, error)
            return
        _note_media(transition, media_ns, wanted)
        await self._confirm(epoch, "sfu", session)

    async def _build_p2p(self, payload: Json, transition: Transition) -> None:
        peer = payload.get("peer")
        wanted: Sequence[Track] = ()
        media_ns = time.time_ns()
        try:
            if peer is not None:
                wanted = self._state.tracks([self._state.number_of(str(peer))])
                if payload.get("initiator"):
                    await self._peer.offer(str(peer))
                leg = await self._peer.leg_to(str(peer))
                media_ns = await self._received(leg.arrivals, wanted)
        except TROUBLES as error:
            await self._fail(transition.epoch, "p2p", transition, error)
            return
        _note_media(transition, media_ns, wanted)
        await self._confirm(transition.epoch, "p2p")

    async def _received(self, arrivals: Arrivals, wanted: Sequence[Track]) -> int:
        return await arrivals.wait_for(self._state.still(wanted))

    async def _confirm(self, epoch: int, mode: str, session: ServerSession | None = None) -> None:
        details: Json = {}
        if session is not None:
            details = {
                "sfuSendTransportId": session.transports["send"],
                "sfuRecvTransportId": session.transports["recv"],
                "producerIds": dict(session.producers),
            }
        await self._requests.report("call:mode-switched", mode=mode, epoch=epoch, success=True, **details)

    async def _fail(self, epoch: int, mode: str, transition: Transition | None, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"[:500]
        self._state.note("switch-failed", epoch=epoch, mode=mode, error=text)
        if transition is not None:
            transition.error = text
        await self._requests.report("call:mode-switched", mode=mode, epoch=epoch, success=False, error=text)

    def _decided_ns(self, deadline_ms: object) -> int:
        if not isinstance(deadline_ms, int | float):
            return 0
        return int(deadline_ms * NS_PER_MS - self._state.shared.switch_deadline_s * 1e9)


def _note_media(transition: Transition | None, media_ns: int, wanted: Sequence[Track]) -> None:
    if transition is not None:
        transition.media_ns, transition.confirmed_ns = media_ns, time.time_ns()
        transition.peers = tuple(sorted({number for number, _ in wanted}))
