"""The Socket.IO server, hardened: caps on connections, sizes, depth and queues; nobody stays without a token.

Carries events; what they mean is known to signaling.py. Overrides a few inner methods of python-socketio, whose
version is pinned below the next major one for that reason; tests/integration/server covers each.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import engineio
import socketio
from aiohttp import ClientError, StreamReader, WSMessage, WSMsgType, web
from engineio import packet as engine_packet
from engineio.async_drivers import aiohttp as engine_driver
from engineio.exceptions import EngineIOError, SocketIsClosedError
from engineio.payload import Payload
from socketio.packet import ACK, CONNECT, CONNECT_ERROR, EVENT

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS
from meeshy_sfu.edge.connection_limits import ConnectionLimits, Credential
from meeshy_sfu.edge.connections import CROWDED, authenticate, revoke
from meeshy_sfu.edge.descriptors import MOST_CONNECTIONS
from meeshy_sfu.edge.limits import Quota, RateLimitedError, RateLimiter, address_key, check_json_depth
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.middleware import ADDRESS, BODY_TIMEOUT_S, Origins, failure, json_bytes, strict_json
from meeshy_sfu.edge.receive_queue import Message, OverRate, ReceiveQueue
from meeshy_sfu.errors import (
    CapacityError,
    HeadersTooLargeError,
    InvalidRequestError,
    InvalidStateError,
    MeeshyError,
    PayloadTooLargeError,
    RateLimitError,
)
from meeshy_sfu.log import hide_tokens

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
"""Who has not presented a token by then is cut off."""
PING_INTERVAL_S = 15
PING_TIMEOUT_S = 10
CLOSE_TIMEOUT_S = 1.0
FLOOD_GOODBYE_S = 0.05
"""How long a goodbye is waited for from whom a flood comes."""
SOCKET_HEAD_BYTES = 16_384
"""All headers of a request of the transport: they are kept as long as the connection, and hold no token."""
TOKEN_PACKET_BYTES = MAX_TOKEN_CHARS + 1024
"""Size of a packet that presents the longest token; whatever else is larger than max_event_bytes is refused."""
_TOKEN_PACKET = re.compile(r'0|2\d*\[\s*"(?:authenticate|refresh-token)"')
WAITING_MESSAGES = 4
"""Of a connection's largest messages so many may wait for their handler; of small ones max_queued_events."""
POLICY_VIOLATION = 1008
"""Code of a WebSocket closed because of what its client sent (RFC 6455 §7.4.1)."""
CLOSE_REASON_BYTES = 123
CONTROL_FRAMES = (WSMsgType.PING, WSMsgType.PONG)
GOODBYES = (1000, 1001)
"""Codes of a WebSocket closed on purpose, and of a page that is left (RFC 6455 §7.4.1)."""

RESERVED_EVENTS = frozenset(("connect", "disconnect", "*"))
TEXT_PACKETS = frozenset(str(kind) for kind in (CONNECT, socketio.packet.DISCONNECT, EVENT, ACK))
"""The types of Socket.IO packets that a client may send."""
ATTACHMENTS = (
    "packets with attachments (Socket.IO types 5 and 6, binary frames) are not taken; send JSON alone"
)
REFUSED = web.RequestKey("refused", MeeshyError)
"""Under this key a request holds why its packets ended the connection."""


class PacketJson:
    """The JSON codec of packets: compact out, no deep nesting and no NaN in."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth

    def dumps(self, value: object, **_: object) -> str:
        """Write compactly."""
        return json_bytes(value).decode()

    def loads(self, text: str, **_: object) -> Any:
        """Read.

        Raises:
            ValueError: It is no JSON, or too deep.
        """
        try:
            check_json_depth(text.encode("utf-8", "surrogatepass"), self._max_depth)
            return strict_json(text)
        except (MeeshyError, RecursionError) as error:
            raise ValueError(str(error)) from None


_AsyncServer: Any = socketio.AsyncServer
_SocketPacket: Any = socketio.packet.Packet
_EnginePacket: Any = engine_packet.Packet
_EngineWebSocket: Any = engine_driver.WebSocket
_EngineServer: Any = engineio.AsyncServer
_EnginePayload: Any = Payload
_translate_request: Any = engine_driver.translate_request
# none of them has types; as Any their use is at least not noise


class JsonPacket(_SocketPacket):  # type: ignore[misc]
    """A packet of Socket.IO whose data is JSON alone, so that nothing is searched for bytes before it is sent.

    The search took thirty times as long as writing the answer of somebody who joins fifty people.
    """

    uses_binary_events = False


class WholeBody:
    """The body of a poll, read to its end: the engine takes what has arrived first for all of it."""

    __slots__ = ("_content",)

    def __init__(self, content: StreamReader) -> None:
        self._content = content

    async def read(self, limit: int) -> bytes:
        """Read all of it.

        Raises:
            EngineIOError: It is longer, breaks off or does not come.
        """
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                while piece := await self._content.readany():
                    pieces.append(piece)
                    limit -= len(piece)
                    if limit < 0:
                        raise EngineIOError("the body is too long")
        except (TimeoutError, ClientError, web.RequestPayloadError):
            raise EngineIOError("the body broke off") from None
        return b"".join(pieces)


class Engine(_EngineServer):  # type: ignore[misc]
    """Engine.IO over HTTP, which says why packets that were posted ended their connection."""

    async def handle_request(self, request: web.Request) -> Any:
        """Answer a request of the transport.

        Raises:
            HeadersTooLargeError: Its headers are larger than is kept.
        """
        if sum(len(name) + len(value) for name, value in request.raw_headers) > SOCKET_HEAD_BYTES:
            raise HeadersTooLargeError(
                f"headers of more than {SOCKET_HEAD_BYTES:,} bytes; a token goes into auth of the handshake"
            )
        answer = await super().handle_request(request)
        error = request.get(REFUSED)
        if error is None:
            return answer
        allowed = {
            name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")
        }
        return failure(error, headers=allowed)


@dataclass(slots=True)
class Line:
    """One connection, from the first request to the end of what it sent."""

    inbox: ReceiveQueue
    trusted: bool = False
    """No limit counts what it sends."""
    greeted: bool = False
    """It has sent its first packet CONNECT, which is free, as the answers to pings are."""
    refused: int = 0
    """Packets beyond the limit since the last within."""
    over: OverRate | None = None
    """Why the message that is dealt with now is only answered."""
    ended: MeeshyError | None = None
    """Why it is being closed, if because of what it sent."""


class SocketServer(_AsyncServer):  # type: ignore[misc]
    """Accept sockets within the caps and send to them without ever waiting for one.

    Each socket has a queue of its own; a client that lets it grow beyond max_queued_events is cut off. What it sends
    is counted packet by packet and dealt with one after the other, while reading goes on: whatever a handler waits
    for, pings are answered and the end is seen.
    """

    metrics: EdgeMetrics
    """Set before the first socket."""

    def __init__(self, settings: Settings, origins: Origins, clock: Clock) -> None:
        # what the engine writes quotes what clients sent; what matters is logged here
        quiet = logging.Logger("engineio", level=logging.CRITICAL + 1)
        super().__init__(
            async_mode="aiohttp",
            # each socket's inbox brings one event at a time
            async_handlers=False,
            cors_allowed_origins=self._allows,
            serializer=JsonPacket,
            json=PacketJson(settings.max_json_depth),
            logger=quiet,
            engineio_logger=quiet,
            max_http_buffer_size=max(settings.max_event_bytes, TOKEN_PACKET_BYTES),
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        )
        server = self

        class KnownWebSocket(_EngineWebSocket):  # type: ignore[misc]
            farewell: MeeshyError | None = None

            async def __call__(self, environ: dict[str, Any]) -> Any:
                return await server.carry(self._serve, self, environ)

            async def _serve(self, environ: dict[str, Any]) -> Any:
                # without permessage-deflate, by which a few bytes from a client stand for very many
                limit = self.server.max_http_buffer_size
                count = partial(server.count_control_frame, self.handler.__self__.sid)
                self._sock = _WebSocket(count, max_msg_size=limit, compress=False, autoping=False)
                self.environ = environ
                await self._sock.prepare(environ["aiohttp.request"])
                await self.handler(self)
                return self._sock

            async def close(self) -> None:
                if self.farewell is None or self._sock is None:
                    await super().close()
                else:
                    reason = self.farewell.message.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore")
                    if isinstance(self.farewell, RateLimitError):
                        # until it says goodbye as well, the rest of its flood would be taken apart
                        self._sock._timeout = FLOOD_GOODBYE_S
                    await self._sock.close(code=POLICY_VIOLATION, message=reason.encode())

        self.eio._async = {
            **self.eio._async,
            "websocket": KnownWebSocket,
            "translate_request": self._translate_request,
        }
        self._settings = settings
        self._origins = origins
        self._clock = clock
        self._limits: ConnectionLimits[str] = ConnectionLimits(
            max(settings.max_connections, MOST_CONNECTIONS), settings.max_connections_per_address
        )
        """Besides that of TCP connections: long polls share those, and so do the clients of a proxy."""
        self._address: dict[str, str] = {}
        self._nameless: dict[str, float] = {}
        self._owners: dict[str, tuple[str, bool]] = {}
        """Of connections with a good token: whose they are, and whether it is a service."""
        self._websockets: dict[str, Any] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._cutting: set[asyncio.Task[None]] = set()
        self._lines: dict[str, Line] = {}
        self._limiter: RateLimiter | None = None
        self._quota = Quota("rate_events", limit=0, window_s=1.0)
        self.on_ended: Callable[[str, MeeshyError], None] = lambda eio_sid, error: None
        """Told of a connection that is about to be closed because of what it sent."""
        self.unconnected: Callable[[str], dict[str, object]] = lambda namespace: {"success": False}
        """Makes the acknowledgement of an event in a namespace that its sender is not in."""

    def limit_by(self, limiter: RateLimiter, quota: Quota) -> None:
        """Count the packets of each connection against a quota; before, none counts."""
        self._limiter, self._quota = limiter, quota

    def _translate_request(self, request: web.Request) -> dict[str, Any]:
        environ: dict[str, Any] = _translate_request(request)
        environ["wsgi.input"] = WholeBody(request.content)
        if request.content_length is None and request.can_read_body:
            # a body without a length is as long as it turns out to be, up to the limit
            environ["CONTENT_LENGTH"] = str(self.eio.max_http_buffer_size)
        owner = self._owners.get(request.query.get("sid", ""))
        if owner is not None:
            # a long poll of somebody who has shown a token
            authenticate(request, Credential.SOCKET, owner[0], is_service=owner[1])
        return environ

    def deliver(self, sids: Iterable[str], event: str, payload: dict[str, object]) -> None:
        """Queue an event for some sockets; encoded once, never waits."""
        packet: object = None
        for sid in sids:
            eio_sid = self.manager.eio_sid_from_sid(sid, "/")
            queue = self._queue_of(eio_sid)
            if queue is None:
                continue
            if packet is None:
                encoded = self.packet_class(EVENT, namespace="/", data=[event, payload]).encode()
                packet = _EnginePacket(engine_packet.MESSAGE, encoded)
            queue.put_nowait(packet)

    def _queue_of(self, eio_sid: str) -> Any:
        """Give what waits for a client, or None if it takes nothing (more)."""
        connection = self.eio.sockets.get(eio_sid)
        if connection is None or connection.closed or connection.closing:
            return None
        if connection.queue.qsize() >= self._settings.max_queued_events:
            self.metrics.slow_clients.inc()
            logger.warning("address=%s is cut off: it does not take its events", self._address.get(eio_sid))
            self.cut(eio_sid)
            return None
        return connection.queue

    def named(self, eio_sid: str, owner: str, *, is_service: bool = False) -> None:
        """Take note that a connection has presented a good token, and whose; what services send is not limited.

        Raises:
            CapacityError: There are as many as may be, of as many people.
        """
        below = self._request_below(eio_sid)
        closed = self._limits.authenticate(eio_sid, Credential.SOCKET, owner, is_service=is_service)
        self._cut_crowded(closed or ())
        has_room = closed is not None
        if has_room and below is not None:
            has_room = authenticate(below, Credential.SOCKET, owner, is_service=is_service)
        if not has_room:
            self._limits.revoke(eio_sid)
            cap = self._settings.max_connections_per_address
            raise CapacityError(
                f"no room for one more socket, with at most {cap} from {self._address.get(eio_sid)}",
                {"limit": "max_connections_per_address"},
            )
        self._owners[eio_sid] = owner, is_service
        self._nameless.pop(eio_sid, None)
        if line := self._lines.get(eio_sid):
            line.trusted = is_service

    def nameless(self, eio_sid: str) -> None:
        """Take note that a connection has no token (any more); it is given a little time to present one."""
        if eio_sid in self._address:
            self._nameless[eio_sid] = self._clock.monotonic_s()
            self._owners.pop(eio_sid, None)
            self._limits.revoke(eio_sid)
            below = self._request_below(eio_sid)
            if below is not None:
                revoke(below)
        if line := self._lines.get(eio_sid):
            line.trusted = False

    def over_rate(self, eio_sid: str) -> OverRate | None:
        """Tell whether the event that a connection's handler is called with is only to be answered, and why."""
        line = self._lines.get(eio_sid)
        return None if line is None else line.over

    def _request_below(self, eio_sid: str) -> web.Request | None:
        socket = self._websockets.get(eio_sid)
        return None if socket is None or socket._sock is None else socket.environ["aiohttp.request"]

    def _cut_crowded(self, eio_sids: Iterable[str]) -> None:
        for eio_sid in eio_sids:
            self.metrics.closed_early.labels(CROWDED).inc()
            self.cut(eio_sid)

    def sweep(self) -> None:
        """Cut off who has not presented a token in time."""
        now_s = self._clock.monotonic_s()
        late = [sid for sid, since_s in self._nameless.items() if now_s - since_s >= HANDSHAKE_TIMEOUT_S]
        for eio_sid in late:
            del self._nameless[eio_sid]
            self.cut(eio_sid)

    def cut(self, eio_sid: str) -> None:
        """Close a connection soon, without waiting for its client."""
        if line := self._lines.get(eio_sid):
            line.inbox.drop()
        task = asyncio.ensure_future(self._close_connection(eio_sid))
        self._cutting.add(task)
        task.add_done_callback(self._cutting.discard)

    def end(self, eio_sid: str, error: MeeshyError) -> None:
        """Close a connection because of what it sent, with a reason its client can read. Idempotent."""
        line = self._lines.get(eio_sid)
        if line is None or line.ended is not None:
            return
        line.ended = error
        logger.warning("address=%s is cut off: %s", self._address.get(eio_sid), error.message[:200])
        if socket := self._websockets.get(eio_sid):
            socket.farewell = error
            below = self._request_below(eio_sid)
            if isinstance(error, RateLimitError) and below is not None and below.transport is not None:
                # the rest of a flood would be taken apart until its sender has answered the goodbye
                below.transport.pause_reading()
        if self.manager.sid_from_eio_sid(eio_sid, "/") is None:
            self._refuse_connect(eio_sid, "/", error)
        else:
            self.on_ended(eio_sid, error)
        self.cut(eio_sid)

    def count_control_frame(self, eio_sid: str) -> None:
        """Count a ping or pong of WebSocket as a packet.

        Raises:
            OSError: There are so many that the connection is being closed.
        """
        line = self._lines.get(eio_sid)
        try:
            if line is None or line.ended is not None:
                raise SocketIsClosedError()
            self._count(eio_sid, line)
        except SocketIsClosedError:
            # as the engine hears of a connection that is gone
            raise OSError("this connection is closed") from None

    async def carry(self, run: Callable[[Any], Awaitable[Any]], socket: Any, environ: dict[str, Any]) -> Any:
        """Serve one WebSocket to its end, whatever its client sends; for the engine.

        Knows the connection below it meanwhile, because only that can be closed against a client's will.
        """
        connection = socket.handler.__self__
        eio_sid = connection.sid
        if eio_sid in self._websockets:
            # a second way for the same packets, while the first is still being tried
            return web.Response(status=400, text="this connection has a WebSocket already")
        self._websockets[eio_sid] = socket
        ended = self._ended[eio_sid] = asyncio.Event()
        try:
            if connection.connected and (line := self._lines.get(eio_sid)):
                self._count(eio_sid, line)
            return await run(environ)
        except (web.HTTPException, UnicodeError):
            # no WebSocket handshake, or one that aiohttp fails to quote; the request is refused as any other
            self.cut(eio_sid)
            raise InvalidRequestError("the WebSocket handshake is malformed (RFC 6455 §4.2.1)") from None
        except SocketIsClosedError:
            return web.Response(status=400, text="this connection is closed")
        except ConnectionError:
            self.cut(eio_sid)
            return web.Response(status=400, text="the client has gone before it was answered")
        except Exception as error:
            # what is no Engine.IO packet ends in the engine's face
            self.end(eio_sid, _no_packet(error))
            await self._close_connection(eio_sid)
            await socket.close()
            return socket._sock
        finally:
            self._websockets.pop(eio_sid, None)
            self._ended.pop(eio_sid, None)
            ended.set()

    def said_goodbye(self, eio_sid: str) -> bool:
        """Tell whether the client closed its WebSocket itself; a connection that breaks off says nothing."""
        socket = self._websockets.get(eio_sid)
        return socket is not None and socket._sock is not None and socket._sock.said_goodbye

    async def close_all(self) -> None:
        """Close every connection, giving clients a moment to take what is queued."""
        await asyncio.gather(*(self._close_connection(eio_sid) for eio_sid in tuple(self.eio.sockets)))
        working = [line.inbox.cancel() for line in self._lines.values()]
        await asyncio.gather(*(task for task in working if task is not None), return_exceptions=True)
        await self.shutdown()

    async def _close_connection(self, eio_sid: str) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is None:
            return
        line = self._lines.get(eio_sid)
        if line is not None and line.ended is not None and not connection.upgraded:
            # the next long poll takes the reason along; once it is closed, none is answered
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await connection.queue.join()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.eio.disconnect(eio_sid)
                # ends the writer, which then says goodbye
                connection.queue.put_nowait(None)
                if eio_sid in self._ended:
                    await self._ended[eio_sid].wait()
        except TimeoutError:
            self._abort(eio_sid)
            self.eio.sockets.pop(eio_sid, None)

    def _abort(self, eio_sid: str) -> None:
        """Break off a connection's WebSocket, if it has one."""
        environ = getattr(self._websockets.get(eio_sid), "environ", None)
        if environ is not None and environ["aiohttp.request"].transport is not None:
            environ["aiohttp.request"].transport.abort()

    def _allows(self, origin: str, environ: dict[str, Any]) -> bool:
        # the scheme is left out: behind a proxy, or with TLS of our own, the engine does not know it
        try:
            own_page = urlsplit(origin).netloc == environ.get("HTTP_HOST")
        except ValueError:
            return False
        return own_page or self._origins.allowed(origin)

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> str | None:
        request: web.Request = environ["aiohttp.request"]
        self._address[eio_sid] = key = address_key(request[ADDRESS])
        self._cut_crowded(self._limits.admit(eio_sid, key))
        self._lines[eio_sid] = Line(
            ReceiveQueue(
                partial(self._take, eio_sid),
                messages_max=self._settings.max_queued_events,
                chars_max=WAITING_MESSAGES * self._settings.max_event_bytes,
            )
        )
        connection = self.eio.sockets[eio_sid]
        connection.receive = partial(self._receive, connection)
        connection.handle_post_request = partial(self._receive_post, connection)
        self.nameless(eio_sid)
        await super()._handle_eio_connect(eio_sid, environ)
        return None

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None and reason == self.reason.CLIENT_DISCONNECT:
            # the client's own long poll would wait for its timeout otherwise
            connection.queue.put_nowait(None)
        forget = partial(self._forget, eio_sid, reason, goodbye=self.said_goodbye(eio_sid))
        if connection is not None and not connection.upgraded:
            # a WebSocket that never took over from the long poll waits for nothing any more
            self._abort(eio_sid)
        line = self._lines.get(eio_sid)
        if line is None or reason == self.reason.SERVER_DISCONNECT:
            await forget()
        else:
            # what it said before it went still counts
            line.inbox.finish(forget)

    async def _forget(self, eio_sid: str, reason: str, *, goodbye: bool) -> None:
        """Let go of a connection once all that it sent is dealt with."""
        self._address.pop(eio_sid, None)
        self._owners.pop(eio_sid, None)
        self._limits.remove(eio_sid)
        self._nameless.pop(eio_sid, None)
        if line := self._lines.pop(eio_sid, None):
            line.inbox.drop()
        if self._limiter is not None:
            self._limiter.forget(self._quota, eio_sid)
        if goodbye and reason == self.reason.TRANSPORT_CLOSE:
            reason = self.reason.CLIENT_DISCONNECT
        await super()._handle_eio_disconnect(eio_sid, reason)

    # ---- what clients send ---------------------------------------------------------------------------------------

    async def _receive(self, connection: Any, packet: Any) -> None:
        """Count a packet of Engine.IO and put what it carries in the connection's inbox; never waits for a handler.

        Raises:
            SocketIsClosedError: Nothing more of this connection is looked at.
        """
        line = self._lines.get(connection.sid)
        if line is None or line.ended is not None or connection.closing or connection.closed:
            raise SocketIsClosedError()
        kind, data = packet.packet_type, packet.data
        if kind == engine_packet.PONG and connection.last_ping is not None:
            connection.schedule_ping()
            return
        if kind == engine_packet.CLOSE:
            await connection.close(wait=False, abort=True, reason=self.reason.CLIENT_DISCONNECT)
            return
        if kind > engine_packet.NOOP:
            self._end(connection.sid, InvalidRequestError(f"{kind} is no type of an Engine.IO packet"))
        if kind != engine_packet.MESSAGE:
            self._count(connection.sid, line)
            return
        if not isinstance(data, str) or data[:1] not in TEXT_PACKETS:
            attached = isinstance(data, bytes | bytearray) or str(data)[:1] in ("5", "6")
            self._end(connection.sid, InvalidRequestError(ATTACHMENTS) if attached else _no_packet(None))
        await self._receive_message(connection.sid, line, data)

    async def _receive_message(self, eio_sid: str, line: Line, text: str) -> None:
        if text[0] == str(CONNECT) and text[1:2] != "/" and not line.greeted:
            line.greeted = True
            over = None
        else:
            over = self._count(eio_sid, line)
        if text[0] == str(ACK) or (over is not None and text[0] != str(EVENT)):
            # nothing of ours asks for acknowledgements
            return
        if not _TOKEN_PACKET.match(text):
            self._check_size(eio_sid, text)
        if not line.inbox.fits(text):
            if not line.trusted:
                self._end(
                    eio_sid, RateLimitError("too many events wait for their handling; send them slower")
                )
            await line.inbox.room_for(text)
        line.inbox.put(Message(text, over))

    def _check_size(self, eio_sid: str, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        limit = self._settings.max_event_bytes
        if size > limit:
            self._end(
                eio_sid,
                PayloadTooLargeError(f"a packet of {size} bytes; the cap is max_event_bytes, {limit}"),
            )

    async def _receive_post(self, connection: Any, environ: dict[str, Any]) -> None:
        """Take the packets of a long poll's POST; Engine.handle_request tells why they ended the connection."""
        request: web.Request = environ["aiohttp.request"]
        line = self._lines.get(connection.sid)
        try:
            packets = await self._read_post(environ)
            for packet in packets:
                await self._receive(connection, packet)
            if not packets and line is not None:
                self._count(connection.sid, line)
        except SocketIsClosedError:
            request[REFUSED] = InvalidStateError("this connection is closed")
        except MeeshyError as error:
            self.end(connection.sid, error)
        except (ValueError, LookupError, EngineIOError) as error:
            self.end(connection.sid, _no_packet(error))
        if line is not None and line.ended is not None:
            request[REFUSED] = line.ended

    async def _read_post(self, environ: dict[str, Any]) -> list[Any]:
        length, limit = int(environ.get("CONTENT_LENGTH", "0")), self.eio.max_http_buffer_size
        if length > limit:
            raise PayloadTooLargeError(f"more than {limit} bytes")
        body = await environ["wsgi.input"].read(length)
        packets: list[Any] = _EnginePayload(encoded_payload=body.decode()).packets
        return packets

    def _count(self, eio_sid: str, line: Line) -> OverRate | None:
        """Count a packet; of those beyond the limit as many again in a row end the connection.

        Raises:
            SocketIsClosedError: They do.
        """
        if line.trusted or self._limiter is None:
            return None
        try:
            self._limiter.take(self._quota, eio_sid, now_s=self._clock.monotonic_s())
        except RateLimitedError as error:
            self.metrics.rate_limited.labels(self._quota.name).inc()
            line.refused += 1
            if line.refused > self._quota.limit:
                self._end(eio_sid, RateLimitError("it floods packets, far beyond the limit rate_events"))
            return OverRate(error, line.refused)
        line.refused = 0
        return None

    def _end(self, eio_sid: str, error: MeeshyError) -> None:
        self.end(eio_sid, error)
        raise SocketIsClosedError()

    async def _take(self, eio_sid: str, message: Message) -> None:
        line = self._lines.get(eio_sid)
        if line is None:
            return
        line.over = message.over
        try:
            await self._handle_eio_message(eio_sid, message.text)
        except Exception as error:
            # a packet that is none; whoever sends such does not speak Socket.IO
            self.end(eio_sid, _no_packet(error))

    async def _send_packet(self, eio_sid: str, packet: Any) -> None:
        queue = self._queue_of(eio_sid)
        if queue is not None:
            queue.put_nowait(_EnginePacket(engine_packet.MESSAGE, packet.encode()))

    def _refuse_connect(self, eio_sid: str, namespace: str, error: MeeshyError) -> None:
        queue = self._queue_of(eio_sid)
        if queue is not None:
            body = {"message": error.message, "data": {"code": error.code, "message": error.message}}
            packet = self.packet_class(CONNECT_ERROR, data=body, namespace=namespace)
            queue.put_nowait(_EnginePacket(engine_packet.MESSAGE, packet.encode()))

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        namespace = namespace or "/"
        if namespace != "/":
            why = f"there is no namespace {hide_tokens(namespace)[:64]}; connect to /"
        elif self.manager.sid_from_eio_sid(eio_sid, namespace) is not None:
            why = "this connection is in the namespace / already"
        else:
            await super()._handle_connect(eio_sid, namespace, data)
            return
        self._refuse_connect(eio_sid, namespace, InvalidRequestError(why))

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        name = data[0] if isinstance(data, list) and data else None
        if not isinstance(name, str) or name in RESERVED_EVENTS:
            # python-socketio would take such an event for the connection's own
            raise ValueError("an event has no name, or one that is reserved")
        namespace = namespace or "/"
        if self.manager.sid_from_eio_sid(eio_sid, namespace) is None:
            if id is not None:
                answer = self.packet_class(
                    ACK, namespace=namespace, id=id, data=[self.unconnected(namespace)]
                )
                await self._send_packet(eio_sid, answer)
            return
        await super()._handle_event(eio_sid, namespace, id, data)

    def _engineio_server_class(self) -> Any:
        return Engine


class _WebSocket(web.WebSocketResponse):
    """A WebSocket that counts pings and pongs, and knows whether its client closed it by a frame of its own.

    The close code does not tell: aiohttp counts the bare end of a connection, as the kernel sends it for a process that
    was killed, as 1000 too.
    """

    said_goodbye = False

    def __init__(self, count: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._count_control_frame = count

    async def receive(self, timeout: float | None = None) -> WSMessage:
        message = await super().receive(timeout)
        while message.type in CONTROL_FRAMES:
            self._count_control_frame()
            if message.type is WSMsgType.PING:
                await self.pong(message.data)
            message = await super().receive(timeout)
        if message.type is WSMsgType.CLOSE and message.data in GOODBYES:
            self.said_goodbye = True
        return message


def _no_packet(error: Exception | None) -> InvalidRequestError:
    why = f": {str(error)[:80] or type(error).__name__}" if error is not None else ""
    return InvalidRequestError(f"what came is no packet of Socket.IO{why}")
