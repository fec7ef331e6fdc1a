"""All calls on this server.

Creates, finds and destroys rooms; what happens inside of one is in room.py.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from meeshy_sfu.clock import Clock
from meeshy_sfu.errors import CapacityError, InvalidStateError, RoomAlreadyExistsError, RoomNotFoundError
from meeshy_sfu.log import log_ids
from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS
from meeshy_sfu.media.router import Router
from meeshy_sfu.media.rtp_parameters import RtpCodecCapability
from meeshy_sfu.rooms.departures import Departures
from meeshy_sfu.rooms.limits import RoomLimits
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.room import CallId, Room

logger = logging.getLogger(__name__)


class RouterSource(Protocol):
    """Where routers come from: a pool of workers, or one worker."""

    async def create_router(self, media_codecs: Iterable[RtpCodecCapability]) -> Router:
        """Open the forwarding table of a call."""


class RoomRegistry:
    """Keep the rooms by their call.

    Owns them; :meth:`close` closes all. A room whose worker died is gone from here when its listener is notified,
    so that the call can be created again at once.
    """

    def __init__(
        self,
        routers: RouterSource,
        *,
        limits: RoomLimits,
        clock: Clock,
        listener: RoomListener,
        padding: bool = False,
        udp: bool = True,
        tcp: bool = True,
    ) -> None:
        self._routers = routers
        self._limits = limits
        self._clock = clock
        self._listener = listener
        self._padding = padding
        self._udp, self._tcp = udp, tcp
        self._rooms: dict[CallId, Room] = {}
        self.departures = Departures()
        """Who has left lately, also calls whose room is gone."""
        self._pending: set[CallId] = set()
        self._pending_in_advance: set[CallId] = set()
        self._closed = False

    @property
    def limits(self) -> RoomLimits:
        """The caps in force."""
        return self._limits

    @property
    def rooms(self) -> Sequence[Room]:
        """All rooms, oldest first."""
        return tuple(self._rooms.values())

    @property
    def full(self) -> bool:
        """Return whether no other call is taken; rooms made in advance do not count."""
        counted = sum(not room.in_advance for room in self._rooms.values())
        return counted + len(self._pending) >= self._limits.rooms

    async def create(
        self,
        call_id: CallId,
        media_codecs: Sequence[RtpCodecCapability] | None = None,
        *,
        in_advance: bool = False,
    ) -> Room:
        """Open a room for a call.

        Args:
            call_id: Must have no room yet.
            media_codecs: What it forwards; None (default): opus, VP8, VP9, H264 and AV1.
            in_advance: The call does not need it yet; it counts against the limit from `activate` on.

        Raises:
            RoomAlreadyExistsError: The call has a room, or is just getting one.
            CapacityError: There are as many rooms as allowed, and participants in them or expected soon.
            UnsupportedCodecError: A codec is none the media core forwards.
            UnavailableError: No worker lives just now.
        """
        if self._closed:
            raise InvalidStateError("the server is closing")
        if call_id in self._rooms or call_id in self._pending or call_id in self._pending_in_advance:
            raise RoomAlreadyExistsError(f"call {call_id} has a room already")
        if not in_advance:
            self._require_place()
        pending = self._pending_in_advance if in_advance else self._pending
        pending.add(call_id)
        try:
            router = await self._routers.create_router(media_codecs or DEFAULT_MEDIA_CODECS)
        finally:
            pending.discard(call_id)
        if self._closed:
            router.close("server closed")
            raise InvalidStateError("the server is closing")
        room = Room(
            call_id,
            router,
            limits=self._limits,
            clock=self._clock,
            listener=self._listener,
            on_closed=self._forget,
            departures=self.departures,
            padding=self._padding,
            udp=self._udp,
            tcp=self._tcp,
        )
        room.in_advance = in_advance
        self._rooms[call_id] = room
        logger.info("created", extra=log_ids(room=room.id, call=call_id, worker=router.worker_index))
        self._listener.room_created(room)
        return room

    def activate(self, call_id: CallId) -> Room:
        """Count a room that was made in advance from now on. Idempotent.

        Raises:
            RoomNotFoundError: The call has none.
            CapacityError: There are as many rooms as allowed; it stays as it is.
        """
        room = self.get(call_id)
        if room.in_advance:
            self._require_place()
            room.in_advance = False
        return room

    def get(self, call_id: CallId) -> Room:
        """Return the room of a call.

        Raises:
            RoomNotFoundError: The call has none.
        """
        room = self._rooms.get(call_id)
        if room is None:
            raise RoomNotFoundError(f"call {call_id} has no room on this server; create it first")
        return room

    def find(self, call_id: CallId) -> Room | None:
        """Return the room of a call, or None."""
        return self._rooms.get(call_id)

    def destroy(self, call_id: CallId, reason: str = "destroyed") -> None:
        """Close the room of a call and its participants.

        Raises:
            RoomNotFoundError: The call has none.
        """
        self.get(call_id).close(reason)

    def close_idle(self, *, older_than_s: float) -> int:
        """Close rooms that no participant has joined for so long since their creation; return their number."""
        now_s = self._clock.monotonic_s()
        idle = [
            room
            for room in self.rooms
            if room.idle_since_s is not None and now_s - room.idle_since_s >= older_than_s
        ]
        for room in idle:
            room.close("no participant came")
        return len(idle)

    def close(self, reason: str = "server closed") -> None:
        """Close all rooms, oldest first. Idempotent."""
        self._closed = True
        for room in self.rooms:
            room.close(reason)

    def _require_place(self) -> None:
        if self.full:
            self.close_idle(older_than_s=self._limits.idle_room_s)
        if self.full:
            raise CapacityError(f"this server may carry {self._limits.rooms} calls", {"limit": "rooms"})

    def _forget(self, room: Room) -> None:
        if self._rooms.get(room.call_id) is room:
            del self._rooms[room.call_id]
            logger.info("closed: %s", room.closed_reason, extra=log_ids(room=room.id, call=room.call_id))
