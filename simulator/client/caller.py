"""One participant in a call of the gateway: joins, follows what the gateway says, leaves.

Takes each message to the part that acts on it: client/mode_changes.py follows the call from one mode to the other,
client/peer_path.py and client/server_path.py hold the legs, client/call_state.py what is known. Who joins when is
decided by the patterns (runs/).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from simulator.client.call_records import Arrival, Record, SharedContext
from simulator.client.call_requests import CallRequests
from simulator.client.call_state import CallState
from simulator.client.call_tasks import TROUBLES, CallTasks
from simulator.client.gateway import RECONNECTED, GatewaySocket, Message
from simulator.client.legs import Arrivals, CallBot, Track
from simulator.client.media_server import Json
from simulator.client.mode_changes import ModeChanges
from simulator.client.peer_path import PeerPath
from simulator.client.server_path import ServerPath
from simulator.errors import NotServedError
from simulator.samples.schema import Kind

_PATH_CHECK_S = 0.25


class Caller:
    """One participant in one call. :meth:`run` runs beside everything else until it is cancelled."""

    def __init__(self, bot: CallBot, socket: GatewaySocket, shared: SharedContext) -> None:
        self.bot = bot
        self._socket = socket
        self._entered = asyncio.Event()
        state = self._state = CallState(bot.number, shared)
        tasks = self._tasks = CallTasks(state)
        requests = self._requests = CallRequests(socket, state)
        self._peer = PeerPath(bot, requests, state)
        self._server = ServerPath(bot, requests, tasks, state)
        self._changes = ModeChanges(self._peer, self._server, requests=requests, tasks=tasks, state=state)

    @property
    def call_id(self) -> str:
        """The call it is in; empty before it has joined."""
        return self._state.call_id

    @property
    def participant_id(self) -> str:
        """Its id in the call; empty before it has joined."""
        return self._state.participant_id

    @property
    def mode(self) -> str:
        """What the call is now, as far as it was told."""
        return self._state.mode

    @property
    def epoch(self) -> int:
        """The number of the last mode it was told; -1 before it has joined."""
        return self._state.epoch

    @property
    def record(self) -> Record:
        """What it has experienced."""
        return self._state.record

    @property
    def other_participants(self) -> frozenset[str]:
        """Who else is in the call, by participant id."""
        return self._state.other_participants

    @property
    def others(self) -> set[int]:
        """Who else is in the call, by number."""
        return self._state.others

    async def run(self) -> None:
        """Do what the gateway says, in order, until cancelled; ends all media."""
        try:
            async with self._tasks:
                await self._entered.wait()
                while True:
                    message = await self._socket.messages.get()
                    try:
                        await self._take(message)
                    except TROUBLES as error:
                        self._state.note("trouble", on=message.name, error=f"{type(error).__name__}: {error}")
                    self._state.changed()
        finally:
            await asyncio.shield(self._drop_all())

    async def initiate(self, conversation: str) -> str:
        """Begin a call; returns its id.

        Raises:
            SignalingError: The gateway refused.
        """
        started_ns = time.time_ns()
        await self._socket.open()
        self._enter(await self._requests.initiate(conversation), started_ns)
        return self.call_id

    async def join(self, call_id: str) -> None:
        """Join a call.

        Raises:
            SignalingError: The gateway refused.
        """
        started_ns = time.time_ns()
        await self._socket.open()
        self._enter(await self._requests.join(call_id), started_ns)

    async def toggle(self, kind: Kind, *, enabled: bool) -> None:
        """Switch microphone or camera on or off, for the others to be told.

        The track goes on as a browser's does that is disabled: packets flow, and nothing is heard or seen.

        Raises:
            SignalingError: The gateway refused.
        """
        await self._requests.toggle(kind, enabled=enabled)

    def look(self) -> None:
        """Let those who wait for media check again: less may be wanted, because a participant left or is muted."""
        self._state.shown.look()
        self._peer.look()
        self._server.look()

    async def leave(self) -> None:
        """Leave the call in order. Never fails; :meth:`run` is still to be cancelled."""
        self._state.leave()
        await self._requests.leave()
        await self._socket.close()

    async def vanish(self) -> None:
        """Be gone without a word."""
        self._state.leave()
        await self._socket.vanish()

    async def until(self, what: str, done: Callable[[], bool], timeout_s: float) -> None:
        """Wait for something this caller is told.

        Raises:
            NotServedError: It did not come in time, or the call ended.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not done():
                    if self.record.ended is not None:
                        raise NotServedError(
                            f"participant {self.bot.number}: the call ended: {self.record.ended}"
                        )
                    await self._state.change()
        except TimeoutError as error:
            raise NotServedError(
                f"participant {self.bot.number}: {what} did not come within {timeout_s:g} s "
                f"(mode {self.mode}, epoch {self.epoch})"
            ) from error

    async def until_in(self, mode: str, timeout_s: float) -> None:
        """Wait until the call is in this mode and no change goes on.

        Raises:
            NotServedError: It did not get there in time, or the call ended.
        """
        await self.until(
            f"mode {mode}", lambda: self.mode == mode and self._changes.current is None, timeout_s
        )

    async def until_prewarmed(self, timeout_s: float) -> None:
        """Wait until the way through the media server is prepared.

        Raises:
            NotServedError: It was not in time, or the call ended.
        """
        await self.until("a pre-warmed path", lambda: self._server.is_prewarmed, timeout_s)

    async def until_receiving(self, numbers: Iterable[int], timeout_s: float) -> None:
        """Wait until all media of these participants is received on the path in use.

        Raises:
            NotServedError: Some is missing after this time; the message names it, and the state of the call.
        """
        tracks = self._state.tracks(numbers)
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
            raise NotServedError(
                f"participant {self.bot.number} did not receive {missing or 'the tracks of all'} within {timeout_s:g} s "
                f"(mode {self.mode}, epoch {self.epoch}, {why})"
            ) from error

    async def _received(self, tracks: Sequence[Track]) -> int:
        while True:
            arrivals = self._arrivals_in_use()
            try:
                async with asyncio.timeout(_PATH_CHECK_S):
                    if arrivals is not None:
                        return await arrivals.wait_for(self._state.still(tracks))
                    await self._state.change()
            except (TimeoutError, ConnectionError) as error:
                # The call may have left this path meanwhile; then the one in use now is asked.
                if isinstance(error, ConnectionError) and arrivals is self._arrivals_in_use():
                    raise

    def _arrivals_in_use(self) -> Arrivals | None:
        if self.mode == "sfu" and self._server.session is not None:
            return self._server.session.bot.arrivals
        if self.mode == "p2p" and self._peer.leg is not None:
            return self._peer.leg.arrivals
        return None

    def _enter(self, data: Json, started_ns: int) -> None:
        self._state.enter(data)
        self._learn_ice_servers(data)
        self._remember(data)
        arrival = Arrival(self.mode, started_ns)
        self.record.arrivals.append(arrival)
        self._entered.set()
        if self.mode == "sfu":
            self._changes.join(data)
        self._tasks.start(self._arrive(arrival, self.others))

    async def _arrive(self, arrival: Arrival, others: set[int]) -> None:
        """Record when all media was first received, on whichever leg: the call may change mode meanwhile."""
        if others:
            wanted = self._state.still(self._state.tracks(others))
            arrival.flowing_ns = await self._state.shown.wait_for(wanted)
            ms = (arrival.flowing_ns - arrival.started_ns) / 1e6
            self._state.note("flowing", ms=ms, others=sorted(others))

    async def _take(self, message: Message) -> None:
        payload = message.payload
        if message.name != RECONNECTED and payload.get("callId") not in (None, self.call_id):
            return
        self._learn_ice_servers(payload)
        match message.name:
            case "call:signal":
                await self._peer.take(payload["signal"])
            case "call:participant-joined":
                participant_id = self._state.add(payload["participant"])
                if payload.get("initiator") and payload.get("mode") == "p2p":
                    await self._peer.offer(participant_id)
            case "call:participant-left":
                await self._left(str(payload["participantId"]))
            case "call:mode-switch":
                if payload["oldMode"] == payload["newMode"] == "p2p":
                    # a leg that is up leads to a participant who has left
                    await self._peer.drop()
                self._remember(payload)
                self._changes.begin(payload, message.unix_ns)
            case "call:mode-switched":
                await self._changes.end(payload, message.unix_ns)
            case "call:prewarm":
                if self.mode == "p2p" and self._changes.current is None:
                    await self._server.prewarm(payload)
            case "call:ended":
                self._state.end(None if self._state.leaving else str(payload.get("reason") or "ended"))
            case "call:error":
                self._state.note("gateway-error", code=payload.get("code"), message=payload.get("message"))
                if payload.get("code") == "KICKED":
                    self._state.end("kicked")
            case name if name == RECONNECTED:
                await self._come_back(message.unix_ns)
            case _:
                pass

    async def _left(self, participant_id: str) -> None:
        self._state.remove(participant_id)
        if participant_id == self.participant_id and not self._state.leaving:
            self._state.end("put out")
        if participant_id == self._peer.peer and self.mode == "p2p":
            await self._peer.drop()
        self.look()

    async def _come_back(self, unix_ns: int) -> None:
        """Take the call up again after the socket broke off."""
        data = await self._requests.rejoin()
        if self._state.leaving:
            # only the socket that has the place can give it up
            return
        self._learn_ice_servers(data)
        self._remember(data)
        await self._changes.resume(data, unix_ns)

    def _learn_ice_servers(self, payload: Json) -> None:
        """Hand on what comes with many messages: each has a fresh credential."""
        if isinstance(servers := payload.get("iceServers"), list):
            self.bot.use_ice_servers(servers)

    def _remember(self, payload: Json) -> None:
        """Learn from a message who is in the call."""
        if isinstance(participants := payload.get("participants"), list):
            self._state.remember(participants)
            self.look()

    async def _drop_all(self) -> None:
        await self._peer.drop()
        await self._server.drop(leave=False)
        await self._socket.close()
