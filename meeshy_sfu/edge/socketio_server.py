"""The Socket.IO server of a service: limits on connections, sizes, depth and queues, and on the time without a token.

Carries events; what they mean is in the services. Overrides a few inner methods of python-socketio, whose version is pinned
below the next major one for that reason; tests/integration/server/test_packets.py covers each. Packets are in
socketio_packets.py, long polling and WebSocket in socketio_transport.py, the state of a connection in socketio_connection.py.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import socketio
from aiohttp import web
from engineio import packet as engine_packet
from engineio.async_drivers import aiohttp as engine_driver
from engineio.exceptions import EngineIOError, SocketIsClosedError
from engineio.payload import Payload
from socketio.packet import ACK, CONNECT, CONNECT_ERROR, EVENT

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.client_address import ADDRESS
from meeshy_sfu.edge.connection_limits import ConnectionLimits, Credential
from meeshy_sfu.edge.connections import CROWDED, authenticate, revoke
from meeshy_sfu.edge.cors import Origins
from meeshy_sfu.edge.descriptors import MOST_CONNECTIONS
from meeshy_sfu.edge.event_table import PayloadT, ServerEvent
from meeshy_sfu.edge.limits import Quota, RateLimitedError, RateLimiter, address_key
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.receive_queue import Message, OverRate, ReceiveQueue
from meeshy_sfu.edge.socketio_connection import SocketConnection
from meeshy_sfu.edge.socketio_packets import (
    ATTACHMENTS,
    TEXT_PACKETS,
    TOKEN_PACKET_BYTES,
    JsonPacket,
    PacketJson,
    message,
    not_a_packet,
    presents_token,
)
from meeshy_sfu.edge.socketio_transport import REFUSED, Engine, EngineWebSocket, WholeBody
from meeshy_sfu.errors import (
    CapacityError,
    InvalidRequestError,
    InvalidStateError,
    MeeshyError,
    PayloadTooLargeError,
    RateLimitError,
)
from meeshy_sfu.log import hide_tokens, log_ids

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
"""A connection that has presented no token by then is closed."""
PING_INTERVAL_S = 15
PING_TIMEOUT_S = 10
CLOSE_TIMEOUT_S = 1.0
WAITING_MESSAGES = 4
"""Of a connection's largest messages so many may wait for their handler; of small ones max_queued_events."""
RESERVED_EVENTS = frozenset(("connect", "disconnect", "*"))
_AsyncServer: Any = socketio.AsyncServer
_EnginePayload: Any = Payload
_translate_request: Any = engine_driver.translate_request
# none of them has types; as Any their use is at least not noise


class SocketServer(_AsyncServer):  # type: ignore[misc]
    """Accept sockets within the caps and send to them without ever waiting for one.

    Each connection has a send queue; a client that lets it grow beyond max_queued_events is cut off. What it sends is
    counted packet by packet and handled one after the other, while reading goes on: whatever a handler waits for, pings
    are answered and the end of the connection is noticed.
    """

    metrics: EdgeMetrics
    """Set before the first socket."""

    def __init__(self, settings: Settings, origins: Origins, clock: Clock) -> None:
        # what the engine writes quotes what clients sent; what matters is logged here
        quiet = logging.Logger("engineio", level=logging.CRITICAL + 1)
        super().__init__(
            async_mode="aiohttp",
            # each connection's queue brings one event at a time
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

        class KnownWebSocket(EngineWebSocket):
            async def __call__(self, environ: dict[str, Any]) -> Any:
                return await server.serve_websocket(self, environ)

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
        self._connections: dict[str, SocketConnection] = {}
        """By Engine.IO session id, as the next two."""
        self._websockets: dict[str, EngineWebSocket] = {}
        self._websocket_ended: dict[str, asyncio.Event] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._limiter: RateLimiter | None = None
        self._quota = Quota("rate_events", limit=0, window_s=1.0)
        self.on_closing: Callable[[str, MeeshyError], None] = lambda eio_sid, error: None
        """Called with a connection that is about to be closed because of what it sent."""
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
        connection = self._connections.get(request.query.get("sid", ""))
        if connection is not None and connection.owner is not None:
            # a long poll of a session that has shown a token
            authenticate(request, Credential.SOCKET, connection.owner, is_service=connection.is_service)
        return environ

    def deliver(self, sids: Iterable[str], event: ServerEvent[PayloadT], payload: PayloadT) -> None:
        """Queue an event for some sockets; encoded once, never waits."""
        packet: object = None
        for sid in sids:
            eio_sid = self.manager.eio_sid_from_sid(sid, "/")
            queue = self._send_queue(eio_sid)
            if queue is None:
                continue
            if packet is None:
                encoded = self.packet_class(EVENT, namespace="/", data=[event.name, payload.wire()]).encode()
                packet = message(encoded)
            queue.put_nowait(packet)

    def _send_queue(self, eio_sid: str) -> Any:
        """Return the queue of packets for a client, or None if it is closed or does not read."""
        engine_socket = self.eio.sockets.get(eio_sid)
        if engine_socket is None or engine_socket.closed or engine_socket.closing:
            return None
        if engine_socket.queue.qsize() >= self._settings.max_queued_events:
            self.metrics.slow_clients.inc()
            logger.warning(
                "cut off: it does not read its events", extra=log_ids(address=self._address(eio_sid))
            )
            self.cut(eio_sid)
            return None
        return engine_socket.queue

    def authenticate(self, eio_sid: str, owner: str, *, is_service: bool = False) -> None:
        """Note that a connection has presented a valid token, and whose; what services send is not limited.

        Raises:
            CapacityError: The limits are reached, and by connections of as many owners.
        """
        request = self._websocket_request(eio_sid)
        evicted = self._limits.authenticate(eio_sid, Credential.SOCKET, owner, is_service=is_service)
        self._cut_evicted(evicted or ())
        has_room = evicted is not None
        if has_room and request is not None:
            has_room = authenticate(request, Credential.SOCKET, owner, is_service=is_service)
        if not has_room:
            self._limits.revoke(eio_sid)
            cap = self._settings.max_connections_per_address
            raise CapacityError(
                f"no room for one more socket, with at most {cap} from {self._address(eio_sid)}",
                {"limit": "max_connections_per_address"},
            )
        if connection := self._connections.get(eio_sid):
            connection.authenticate(owner, is_service=is_service)

    def revoke(self, eio_sid: str) -> None:
        """Note that a connection has no valid token (any more); it has HANDSHAKE_TIMEOUT_S to present one."""
        connection = self._connections.get(eio_sid)
        if connection is not None:
            connection.revoke(self._clock.monotonic_s())
            self._limits.revoke(eio_sid)
            request = self._websocket_request(eio_sid)
            if request is not None:
                revoke(request)

    def over_rate(self, eio_sid: str) -> OverRate | None:
        """Return why the event that is handled now is refused for its rate, or None."""
        connection = self._connections.get(eio_sid)
        return None if connection is None else connection.over

    def _address(self, eio_sid: str) -> str | None:
        connection = self._connections.get(eio_sid)
        return None if connection is None else connection.address

    def _websocket_request(self, eio_sid: str) -> web.Request | None:
        socket = self._websockets.get(eio_sid)
        return None if socket is None else socket.request

    def _cut_evicted(self, eio_sids: Iterable[str]) -> None:
        for eio_sid in eio_sids:
            self.metrics.closed_early.labels(CROWDED).inc()
            self.cut(eio_sid)

    def sweep(self) -> None:
        """Close connections that have not presented a token in time."""
        due_s = self._clock.monotonic_s() - HANDSHAKE_TIMEOUT_S
        for eio_sid, connection in tuple(self._connections.items()):
            since_s = connection.unauthenticated_since_s
            if since_s is not None and since_s <= due_s:
                connection.unauthenticated_since_s = None
                self.cut(eio_sid)

    def cut(self, eio_sid: str) -> None:
        """Close a connection soon, without waiting for its client."""
        if connection := self._connections.get(eio_sid):
            connection.queue.drop()
        task = asyncio.ensure_future(self._close_connection(eio_sid))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def close_for(self, eio_sid: str, error: MeeshyError) -> None:
        """Close a connection because of what it sent, with a reason its client can read. Idempotent."""
        connection = self._connections.get(eio_sid)
        if connection is None or connection.closed_for is not None:
            return
        connection.closed_for = error
        logger.warning("cut off: %s", error.message[:200], extra=log_ids(address=connection.address))
        if socket := self._websockets.get(eio_sid):
            socket.closed_for = error
            request = socket.request
            if isinstance(error, RateLimitError) and request is not None and request.transport is not None:
                # the rest of a flood would be parsed until its sender has answered the close frame
                request.transport.pause_reading()
        if self.manager.sid_from_eio_sid(eio_sid, "/") is None:
            self._refuse_connect(eio_sid, "/", error)
        else:
            self.on_closing(eio_sid, error)
        self.cut(eio_sid)

    def count_control_frame(self, eio_sid: str) -> None:
        """Count a ping or pong of WebSocket as a packet.

        Raises:
            OSError: There are so many that the connection is being closed.
        """
        connection = self._connections.get(eio_sid)
        try:
            if connection is None or connection.closed_for is not None:
                raise SocketIsClosedError()
            self._count(eio_sid, connection)
        except SocketIsClosedError:
            # the error by which the engine notices that a connection is gone
            raise OSError("this connection is closed") from None

    async def serve_websocket(self, socket: EngineWebSocket, environ: dict[str, Any]) -> Any:
        """Serve one WebSocket to its end, whatever its client sends; for the engine.

        Keeps it at hand meanwhile, because only it can be closed against its client's will.
        """
        engine_socket = socket.handler.__self__
        eio_sid = engine_socket.sid
        if eio_sid in self._websockets:
            # a second way for the same packets, while the first is still being tried
            return web.Response(status=400, text="this connection has a WebSocket already")
        self._websockets[eio_sid] = socket
        ended = self._websocket_ended[eio_sid] = asyncio.Event()
        try:
            if engine_socket.connected and (connection := self._connections.get(eio_sid)):
                self._count(eio_sid, connection)
            return await socket.serve(environ, partial(self.count_control_frame, eio_sid))
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
            # the engine raises on what is no packet of Engine.IO
            self.close_for(eio_sid, not_a_packet(error))
            await self._close_connection(eio_sid)
            await socket.close()
            return socket._sock
        finally:
            self._websockets.pop(eio_sid, None)
            self._websocket_ended.pop(eio_sid, None)
            ended.set()

    async def close_all(self) -> None:
        """Close every connection, giving clients a moment to take what is queued."""
        await asyncio.gather(*(self._close_connection(eio_sid) for eio_sid in tuple(self.eio.sockets)))
        working = [connection.queue.cancel() for connection in self._connections.values()]
        await asyncio.gather(*(task for task in working if task is not None), return_exceptions=True)
        await self.shutdown()

    async def _close_connection(self, eio_sid: str) -> None:
        engine_socket = self.eio.sockets.get(eio_sid)
        if engine_socket is None:
            return
        connection = self._connections.get(eio_sid)
        if connection is not None and connection.closed_for is not None and not engine_socket.upgraded:
            # the next long poll takes the reason along; once it is closed, none is answered
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await engine_socket.queue.join()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.eio.disconnect(eio_sid)
                # ends the writer, which then sends the close frame
                engine_socket.queue.put_nowait(None)
                if eio_sid in self._websocket_ended:
                    await self._websocket_ended[eio_sid].wait()
        except TimeoutError:
            self._abort(eio_sid)
            self.eio.sockets.pop(eio_sid, None)

    def _abort(self, eio_sid: str) -> None:
        """Break off a connection's WebSocket, if it has one."""
        if socket := self._websockets.get(eio_sid):
            socket.abort()

    def _allows(self, origin: str, environ: dict[str, Any]) -> bool:
        # the scheme is left out: behind a proxy, or with TLS of our own, the engine does not know it
        try:
            own_page = urlsplit(origin).netloc == environ.get("HTTP_HOST")
        except ValueError:
            return False
        return own_page or self._origins.allowed(origin)

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> str | None:
        request: web.Request = environ["aiohttp.request"]
        address = address_key(request[ADDRESS])
        self._cut_evicted(self._limits.admit(eio_sid, address))
        self._connections[eio_sid] = SocketConnection(
            address,
            ReceiveQueue(
                partial(self._handle, eio_sid),
                messages_max=self._settings.max_queued_events,
                chars_max=WAITING_MESSAGES * self._settings.max_event_bytes,
            ),
        )
        engine_socket = self.eio.sockets[eio_sid]
        engine_socket.receive = partial(self._receive, engine_socket)
        engine_socket.handle_post_request = partial(self._receive_post, engine_socket)
        self.revoke(eio_sid)
        await super()._handle_eio_connect(eio_sid, environ)
        return None

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        engine_socket = self.eio.sockets.get(eio_sid)
        if engine_socket is not None and reason == self.reason.CLIENT_DISCONNECT:
            # the client's own long poll would wait for its timeout otherwise
            engine_socket.queue.put_nowait(None)
        socket = self._websockets.get(eio_sid)
        forget = partial(
            self._forget, eio_sid, reason, by_client=socket is not None and socket.closed_by_client
        )
        if engine_socket is not None and not engine_socket.upgraded:
            # a WebSocket that never took over from the long poll waits for nothing any more
            self._abort(eio_sid)
        connection = self._connections.get(eio_sid)
        if connection is None or reason == self.reason.SERVER_DISCONNECT:
            await forget()
        else:
            # what it sent before it closed still counts
            connection.queue.finish(forget)

    async def _forget(self, eio_sid: str, reason: str, *, by_client: bool) -> None:
        """Drop a connection once all that it sent is handled."""
        self._limits.remove(eio_sid)
        if connection := self._connections.pop(eio_sid, None):
            connection.queue.drop()
        if self._limiter is not None:
            self._limiter.forget(self._quota, eio_sid)
        if by_client and reason == self.reason.TRANSPORT_CLOSE:
            reason = self.reason.CLIENT_DISCONNECT
        await super()._handle_eio_disconnect(eio_sid, reason)

    # ---- what clients send ---------------------------------------------------------------------------------------

    async def _receive(self, engine_socket: Any, packet: Any) -> None:
        """Count a packet of Engine.IO and put what it carries in the connection's queue; never waits for a handler.

        Raises:
            SocketIsClosedError: Nothing more of this connection is looked at.
        """
        connection = self._connections.get(engine_socket.sid)
        if (
            connection is None
            or connection.closed_for is not None
            or engine_socket.closing
            or engine_socket.closed
        ):
            raise SocketIsClosedError()
        kind, data = packet.packet_type, packet.data
        if kind == engine_packet.PONG and engine_socket.last_ping is not None:
            engine_socket.schedule_ping()
            return
        if kind == engine_packet.CLOSE:
            await engine_socket.close(wait=False, abort=True, reason=self.reason.CLIENT_DISCONNECT)
            return
        if kind > engine_packet.NOOP:
            self._refuse(engine_socket.sid, InvalidRequestError(f"{kind} is no type of an Engine.IO packet"))
        if kind != engine_packet.MESSAGE:
            self._count(engine_socket.sid, connection)
            return
        if not isinstance(data, str) or data[:1] not in TEXT_PACKETS:
            attached = isinstance(data, bytes | bytearray) or str(data)[:1] in ("5", "6")
            self._refuse(
                engine_socket.sid, InvalidRequestError(ATTACHMENTS) if attached else not_a_packet(None)
            )
        await self._receive_message(engine_socket.sid, connection, data)

    async def _receive_message(self, eio_sid: str, connection: SocketConnection, text: str) -> None:
        if text[0] == str(CONNECT) and text[1:2] != "/" and not connection.sent_connect:
            connection.sent_connect = True
            over = None
        else:
            over = self._count(eio_sid, connection)
        if text[0] == str(ACK) or (over is not None and text[0] != str(EVENT)):
            # nothing of ours requests acknowledgements
            return
        if not presents_token(text):
            self._check_size(eio_sid, text)
        if not connection.queue.fits(text):
            if not connection.is_service:
                self._refuse(
                    eio_sid, RateLimitError("too many events wait for their handling; send them slower")
                )
            await connection.queue.room_for(text)
        connection.queue.put(Message(text, over))

    def _check_size(self, eio_sid: str, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        limit = self._settings.max_event_bytes
        if size > limit:
            self._refuse(
                eio_sid,
                PayloadTooLargeError(f"a packet of {size} bytes; the cap is max_event_bytes, {limit}"),
            )

    async def _receive_post(self, engine_socket: Any, environ: dict[str, Any]) -> None:
        """Take the packets of a long poll's POST; Engine.handle_request answers why they ended the connection."""
        request: web.Request = environ["aiohttp.request"]
        connection = self._connections.get(engine_socket.sid)
        try:
            packets = await self._read_post(environ)
            for packet in packets:
                await self._receive(engine_socket, packet)
            if not packets and connection is not None:
                self._count(engine_socket.sid, connection)
        except SocketIsClosedError:
            request[REFUSED] = InvalidStateError("this connection is closed")
        except MeeshyError as error:
            self.close_for(engine_socket.sid, error)
        except (ValueError, LookupError, EngineIOError) as error:
            self.close_for(engine_socket.sid, not_a_packet(error))
        if connection is not None and connection.closed_for is not None:
            request[REFUSED] = connection.closed_for

    async def _read_post(self, environ: dict[str, Any]) -> list[Any]:
        length, limit = int(environ.get("CONTENT_LENGTH", "0")), self.eio.max_http_buffer_size
        if length > limit:
            raise PayloadTooLargeError(f"more than {limit} bytes")
        body = await environ["wsgi.input"].read(length)
        packets: list[Any] = _EnginePayload(encoded_payload=body.decode()).packets
        return packets

    def _count(self, eio_sid: str, connection: SocketConnection) -> OverRate | None:
        """Count a packet; of those beyond the limit as many again in a row end the connection.

        Raises:
            SocketIsClosedError: They do.
        """
        if connection.is_service or self._limiter is None:
            return None
        try:
            self._limiter.take(self._quota, eio_sid, now_s=self._clock.monotonic_s())
        except RateLimitedError as error:
            self.metrics.rate_limited.labels(self._quota.name).inc()
            connection.refused += 1
            if connection.refused > self._quota.limit:
                self._refuse(eio_sid, RateLimitError("it floods packets, far beyond the limit rate_events"))
            return OverRate(error, connection.refused)
        connection.refused = 0
        return None

    def _refuse(self, eio_sid: str, error: MeeshyError) -> None:
        self.close_for(eio_sid, error)
        raise SocketIsClosedError()

    async def _handle(self, eio_sid: str, message: Message) -> None:
        connection = self._connections.get(eio_sid)
        if connection is None:
            return
        connection.over = message.over
        try:
            await self._handle_eio_message(eio_sid, message.text)
        except Exception as error:
            # a packet that is none; whoever sends such does not speak Socket.IO
            self.close_for(eio_sid, not_a_packet(error))

    async def _send_packet(self, eio_sid: str, packet: Any) -> None:
        queue = self._send_queue(eio_sid)
        if queue is not None:
            queue.put_nowait(message(packet.encode()))

    def _refuse_connect(self, eio_sid: str, namespace: str, error: MeeshyError) -> None:
        queue = self._send_queue(eio_sid)
        if queue is not None:
            body = {"message": error.message, "data": {"code": error.code, "message": error.message}}
            packet = self.packet_class(CONNECT_ERROR, data=body, namespace=namespace)
            queue.put_nowait(message(packet.encode()))

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
