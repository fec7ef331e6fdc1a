"""One participant in a call of the gateway: sets up the legs it is told to, changes, confirms, and closes old ones.

The client's part of docs/gateway.md: a leg is closed only when the gateway has announced that all are on the other
one. Media is the bot's (client/legs.py), the way through the media server is in client/sfu_session.py;
who joins when is decided by the scenarios.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from meeshy_sfu.errors import MeeshyError
from simulator.client.call_records import Arrival, Record, SharedContext, Transition
from simulator.client.gateway import RECONNECTED, GatewaySocket, Message
from simulator.client.legs import Arrivals, CallBot, PeerLeg, ServerLeg, Track
from simulator.client.media_server import Json, ParticipantSession
from simulator.client.sfu_session import SfuSession
from simulator.errors import BotError, ServerRefusedError, SignalingError, SimulatorError
from simulator.samples.schema import Kind

NS_PER_MS = 1_000_000
SIGNAL_ATTEMPTS, SIGNAL_PAUSE_S = 30, 0.1
REJOIN_ATTEMPTS = 30
GATHER_S = 0.005
"""How long announcements are gathered into one consume request."""
CROWD = 8
CROWD_GATHER_S = 0.1
"""The same once so many streams are received: in a storm of joins one request for all beats one for each."""
_PATH_CHECK_S = 0.25
_TROUBLES = (SimulatorError, MeeshyError, ConnectionError, OSError, ValueError, LookupError)
"""What may go wrong with one leg; the native module's own errors come when a leg is closed while it is used."""


class Caller:
    """One participant in one call. :meth:`run` runs beside everything else until it is cancelled."""

    call_id = ""
    participant_id = ""
    mode = ""
    """What the call is now, as far as it was told."""
    epoch = -1

    def __init__(self, bot: CallBot, socket: GatewaySocket, shared: SharedContext) -> None:
        self.bot = bot
        self.record = Record()
        self._socket = socket
        self._shared = shared
        self._entered = asyncio.Event()
        self._changed = asyncio.Event()
        self._leaving = False
        self._peer_leg: PeerLeg | None = None
        self._peer: str | None = None
        self._path: SfuSession[ServerLeg] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._switching: asyncio.Task[None] | None = None
        self._transition: Transition | None = None
        self._others: set[str] = set()
        self._shown = Arrivals()
        """Of all legs together."""
        self._group: asyncio.TaskGroup | None = None

    @property
    def _is_prewarmed(self) -> bool:
        return self._path is not None and bool(self._path.producers) and self._opening is None

    @property
    def others(self) -> set[int]:
        """Who else is in the call, by number."""
        return {n for pid in self._others if (n := self._shared.participants.number(pid)) is not None}

    async def run(self) -> None:
        """Do what the gateway says, in order, until cancelled; ends all media."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._entered.wait()
                while True:
                    message = await self._socket.messages.get()
                    try:
                        await self._take(message)
                    except _TROUBLES as error:
                        self._note("trouble", on=message.name, error=f"{type(error).__name__}: {error}")
                    self._changed.set()
        finally:
            await asyncio.shield(self._drop_all())

    async def initiate(self, conversation: str) -> str:
        """Begin a call; returns its id.

        Raises:
            SignalingError: The gateway refused.
        """
        started_ns = time.time_ns()
        await self._socket.open()
        data = await self._socket.ask(
            "call:initiate", {"conversationId": conversation, "type": "video", "settings": self._settings()}
        )
        self._enter(data, started_ns)
        return self.call_id

    async def join(self, call_id: str) -> None:
        """Join a call.

        Raises:
            SignalingError: The gateway refused.
        """
        started_ns = time.time_ns()
        await self._socket.open()
        data = await self._socket.ask("call:join", {"callId": call_id, "settings": self._settings()})
        self._enter(data, started_ns)

    async def toggle(self, kind: Kind, *, enabled: bool) -> None:
        """Switch microphone or camera on or off, for the others to be told.

        The track goes on as a browser's does that is disabled: packets flow, and nothing is heard or seen.

        Raises:
            SignalingError: The gateway refused.
        """
        await self._socket.ask(f"call:toggle-{kind}", {"callId": self.call_id, "enabled": enabled})

    async def leave(self) -> None:
        """Leave the call in order. Never fails; :meth:`run` is still to be cancelled."""
        self._leaving = True
        try:
            if self.call_id:
                await self._socket.ask("call:leave", {"callId": self.call_id})
        except SignalingError as error:
            self._note("leave-failed", error=str(error))
        await self._socket.close()

    async def vanish(self) -> None:
        """Be gone without a word."""
        self._leaving = True
        await self._socket.vanish()

    async def until(self, what: str, done: Callable[[], bool], timeout_s: float) -> None:
        """Wait for something this caller is told.

        Raises:
            BotError: It did not come in time, or the call ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not done():
                    if self.record.ended is not None:
                        raise BotError(f"participant {self.bot.number}: the call ended: {self.record.ended}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise BotError(
                f"participant {self.bot.number}: {what} did not come within {timeout_s:g} s "
                f"(mode {self.mode}, epoch {self.epoch})"
            ) from error

    async def until_in(self, mode: str, timeout_s: float) -> None:
        """Wait until the call is in this mode and no change goes on.

        Raises:
            BotError: It did not get there in time, or the call ended.
        """
        await self.until(f"mode {mode}", lambda: self.mode == mode and self._transition is None, timeout_s)

    async def until_prewarmed(self, timeout_s: float) -> None:
        """Wait until the way through the media server is prepared.

        Raises:
            BotError: It was not in time, or the call ended.
        """
        await self.until("a pre-warmed path", lambda: self._is_prewarmed, timeout_s)

    async def until_receiving(self, numbers: Iterable[int], timeout_s: float) -> None:
        """Wait until all media of these participants is received on the path in use.

        Raises:
            BotError: Some is missing after this time; the message names it, and the state of the call.
        """
        tracks = self._tracks(numbers)
        try:
            async with asyncio.timeout(timeout_s):
                await self._received(tracks)
        except (TimeoutError, ConnectionError) as error:
            arrivals = self._arrivals_in_use()
            since_ns = {} if arrivals is None else arrivals.since_ns
            missing = ", ".join(
                f"{kind} of {number}" for number, kind in tracks if (number, kind) not in since_ns
            )
            why = str(error) or ("no path is up" if arrivals is None else "the path is up")
            raise BotError(
                f"participant {self.bot.number} did not receive {missing or 'the tracks of all'} within {timeout_s:g} s "
                f"(mode {self.mode}, epoch {self.epoch}, {why})"
            ) from error

    async def _received(self, tracks: Sequence[Track]) -> int:
        while True:
            arrivals = self._arrivals_in_use()
            try:
                async with asyncio.timeout(_PATH_CHECK_S):
                    if arrivals is not None:
                        return await arrivals.wait_for(self._still(tracks))
                    self._changed.clear()
                    await self._changed.wait()
            except (TimeoutError, ConnectionError) as error:
                # The call may have left this path meanwhile; then the one in use now is asked.
                if isinstance(error, ConnectionError) and arrivals is self._arrivals_in_use():
                    raise

    def _arrivals_in_use(self) -> Arrivals | None:
        if self.mode == "sfu" and self._path is not None:
            return self._path.bot.arrivals
        if self.mode == "p2p" and self._peer_leg is not None:
            return self._peer_leg.arrivals
        return None

    def _enter(self, data: Json, started_ns: int) -> None:
        self.call_id, self.participant_id = str(data["callId"]), str(data["participantId"])
        self._shared.participants.add(self.participant_id, self.bot.number)
        self.mode, self.epoch = str(data["mode"]), int(data["epoch"])
        self._learn_ice_servers(data)
        self._remember(data.get("participants"))
        arrival = Arrival(self.mode, started_ns)
        self.record.arrivals.append(arrival)
        self._entered.set()
        if self.mode == "sfu":
            self._switching = self._start(self._build_sfu(data, None))
        self._start(self._arrive(arrival, self.others))

    async def _arrive(self, arrival: Arrival, others: set[int]) -> None:
        """Record when all media was first received, on whichever leg: the call may change mode meanwhile."""
        if others:
            arrival.flowing_ns = await self._shown.wait_for(self._still(self._tracks(others)))
            self._note("flowing", ms=(arrival.flowing_ns - arrival.started_ns) / 1e6, others=sorted(others))

    async def _take(self, message: Message) -> None:
        payload = message.payload
        if message.name != RECONNECTED and payload.get("callId") not in (None, self.call_id):
            return
        self._learn_ice_servers(payload)
        match message.name:
            case "call:signal":
                await self._signal(payload["signal"])
            case "call:participant-joined":
                self._shared.participants.learn(payload["participant"])
                pid = str(payload["participant"]["participantId"])
                self._others.add(pid)
                if payload.get("initiator") and payload.get("mode") == "p2p":
                    await self._offer(pid)
            case "call:participant-left":
                await self._left(str(payload["participantId"]))
            case "call:mode-switch":
                if payload["oldMode"] == payload["newMode"] == "p2p":
                    # a leg that is up leads to a participant who has left
                    await self._drop_peer()
                self._switch(payload, message.unix_ns)
            case "call:mode-switched":
                await self._switched(payload, message.unix_ns)
            case "call:prewarm":
                if self.mode == "p2p" and self._transition is None:
                    await self._prewarm(payload)
            case "call:ended":
                self.record.ended = None if self._leaving else str(payload.get("reason") or "ended")
            case "call:error":
                self._note("gateway-error", code=payload.get("code"), message=payload.get("message"))
                if payload.get("code") == "KICKED":
                    self.record.ended = "kicked"
            case name if name == RECONNECTED:
                await self._come_back(message.unix_ns)
            case _:
                pass

    async def _left(self, participant_id: str) -> None:
        self._others.discard(participant_id)
        if participant_id == self.participant_id and not self._leaving:
            self.record.ended = "put out"
        if participant_id == self._peer and self.mode == "p2p":
            await self._drop_peer()
        self._look()

    def _look(self) -> None:
        """Let those who wait for media check again: fewer participants may be wanted."""
        self._shown.look()
        if self._peer_leg is not None:
            self._peer_leg.arrivals.look()
        if self._path is not None:
            self._path.bot.arrivals.look()

    async def _signal(self, signal: Json) -> None:
        sender = str(signal["from"])
        kind = signal["type"]
        if kind == "offer":
            await self._drop_peer()
            leg = await self.bot.answer(self._number(sender), str(signal["sdp"]))
            await self._adopt(leg, sender)
            await self._send_signal("answer", sender, leg.description)
        elif self._peer_leg is None or sender != self._peer:
            self._note("stray-signal", kind=kind, sender=sender)
        elif kind == "answer":
            await self._peer_leg.accept(str(signal["sdp"]))
        elif kind == "ice-candidate":
            candidate = signal.get("candidate")
            text = candidate.get("candidate") if isinstance(candidate, dict) else candidate
            await self._peer_leg.add_candidate(str(text or ""))

    async def _offer(self, peer: str) -> None:
        await self._drop_peer()
        leg = await self.bot.offer(self._number(peer))
        await self._adopt(leg, peer)
        await self._send_signal("offer", peer, leg.description)

    async def _adopt(self, leg: PeerLeg, peer: str) -> None:
        self._peer_leg, self._peer = leg, peer
        leg.arrivals.watch(self._shown.entered)
        await leg.prefer()
        self._changed.set()

    async def _send_signal(self, kind: str, to: str, sdp: str) -> None:
        signal = {"type": kind, "from": self.participant_id, "to": to, "sdp": sdp}
        for attempt in range(SIGNAL_ATTEMPTS):
            try:
                await self._socket.ask("call:signal", {"callId": self.call_id, "signal": signal})
                return
            except ServerRefusedError as error:
                # The other's socket may be on its way in, or back.
                if error.code != "TARGET_NOT_FOUND" or attempt == SIGNAL_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(SIGNAL_PAUSE_S)

    def _switch(self, payload: Json, told_ns: int) -> None:
        if self._switching is not None:
            self._switching.cancel()
        self._remember(payload.get("participants"))
        transition = Transition(
            epoch=int(payload["epoch"]),
            old=str(payload["oldMode"]),
            new=str(payload["newMode"]),
            reason=str(payload.get("reason") or ""),
            told_ns=told_ns,
            decided_ns=self._decided_ns(payload.get("switchDeadline")),
        )
        self._transition = transition
        self.record.transitions.append(transition)
        work = self._build_sfu if transition.new == "sfu" else self._build_p2p
        self._switching = self._start(work(payload, transition))

    async def _switched(self, payload: Json, unix_ns: int) -> None:
        epoch, mode = int(payload["epoch"]), str(payload["mode"])
        transition, self._transition = self._transition, None
        if transition is not None and transition.epoch == epoch:
            transition.completed_ns, transition.success = unix_ns, bool(payload["success"])
            if not transition.success and not transition.error:
                transition.error = str(payload.get("reason") or "rolled back")
        ours = transition is None or transition.epoch == epoch  # a newcomer builds without a transition
        if self._switching is not None and ours and not payload["success"]:
            self._switching.cancel()
        self.mode, self.epoch = mode, epoch
        self._note("switched", epoch=epoch, mode=mode, success=payload["success"])
        if mode == "sfu":
            await self._drop_peer()
        else:
            # After a success the gateway ends the room; a goodbye could reach the next one of the same call.
            await self._drop_path(leave=not payload["success"])

    async def _build_sfu(self, payload: Json, transition: Transition | None) -> None:
        """Move to the media server: as one of those who are there, or (without transition) as a newcomer."""
        epoch = int(payload["epoch"])
        try:
            if transition is not None and transition.old == "p2p" and self._peer is not None:
                wanted = self._tracks([self._number(self._peer)])
            else:
                wanted = self._announced(payload["producers"])
            path = await self._path_for(payload, transition)
            await path.go_live()
            await path.bot.prefer()
            media_ns = await path.bot.arrivals.wait_for(self._still(wanted))
        except _TROUBLES as error:
            await self._fail(epoch, "sfu", transition, error)
            return
        await self._confirm(epoch, "sfu", transition, (media_ns, wanted), path)

    async def _build_p2p(self, payload: Json, transition: Transition) -> None:
        peer = payload.get("peer")
        wanted: Sequence[Track] = ()
        media_ns = time.time_ns()
        try:
            if peer is not None:
                wanted = self._tracks([self._number(str(peer))])
                if payload.get("initiator"):
                    await self._offer(str(peer))
                while self._peer_leg is None or self._peer != peer:
                    self._changed.clear()
                    await self._changed.wait()
                media_ns = await self._peer_leg.arrivals.wait_for(self._still(wanted))
        except _TROUBLES as error:
            await self._fail(transition.epoch, "p2p", transition, error)
            return
        await self._confirm(transition.epoch, "p2p", transition, (media_ns, wanted))

    async def _path_for(self, payload: Json, transition: Transition | None) -> SfuSession[ServerLeg]:
        """Return the pre-warmed way to the room that is named, or build one."""
        config = payload.get("mediaServerConfig")
        if not config:
            raise SignalingError("the gateway names no media server for mode sfu")
        path, opening = self._path, self._opening
        usable = path is not None and path.gone is None and path.room_id == config.get("roomId")
        if transition is not None and transition.old == "sfu":
            usable = False
        if path is not None and usable:
            if opening is not None:
                await opening
            if path is self._path and path.producers:
                if transition is not None:
                    transition.prewarmed = True
                return path
        # After a re-homing the old room is gone, or the gateway ends it: a goodbye could only reach the new one.
        await self._drop_path(leave=transition is None or transition.old != "sfu")
        path = await self._new_path(payload)
        await path.open(paused=False)
        return path

    async def _new_path(self, payload: Json) -> SfuSession[ServerLeg]:
        config = payload["mediaServerConfig"]
        rest = self._shared.servers.at(str(payload["mediaServerUrl"]))
        path = self._path = SfuSession(
            await self.bot.server_leg(),
            ParticipantSession(rest, self.call_id, self.participant_id, str(payload["mediaToken"])),
            kinds=self._shared.kinds,
            sender_of=self._shared.participants.number,
            gather_s=_gather_s,
            room_id=config.get("roomId"),
        )
        path.bot.arrivals.watch(self._shown.entered)
        self._changed.set()
        path.consuming = self._start(self._consume(path))
        return path

    async def _consume(self, path: SfuSession[ServerLeg]) -> None:
        try:
            await path.consume_forever()
        except _TROUBLES as error:
            path.bot.arrivals.fail(str(error))
            self._note("consume-failed", error=str(error))

    async def _prewarm(self, payload: Json) -> None:
        await self._drop_path()
        path = await self._new_path(payload)

        async def open_path() -> None:
            try:
                await path.open(paused=True)
                report: Json = {"success": True}
            except _TROUBLES as error:
                report = {"success": False, "error": str(error)[:500]}
                self._note("prewarm-failed", error=str(error))
            self._opening = None
            self._changed.set()
            await self._tell("call:sfu-ready", {"callId": self.call_id, **report})

        self._opening = self._start(open_path())

    async def _confirm(
        self,
        epoch: int,
        mode: str,
        transition: Transition | None,
        media: tuple[int, Sequence[Track]],
        path: SfuSession[ServerLeg] | None = None,
    ) -> None:
        payload: Json = {"callId": self.call_id, "mode": mode, "epoch": epoch, "success": True}
        if path is not None:
            payload |= {
                "sfuSendTransportId": path.transports["send"],
                "sfuRecvTransportId": path.transports["recv"],
                "producerIds": dict(path.producers),
            }
        if transition is not None:
            transition.media_ns, transition.confirmed_ns = media[0], time.time_ns()
            transition.peers = tuple(sorted({number for number, _ in media[1]}))
        await self._tell("call:mode-switched", payload)

    async def _fail(self, epoch: int, mode: str, transition: Transition | None, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"[:500]
        self._note("switch-failed", epoch=epoch, mode=mode, error=text)
        if transition is not None:
            transition.error = text
        await self._tell(
            "call:mode-switched",
            {"callId": self.call_id, "mode": mode, "epoch": epoch, "success": False, "error": text},
        )

    async def _come_back(self, unix_ns: int) -> None:
        """Take the call up again after the socket broke off."""
        data = await self._rejoin()
        if self._leaving:
            # only the socket that has the place can give it up
            return
        self._learn_ice_servers(data)
        self._remember(data.get("participants"))
        mode, phase, epoch = str(data["mode"]), str(data["phase"]), int(data["epoch"])
        news = self._transition is None or self._transition.epoch != epoch
        if self._peer is not None and self._peer not in self._others:
            await self._drop_peer()
        if phase == "switching_to_sfu":
            old = "p2p" if self._peer_leg is not None else "sfu"
            # Without a server named, its room is still being made: call:mode-switch follows.
            if news and data.get("mediaServerConfig"):
                self._switch({**data, "oldMode": old, "newMode": "sfu"}, unix_ns)
        elif phase == "switching_to_p2p" and news:
            if mode == "p2p":
                await self._drop_peer()
            self._switch({**data, "oldMode": mode, "newMode": "p2p"}, unix_ns)
        elif phase == "sfu":
            config = data.get("mediaServerConfig") or {}
            flows = self._path is not None and self._path.live and self._path.gone is None
            if config and not (flows and self._path and self._path.room_id == config.get("roomId")):
                self._switch({**data, "oldMode": "sfu", "newMode": "sfu"}, unix_ns)
            elif flows:
                self._transition = None
                await self._drop_peer()
        elif phase == "p2p":
            self._transition = None
            if self._path is not None and self._path.live:
                await self._drop_path(leave=False)
            if self._peer_leg is None and data.get("initiator") and data.get("peer"):
                await self._offer(str(data["peer"]))
        self.mode, self.epoch = mode, epoch

    async def _rejoin(self) -> Json:
        """Ask for one's place again; a gateway that has just started may need a moment."""
        place: Json = {"callId": self.call_id, "participantId": self.participant_id}
        for _ in range(REJOIN_ATTEMPTS - 1):
            try:
                return await self._socket.ask("call:rejoin", place)
            except ServerRefusedError as error:
                if error.code in ("CALL_ENDED", "CALL_NOT_FOUND", "NOT_A_PARTICIPANT"):
                    self.record.ended = error.code
                    raise
                await asyncio.sleep(SIGNAL_PAUSE_S)
        return await self._socket.ask("call:rejoin", place)

    async def _tell(self, event: str, payload: Json) -> None:
        try:
            await self._socket.ask(event, payload)
        except SignalingError as error:
            self._note("tell-failed", on=event, error=str(error))

    async def _drop_peer(self) -> None:
        leg, self._peer_leg, self._peer = self._peer_leg, None, None
        if leg is not None:
            await leg.close()

    async def _drop_path(self, *, leave: bool = True) -> None:
        path, self._path = self._path, None
        opening, self._opening = self._opening, None
        if opening is not None and opening is not asyncio.current_task():
            opening.cancel()
        if path is not None:
            await path.close(leave=leave)

    async def _drop_all(self) -> None:
        await self._drop_peer()
        path, self._path = self._path, None
        if path is not None:
            await path.close(leave=False)
        await self._socket.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise BotError(f"participant {self.bot.number} is not running")
        task = self._group.create_task(self._guarded(work))
        # a task that is cancelled before it began has never touched its work
        task.add_done_callback(lambda _: work.close())
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except _TROUBLES as error:
            self._note("trouble", error=f"{type(error).__name__}: {error}")

    def _decided_ns(self, deadline_ms: object) -> int:
        if not isinstance(deadline_ms, int | float):
            return 0
        return int(deadline_ms * NS_PER_MS - self._shared.switch_deadline_s * 1e9)

    def _learn_ice_servers(self, payload: Json) -> None:
        """Hand on what comes with many messages: each has a fresh credential."""
        if isinstance(servers := payload.get("iceServers"), list):
            self.bot.use_ice_servers(servers)

    def _remember(self, participants: object) -> None:
        if isinstance(participants, list):
            for participant in participants:
                self._shared.participants.learn(participant)
            self._others = {
                str(p["participantId"])
                for p in participants
                if p.get("leftAt") is None and p["participantId"] != self.participant_id
            }
            self._look()

    def _announced(self, producers: Iterable[Json]) -> list[Track]:
        found: list[Track] = []
        for producer in producers:
            number = self._shared.participants.number(str(producer["participantId"]))
            if number is not None and number != self.bot.number and producer["kind"] in self._shared.kinds:
                found.append((number, producer["kind"]))
        return found

    def _tracks(self, numbers: Iterable[int]) -> list[Track]:
        return [(number, kind) for number in numbers for kind in self._shared.kinds]

    def _still(self, tracks: Sequence[Track]) -> Callable[[], Sequence[Track]]:
        """Return those of the tracks whose participants are in the call, at any time."""

        def still() -> Sequence[Track]:
            others = self.others
            return [track for track in tracks if track[0] in others]

        return still

    def _number(self, participant_id: str) -> int:
        number = self._shared.participants.number(participant_id)
        if number is None:
            raise BotError(f"participant {participant_id} is not a participant of this run")
        return number

    def _settings(self) -> Json:
        return {kind + "Enabled": kind in self._shared.kinds for kind in ("audio", "video")}

    def _note(self, event: str, **values: object) -> None:
        self._shared.note(event, time.time_ns(), bot=self.bot.number, **values)


def _gather_s(streams: int) -> float:
    return GATHER_S if streams < CROWD else CROWD_GATHER_S
