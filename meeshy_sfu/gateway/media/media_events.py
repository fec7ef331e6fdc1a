"""Events of media servers: one Socket.IO connection to each, kept up, and caught up after every break.

Knows rooms by their call; what a lost room means is decided by the listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import socketio

from meeshy_sfu.errors import MeeshyError, UnavailableError
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.media.media_client import MediaServerClient

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
CALL_TIMEOUT_S = 3.0
JOIN_PAUSE_S = 0.5
"""How long a room that did not answer is left alone before the subscription is repeated."""
TOKEN_REFRESH_S = 20.0
"""How often is looked whether the connection needs a fresh token; the media server cuts off those that ran out."""
RETRY_MIN_S = 0.05
RETRY_MAX_S = 0.4
RETRY_GROWTH = 1.2
"""So slow that a server is found within a sixth of the time it was away: all its calls stand still meanwhile."""
SERVICE_PARTICIPANT = "gateway"
SERVER_DOWN = "media-server-died"
ROOM_LOST = "room-lost"
_AsyncClient: Any = socketio.AsyncClient
_Producers = dict[str, dict[str, Any]]
"""Payloads of `new-producer` by producer id."""


class MediaListener(Protocol):
    """Receives what happens in rooms."""

    def media_event(self, call_id: str, event: str, payload: dict[str, Any]) -> None:
        """A media server sent an event of a call that is watched."""

    def producers_are(self, call_id: str, producers: dict[str, dict[str, Any]]) -> None:
        """After a break: all producers of a room now."""

    async def room_gone(self, call_id: str, room_id: str | None, reason: str) -> None:
        """A room does not exist any more; None for the room means: whichever was on that server."""

    async def server_back(self, url: str) -> None:
        """A media server is connected (again); its rooms may be others than before."""


class RoomConnection(Protocol):
    """A connection to a media server, open or broken by now."""

    async def join(self, call_id: str) -> None:
        """Subscribe to a room's events."""

    async def leave(self, call_id: str) -> None:
        """Unsubscribe from a room's events."""


class MediaEvents:
    """Which calls' rooms are watched, and the connections that are open now.

    Knows no listener: what a connection receives it reports itself. So those who watch rooms need not exist before those
    who are notified of them.
    """

    def __init__(self, media: MediaServerClient, jobs: Jobs) -> None:
        self._media = media
        self._jobs = jobs
        self._watched: set[str] = set()
        self._open: dict[str, RoomConnection] = {}

    async def watch(self, call_id: str) -> None:
        """Receive events of a call's room, on the server the call is pinned to; if that is away, once it is back."""
        self.watch_later(call_id)
        connection = self._connection_of(call_id)
        if connection is not None:
            await connection.join(call_id)

    def watch_later(self, call_id: str) -> None:
        """Receive events of a call's room from the next connection on."""
        self._watched.add(call_id)

    def unwatch(self, call_id: str) -> None:
        """Receive no more events of a call's room."""
        self._watched.discard(call_id)
        connection = self._connection_of(call_id)
        if connection is not None:
            self._jobs.start(connection.leave(call_id), f"unwatch {call_id}")

    def is_watched(self, call_id: str) -> bool:
        """Return whether events of a call's room are wanted, on whichever server."""
        return call_id in self._watched

    def opened(self, url: str, connection: RoomConnection) -> None:
        """A server is connected."""
        self._open[url] = connection

    def broke(self, url: str) -> None:
        """A server's connection is lost."""
        self._open.pop(url, None)

    def connected(self) -> dict[str, bool]:
        """Return which servers are connected; for health and tests."""
        return {url: url in self._open for url in self._media.urls}

    def _connection_of(self, call_id: str) -> RoomConnection | None:
        return self._open.get(self._media.server_of(call_id) or "")


class MediaConnections:
    """The connections to all media servers, kept up; what they receive goes to the listener."""

    def __init__(
        self,
        events: MediaEvents,
        *,
        media: MediaServerClient,
        clock: Clock,
        jobs: Jobs,
        down_s: float,
        listener: MediaListener,
    ) -> None:
        self._jobs = jobs
        self._links = {
            url: _ServerLink(
                url, events=events, media=media, clock=clock, jobs=jobs, down_s=down_s, listener=listener
            )
            for url in media.urls
        }

    def start(self) -> None:
        """Begin to connect to all servers."""
        for url, link in self._links.items():
            self._jobs.start(link.run(), f"events of {url}")


class _ServerLink:
    """The connection to one media server."""

    def __init__(
        self,
        url: str,
        *,
        events: MediaEvents,
        media: MediaServerClient,
        clock: Clock,
        jobs: Jobs,
        down_s: float,
        listener: MediaListener,
    ) -> None:
        self._url = url
        self._events = events
        self._media = media
        self._clock = clock
        self._jobs = jobs
        self._down_s = down_s
        self._listener = listener
        self._client: Any = None
        self._token = ""
        self._collecting: dict[str, list[_Producers]] = {}
        """Producers reported of rooms while they are being joined, for each join."""
        self._broken = asyncio.Event()
        self._connected = False

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        # ours, because the client forgets to close its own when it cannot connect
        async with aiohttp.ClientSession() as session:
            await self._keep_up(session)

    async def _keep_up(self, session: aiohttp.ClientSession) -> None:
        down_since_s: float | None = None
        pause_s = RETRY_MIN_S
        given_up = False
        while True:
            if await self._connect(session):
                down_since_s, given_up = None, False
                logger.info("connected to the events of a media server", extra=log_ids(server=self._url))
                try:
                    await self._catch_up()
                    pause_s = RETRY_MIN_S
                    await self._stay()
                except Exception:
                    # whatever it was: without this connection calls would not learn of lost rooms
                    logger.exception("catching up failed; connecting again", extra=log_ids(server=self._url))
                finally:
                    self._connected = False
                    self._events.broke(self._url)
                    await self._client.shutdown()
                logger.warning(
                    "connection lost to the events of a media server", extra=log_ids(server=self._url)
                )
            now_s = self._clock.monotonic_s()
            down_since_s = down_since_s if down_since_s is not None else now_s
            if not given_up and now_s - down_since_s >= self._down_s:
                given_up = True
                await self._give_up()
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(RETRY_MAX_S, pause_s * RETRY_GROWTH)

    async def _stay(self) -> None:
        """Wait until the connection breaks, presenting fresh tokens meanwhile."""
        while not self._broken.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TOKEN_REFRESH_S):
                    await self._broken.wait()
                    return
            await self._refresh_token()

    async def _refresh_token(self) -> None:
        token = self._media.service_token()
        if token == self._token:
            return
        try:
            answer = await self._client.call("refresh-token", {"token": token}, timeout=CALL_TIMEOUT_S)
        except socketio.exceptions.SocketIOError as error:
            logger.info("the fresh token was not accepted: %s", error, extra=log_ids(server=self._url))
            return
        if isinstance(answer, dict) and answer.get("success"):
            self._token = token

    async def join(self, call_id: str) -> None:
        """Subscribe to a room's events; a room that does not exist is reported as gone."""
        if not self._connected:
            return
        found: _Producers = {}
        broken = self._broken
        self._collecting.setdefault(call_id, []).append(found)
        try:
            answer = await self._client.call(
                "join-room",
                {"callId": call_id, "participantId": SERVICE_PARTICIPANT},
                timeout=CALL_TIMEOUT_S,
            )
        except socketio.exceptions.TimeoutError:
            logger.warning(
                "no answer within %g s to the subscription to a room's events",
                CALL_TIMEOUT_S,
                extra=log_ids(server=self._url, call=call_id),
            )
            self._jobs.start(self._join_again(call_id, broken), f"asking for {call_id} again")
            return
        except (socketio.exceptions.SocketIOError, MeeshyError) as error:
            # the connection broke, or is as good as broken; catching up on the next one repeats it
            logger.info(
                "the room cannot be watched: %s", error, extra=log_ids(server=self._url, call=call_id)
            )
            broken.set()
            return
        finally:
            # by identity: others may collect the same
            rest = [one for one in self._collecting.pop(call_id) if one is not found]
            if rest:
                self._collecting[call_id] = rest
        if not isinstance(answer, dict) or not answer.get("success"):
            await self._listener.room_gone(call_id, None, ROOM_LOST)
        elif self._events.is_watched(call_id):
            self._listener.producers_are(call_id, found)

    async def _join_again(self, call_id: str, broken: asyncio.Event) -> None:
        """Subscribe again to a room that was slow; only a server that answers nothing costs all rooms the connection."""
        await asyncio.sleep(JOIN_PAUSE_S)
        if broken.is_set() or not self._is_watched(call_id):
            return
        try:
            await self._media.get_room(call_id)
        except UnavailableError as error:
            logger.warning("no answer to anything: %s", error, extra=log_ids(server=self._url))
            broken.set()
            return
        except MeeshyError as error:
            logger.info(
                "the room cannot be queried: %s", error, extra=log_ids(server=self._url, call=call_id)
            )
        await self.join(call_id)

    async def leave(self, call_id: str) -> None:
        """Unsubscribe from a room's events."""
        if self._connected and not self._events.is_watched(call_id):
            try:
                await self._client.emit(
                    "leave-room", {"callId": call_id, "participantId": SERVICE_PARTICIPANT}
                )
            except socketio.exceptions.SocketIOError:
                logger.debug(
                    "connection lost while leaving a room", extra=log_ids(server=self._url, call=call_id)
                )

    async def _connect(self, session: aiohttp.ClientSession) -> bool:
        # a fresh client each time: a broken one remembers too much
        self._client = _AsyncClient(
            reconnection=False,
            logger=False,
            engineio_logger=False,
            http_session=session,
            # it would take Ctrl-C over from us and cancel whatever runs
            handle_sigint=False,
        )
        self._broken = broken = asyncio.Event()
        self._client.on("*", self._on_event)
        # the client's own wait() swallows cancellation and notices a break a second late
        self._client.on("disconnect", lambda *_: broken.set())
        self._token = self._media.service_token()
        try:
            await self._client.connect(
                self._url,
                auth={"token": self._token},
                transports=["websocket"],
                wait_timeout=CONNECT_TIMEOUT_S,
            )
        except (socketio.exceptions.SocketIOError, OSError, ValueError, TimeoutError) as error:
            logger.debug("not reachable: %s", error, extra=log_ids(server=self._url))
            await self._client.shutdown()
            return False
        self._connected = True
        self._events.opened(self._url, self)
        return True

    async def _catch_up(self) -> None:
        """Join the rooms of all calls at once: one that is slow, or waits for its lock, holds up no other."""
        self._media.answers(self._url)
        async with asyncio.TaskGroup() as looking:
            for call_id in self._watched_here():
                looking.create_task(self.join(call_id))
            looking.create_task(self._listener.server_back(self._url))

    def _is_watched(self, call_id: str) -> bool:
        return self._events.is_watched(call_id) and self._media.server_of(call_id) == self._url

    def _watched_here(self) -> list[str]:
        return [call_id for call_id in self._media.calls_on(self._url) if self._events.is_watched(call_id)]

    async def _give_up(self) -> None:
        lost = self._watched_here()
        logger.error(
            "the media server is down; %d calls get a room elsewhere",
            len(lost),
            extra=log_ids(server=self._url),
        )
        for call_id in lost:
            await self._listener.room_gone(call_id, None, SERVER_DOWN)

    async def _on_event(self, event: str, payload: Any = None) -> None:
        if not isinstance(payload, dict):
            return
        call_id = str(payload.get("callId", ""))
        for found in self._collecting.get(call_id, ()):
            if event == "new-producer":
                found[str(payload.get("producerId"))] = payload
            elif event == "producer-closed":
                found.pop(str(payload.get("producerId")), None)
        if not self._is_watched(call_id):
            return
        if event == "room-closed":
            reason = str(payload.get("reason", ""))
            known = {"worker-died": "worker-died", "server-shutdown": SERVER_DOWN}
            self._jobs.start(
                self._listener.room_gone(call_id, str(payload.get("roomId")), known.get(reason, ROOM_LOST)),
                f"room of call {call_id} gone",
            )
        else:
            self._listener.media_event(call_id, event, payload)
