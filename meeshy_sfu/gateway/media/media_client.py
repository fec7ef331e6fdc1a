"""REST client of the media servers: creates and destroys rooms, chooses a server, keeps a call where it is.

Knows the media server by its wire protocol only. Which calls need a room is decided in `calls`; events of rooms
come through `media_events`. What has to be removed from a server is on the list of `condemned` until the server confirms it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import aiohttp

from meeshy_sfu.edge.token_signing import sign_service_token
from meeshy_sfu.errors import CapacityError, MeeshyError, UnavailableError
from meeshy_sfu.gateway.media.breaker import Breaker, BreakerState
from meeshy_sfu.gateway.media.condemned import Condemned, CondemnedList
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from meeshy_sfu.clock import Clock

logger = logging.getLogger(__name__)

SERVICE_NAME = "gateway"
TOKEN_LIFETIME_S = 600
TOKEN_RENEWAL_S = 120
"""A service token is renewed when it has less than this left."""
HTTP_CONFLICT, HTTP_NOT_FOUND, HTTP_UNAVAILABLE, HTTP_SERVER_ERROR = 409, 404, 503, 500


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """How patient the client is.

    Attributes:
        timeout_s: Time for one attempt, connection included.
        attempts: Attempts of a request that may be repeated.
        backoff_s: First pause between attempts; doubles, with full jitter.
        load_age_s: How old a server's load may be when a server is chosen.
    """

    timeout_s: float = 3.0
    attempts: int = 3
    backoff_s: float = 0.1
    load_age_s: float = 2.0


@dataclass(frozen=True, slots=True)
class MediaRoom:
    """A room on a media server."""

    server_url: str
    room_id: str
    router_id: str
    rtp_capabilities: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ListedRoom:
    """A room as its media server lists it."""

    call_id: str
    room_id: str
    owner: str | None
    """The gateway that created it; None if its creator gave no owner."""


class NotSentError(UnavailableError):
    """No request has reached the media server: it cannot have done anything."""


class MediaServerRefusedError(MeeshyError):
    """The media server answered with an error; `status` and `wire_code` are its words."""

    def __init__(self, message: str, *, status: int, wire_code: str) -> None:
        super().__init__(message)
        self.status, self.wire_code = status, wire_code


@dataclass(slots=True)
class _Server:
    url: str
    breaker: Breaker = field(default_factory=Breaker)
    load: float = 0.0
    load_at: float = float("-inf")
    rooms: int = 0


class MediaServerClient:
    """The media servers of one gateway.

    Owns its HTTP session; use as an async context manager, or `close`. A room is made on the server with the
    least load and the call stays pinned to it until the room is destroyed or the server is given up.

    Example:
        ```python
        async with MediaServerClient(["http://127.0.0.1:3001"], secret=secret, clock=clock) as media:
            room = await media.create_room("call-1")
            await media.destroy_room("call-1")
        ```
    """

    owner: str | None = None
    """The id of this gateway, which its rooms carry; the same after a restart."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        secret: str,
        clock: Clock,
        policy: ClientPolicy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._servers = {url.rstrip("/"): _Server(url.rstrip("/")) for url in urls}
        self._secret, self._clock = secret, clock
        self._policy = policy or ClientPolicy()
        self._rng = rng or random.Random()
        self._pinned: dict[str, MediaRoom] = {}
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self.condemned = CondemnedList()
        self._token, self._token_until = "", 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> MediaServerClient:
        """Use until the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    # ---- rooms

    async def create_room(self, call_id: str, *, prewarm: bool = False) -> MediaRoom:
        """Create the room of a call, or find the one that is already there (409).

        Args:
            call_id: The call; also the room's name.
            prewarm: Create it in advance: it does not count against the calls per server until `activate`.

        Raises:
            CapacityError: Every media server is full.
            UnavailableError: No media server answers.
        """
        pinned = self.server_of(call_id)
        tried: set[str] = set()
        full = False
        while True:
            server = self._servers[pinned] if pinned else await self._choose(tried)
            if server is None:
                if full:
                    raise CapacityError(
                        f"call {call_id}: all {len(tried)} media servers are full; try again later"
                    )
                raise UnavailableError(
                    f"call {call_id}: no media server answers; tried {sorted(tried) or 'none'}"
                )
            tried.add(server.url)
            try:
                return await self._create_on(server, call_id, prewarm=prewarm)
            except (UnavailableError, MediaServerRefusedError) as error:
                if isinstance(error, MediaServerRefusedError):
                    if error.status != HTTP_UNAVAILABLE:
                        raise
                    full = True
                if pinned:
                    raise
                logger.warning(
                    "the room cannot be created here: %s",
                    error,
                    extra=log_ids(call=call_id, server=server.url),
                )

    async def activate_room(self, call_id: str) -> None:
        """Count a pre-warmed room as a call from now on; does nothing to a room that already counts."""
        await self._request(
            self._pinned_server(call_id), "POST", f"/api/rooms/{call_id}/activate", repeat=True
        )

    async def get_room(self, call_id: str, url: str | None = None) -> MediaRoom | None:
        """The room of a call on a server, the one it is pinned to by default; None if it has none there."""
        server = self._pinned_server(call_id) if url is None else self._servers[url]
        try:
            return _room(server.url, await self._request(server, "GET", f"/api/rooms/{call_id}", repeat=True))
        except MediaServerRefusedError as error:
            if error.status == HTTP_NOT_FOUND:
                return None
            raise

    async def destroy_room(self, call_id: str) -> None:
        """Condemn the room of a call, and try once to destroy it."""
        condemned = self.condemn_room(call_id)
        if condemned is not None:
            await self.remove(condemned)

    def condemn_room(self, call_id: str, *, counted: bool = False) -> Condemned | None:
        """Put the room of a call on the list of what has to be removed, and unpin the call; None if it has none.

        Args:
            call_id: The call.
            counted: Whether a place on its server is free when it is gone.
        """
        room = self._pinned.pop(call_id, None)
        return None if room is None else self.condemn(room.server_url, call_id, counted=counted)

    def condemn(
        self, url: str, call_id: str, participant_id: str | None = None, *, counted: bool = False
    ) -> Condemned:
        """Put a call's room on a certain server, or a participant in it, on the list of what has to be removed."""
        what = Condemned(url, call_id, participant_id)
        self.condemned.add(what, now_s=self._clock.monotonic_s(), counted=counted)
        return what

    def keep_participant(self, call_id: str, participant_id: str) -> None:
        """Take a participant off the list who is in the call again."""
        for url in self._servers:
            self.condemned.gone(Condemned(url, call_id, participant_id))

    async def remove(self, what: Condemned) -> bool:
        """Try to remove what is condemned; return whether that frees a place.

        It is off the list once its server has said that it is gone, or if a room is needed again.

        Raises:
            MediaServerRefusedError: The server refuses; it stays on the list.
            UnavailableError: The server does not answer; it stays on the list.
        """
        async with self._lock(what.server_url, what.call_id):
            return await self._remove(what)

    async def _remove(self, what: Condemned) -> bool:
        if what not in self.condemned:
            return False
        room = f"/api/rooms/{what.call_id}"
        try:
            if what.participant_id is not None:
                path = f"{room}/participants/{what.participant_id}/leave"
                # once: they may be back by the next time
                await self._request(self._servers[what.server_url], "POST", path, repeat=False)
            elif self.server_of(what.call_id) != what.server_url:
                await self._request(self._servers[what.server_url], "DELETE", room, repeat=True)
        except MediaServerRefusedError as error:
            if error.status != HTTP_NOT_FOUND:
                self._refused(what, error)
                raise
        except BaseException as error:
            self._refused(what, error)
            raise
        return self.condemned.gone(what)

    def _refused(self, what: Condemned, error: BaseException) -> None:
        tries = self.condemned.refused(what, now_s=self._clock.monotonic_s())
        if tries == 1:
            logger.warning(
                "removal failed, it is tried again until it succeeds: %s", error, extra=what.log_ids()
            )

    def is_changing(self, url: str, call_id: str) -> bool:
        """Return whether a call's room on a server is being created or removed now."""
        lock = self._locks.get((url, call_id))
        return lock is not None and lock.locked()

    async def list_rooms(self, url: str) -> list[ListedRoom]:
        """The rooms on a server."""
        data = await self._request(self._servers[url], "GET", "/api/rooms", repeat=True)
        return [
            ListedRoom(str(room["callId"]), str(room["roomId"]), room.get("owner"))
            for room in data.get("rooms", [])
        ]

    async def room_counts(self) -> dict[str, int]:
        """How many rooms each server has; those that do not answer are left out."""
        now = self._clock.monotonic_s()
        asked = [s for s in self._servers.values() if s.breaker.state(now) is BreakerState.CLOSED]
        await asyncio.gather(*(self._refresh_load(server) for server in asked))
        return {server.url: server.rooms for server in asked if server.load != float("inf")}

    def answers(self, url: str) -> None:
        """A server answers again: send requests to it at once."""
        self._servers[url].breaker.succeeded()

    def calls_on(self, url: str) -> list[str]:
        """The calls that are pinned to a server."""
        return list(self.rooms_on(url))

    def rooms_on(self, url: str) -> dict[str, str]:
        """The rooms that are needed on a server, by call."""
        return {call_id: room.room_id for call_id, room in self._pinned.items() if room.server_url == url}

    def pin(self, call_id: str, room: MediaRoom) -> None:
        """Say where a call lives, after a restart of the gateway."""
        self._pinned[call_id] = room

    def unpin(self, call_id: str) -> None:
        """Forget where a call lives: its room is gone and the next one may be anywhere."""
        self._pinned.pop(call_id, None)

    def server_of(self, call_id: str) -> str | None:
        """The URL of the server a call is pinned to."""
        room = self._pinned.get(call_id)
        return None if room is None else room.server_url

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers, as configured."""
        return tuple(self._servers)

    def states(self) -> dict[str, BreakerState]:
        """The breaker of each server, for health and metrics."""
        now = self._clock.monotonic_s()
        return {server.url: server.breaker.state(now) for server in self._servers.values()}

    def service_token(self) -> str:
        """A token with the role service, renewed in time."""
        now = self._clock.unix_s()
        # a clock that was set back would have us present a token from the future
        if not self._token_until - TOKEN_LIFETIME_S <= now <= self._token_until - TOKEN_RENEWAL_S:
            self._token_until = now + TOKEN_LIFETIME_S
            self._token = sign_service_token(
                secret=self._secret, now_s=now, lifetime_s=TOKEN_LIFETIME_S, subject=SERVICE_NAME
            )
        return self._token

    async def close(self) -> None:
        """Close the HTTP session. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # ---- inside

    def _pinned_server(self, call_id: str) -> _Server:
        url = self.server_of(call_id)
        if url is None:
            raise UnavailableError(f"call {call_id} has no media server; create its room first")
        return self._servers[url]

    def _lock(self, url: str, call_id: str) -> asyncio.Lock:
        """Return the lock of a call's room on a server: creating and removing it do not overtake each other."""
        return self._locks.setdefault((url, call_id), asyncio.Lock())

    async def _create_on(self, server: _Server, call_id: str, *, prewarm: bool) -> MediaRoom:
        async with self._lock(server.url, call_id):
            try:
                # a room that has to go is not to be taken for the new one
                await self._remove(Condemned(server.url, call_id))
            except MediaServerRefusedError as error:
                raise UnavailableError(f"the call's former room is still there: {error.message}") from error
            made = True
            try:
                try:
                    room = await self._create(server, call_id, prewarm=prewarm)
                except MediaServerRefusedError as error:
                    made = error.status == HTTP_CONFLICT
                    if not made:
                        raise
                    room = await self._take_up(server, call_id, prewarm=prewarm)
                except NotSentError:
                    made = False
                    raise
            except BaseException:
                self._pinned.pop(call_id, None)
                if made:
                    # it may be there all the same, or be made later
                    self.condemn(server.url, call_id)
                raise
            self._pinned[call_id] = room
            server.rooms += 1
            return room

    async def _create(self, server: _Server, call_id: str, *, prewarm: bool) -> MediaRoom:
        body = ({"prewarm": True} if prewarm else {}) | ({"owner": self.owner} if self.owner else {})
        path = f"/api/rooms/{call_id}/create"
        return _room(server.url, await self._request(server, "POST", path, body=body or None, repeat=True))

    async def _take_up(self, server: _Server, call_id: str, *, prewarm: bool) -> MediaRoom:
        """Find the room that is there: of an attempt whose answer was lost, or from before a restart."""
        path = f"/api/rooms/{call_id}"
        data = await self._request(server, "GET", path, repeat=True)
        if not prewarm:
            await self._request(server, "POST", f"{path}/activate", repeat=True)
        return _room(server.url, data)

    async def _choose(self, tried: set[str]) -> _Server | None:
        now = self._clock.monotonic_s()
        left = [
            s
            for s in self._servers.values()
            if s.url not in tried and s.breaker.state(now) is not BreakerState.OPEN
        ]
        if len(left) > 1:
            stale = [s for s in left if s.load_at < now - self._policy.load_age_s]
            await asyncio.gather(*(self._refresh_load(server) for server in stale))
            now = self._clock.monotonic_s()
            left = [s for s in left if s.breaker.state(now) is not BreakerState.OPEN]
        return min(left, key=lambda server: (server.load, server.rooms, server.url), default=None)

    async def _refresh_load(self, server: _Server) -> None:
        try:
            stats = await self._request(server, "GET", "/api/stats", repeat=False)
        except MeeshyError:
            server.load = float("inf")
        else:
            counts = stats.get("counts") or {}
            server.load = float(counts.get("participants", 0))
            server.rooms = int(counts.get("rooms", 0))
        server.load_at = self._clock.monotonic_s()

    async def _request(
        self, server: _Server, method: str, path: str, *, body: Any = None, repeat: bool
    ) -> dict[str, Any]:
        """One request; repeated with jitter when repeating is safe and the server may come back.

        Raises:
            MediaServerRefusedError: The server answered with an error of its own.
            NotSentError: No attempt has reached it: nothing listens there, or its breaker is open.
            UnavailableError: It did not answer.
        """
        attempts = self._policy.attempts if repeat else 1
        sent = False
        for attempt in range(attempts):
            if not server.breaker.allows(self._clock.monotonic_s()):
                raise _unanswered(
                    f"media server {server.url} did not answer before; it is tried again within seconds",
                    sent=sent,
                )
            try:
                data = await self._attempt(server, method, path, body)
            except (aiohttp.ClientError, TimeoutError) as error:
                sent = sent or not isinstance(error, aiohttp.ClientConnectorError)
                server.breaker.failed(self._clock.monotonic_s())
                reason = f"media server {server.url}: {method} {path}: {error or type(error).__name__}"
                if attempt + 1 == attempts:
                    raise _unanswered(reason, sent=sent) from error
                logger.warning("%s; trying again", reason, extra=log_ids(server=server.url))
                await asyncio.sleep(self._rng.uniform(0.0, self._policy.backoff_s * 2**attempt))
            else:
                server.breaker.succeeded()
                return data
        raise _unanswered(f"media server {server.url}: {method} {path}: no attempt is allowed", sent=sent)

    async def _attempt(self, server: _Server, method: str, path: str, body: Any) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._policy.timeout_s))
        headers = {"Authorization": f"Bearer {self.service_token()}"}
        async with self._session.request(method, server.url + path, json=body, headers=headers) as answer:
            if answer.status >= HTTP_SERVER_ERROR and answer.status != HTTP_UNAVAILABLE:
                raise aiohttp.ClientResponseError(
                    answer.request_info, answer.history, status=answer.status, message=answer.reason or ""
                )
            try:
                envelope = await answer.json(content_type=None)
            except ValueError as error:
                raise aiohttp.ClientPayloadError(
                    f"{method} {path} was answered with something else than JSON"
                ) from error
        if not isinstance(envelope, dict):
            raise aiohttp.ClientPayloadError(f"{method} {path} was answered without an envelope")
        if envelope.get("success") is True or "success" not in envelope:
            data = envelope.get("data", envelope)
            return data if isinstance(data, dict) else {}
        wrong = envelope.get("error") or {}
        raise MediaServerRefusedError(
            f"media server {server.url}: {method} {path}: {wrong.get('message', answer.reason)}",
            status=answer.status,
            wire_code=str(wrong.get("code", "")),
        )


def _unanswered(reason: str, *, sent: bool) -> UnavailableError:
    return UnavailableError(reason) if sent else NotSentError(reason)


def _room(url: str, data: dict[str, Any]) -> MediaRoom:
    return MediaRoom(url, str(data["roomId"]), str(data["routerId"]), dict(data["rtpCapabilities"]))
