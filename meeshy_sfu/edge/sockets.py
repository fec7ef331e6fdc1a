"""The Socket.IO server, hardened: caps on connections, sizes, depth and queues; nobody stays without a token.

Carries events; what they mean is known to signaling.py. Overrides a few inner methods of python-socketio, whose
version is pinned below the next major one for that reason; tests/integration/server covers each.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import socketio
from aiohttp import ClientError, StreamReader, web
from engineio import packet as engine_packet
from engineio.async_drivers import aiohttp as engine_driver
from engineio.exceptions import EngineIOError
from socketio.packet import EVENT

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.border import ADDRESS, BODY_TIMEOUT_S, Origins, json_bytes, strict_json
from meeshy_sfu.edge.figures import EdgeFigures
from meeshy_sfu.edge.limits import address_key, check_json_depth
from meeshy_sfu.edge.tokens import MAX_TOKEN_CHARS
from meeshy_sfu.errors import InvalidRequestError, MeeshyError

logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
"""Who has not presented a token by then is cut off."""
PING_INTERVAL_S = 15
PING_TIMEOUT_S = 10
CLOSE_TIMEOUT_S = 1.0
TOKEN_PACKET_BYTES = MAX_TOKEN_CHARS + 1024
"""Size of a packet that presents the longest token; whatever else is larger than max_event_bytes is refused."""
_TOKEN_PACKET = re.compile(r'0|2\d*\[\s*"(?:authenticate|refresh-token)"')
GOODBYES = (1000, 1001)
"""Codes of a WebSocket closed on purpose, and of a page that is left (RFC 6455 §7.4.1)."""


RESERVED_EVENTS = frozenset(("connect", "disconnect", "*"))


class LimitedJson:
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
_translate_request: Any = engine_driver.translate_request
# all these have no types; as Any their use is at least not noise


class PlainPacket(_SocketPacket):  # type: ignore[misc]
    """A packet of Socket.IO whose data is JSON alone, so that nothing is searched for bytes before it is sent.

    The search took thirty times as long as writing the answer of somebody who joins fifty people. Attachments from
    clients are read as ever.
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


class SocketServer(_AsyncServer):  # type: ignore[misc]
    """Accept sockets within the caps and send to them without ever waiting for one.

    Each socket has a queue of its own; a client that lets it grow beyond max_queued_events is cut off.
    """

    figures: EdgeFigures
    """Set before the first socket."""

    def __init__(self, settings: Settings, origins: Origins, clock: Clock) -> None:
        # what the engine writes quotes what clients sent; what matters is logged here
        quiet = logging.Logger("engineio", level=logging.CRITICAL + 1)
        super().__init__(
            async_mode="aiohttp",
            # one event at a time per socket: order is kept, and a flood only slows its own sender
            async_handlers=False,
            cors_allowed_origins=self._allows,
            serializer=PlainPacket,
            json=LimitedJson(settings.max_json_depth),
            logger=quiet,
            engineio_logger=quiet,
            max_http_buffer_size=max(settings.max_event_bytes, TOKEN_PACKET_BYTES),
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
        )
        server = self

        class KnownWebSocket(_EngineWebSocket):  # type: ignore[misc]
            async def __call__(self, environ: dict[str, Any]) -> Any:
                return await server.carry(self._serve, self, environ)

            async def _serve(self, environ: dict[str, Any]) -> Any:
                # without permessage-deflate, by which a few bytes from a client stand for very many
                limit = self.server.max_http_buffer_size
                self._sock = web.WebSocketResponse(max_msg_size=limit, compress=False)
                await self._sock.prepare(environ["aiohttp.request"])
                self.environ = environ
                await self.handler(self)
                return self._sock

        self.eio._async = {
            **self.eio._async,
            "websocket": KnownWebSocket,
            "translate_request": self._translate_request,
        }
        self._settings = settings
        self._origins = origins
        self._clock = clock
        self._by_address: dict[str, set[str]] = {}
        self._address: dict[str, str] = {}
        self._nameless: dict[str, float] = {}
        self._websockets: dict[str, Any] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._cutting: set[asyncio.Task[None]] = set()

    def _translate_request(self, request: web.Request) -> dict[str, Any]:
        environ: dict[str, Any] = _translate_request(request)
        environ["wsgi.input"] = WholeBody(request.content)
        if request.content_length is None and request.can_read_body:
            # a body without a length is as long as it turns out to be, up to the limit
            environ["CONTENT_LENGTH"] = str(self.eio.max_http_buffer_size)
        return environ

    def deliver(self, sids: Iterable[str], event: str, payload: dict[str, object]) -> None:
        """Queue an event for some sockets; encoded once, never waits."""
        packet: object = None
        for sid in sids:
            eio_sid = self.manager.eio_sid_from_sid(sid, "/")
            connection = self.eio.sockets.get(eio_sid)
            if connection is None or connection.closed or connection.closing:
                continue
            if connection.queue.qsize() >= self._settings.max_queued_events:
                self.figures.slow_clients.inc()
                logger.warning(
                    "address=%s is cut off: it does not take its events", self._address.get(eio_sid)
                )
                self.cut(eio_sid)
                continue
            if packet is None:
                encoded = self.packet_class(EVENT, namespace="/", data=[event, payload]).encode()
                packet = _EnginePacket(engine_packet.MESSAGE, encoded)
            connection.queue.put_nowait(packet)

    def named(self, eio_sid: str) -> None:
        """Take note that a connection has presented a good token."""
        self._nameless.pop(eio_sid, None)

    def nameless(self, eio_sid: str) -> None:
        """Take note that a connection has no token (any more); it is given a little time to present one."""
        if eio_sid in self._address:
            self._nameless[eio_sid] = self._clock.monotonic_s()

    def sweep(self) -> None:
        """Cut off who has not presented a token in time."""
        now_s = self._clock.monotonic_s()
        late = [sid for sid, since_s in self._nameless.items() if now_s - since_s >= HANDSHAKE_TIMEOUT_S]
        for eio_sid in late:
            del self._nameless[eio_sid]
            self.cut(eio_sid)

    def cut(self, eio_sid: str) -> None:
        """Close a connection soon, without waiting for its client."""
        task = asyncio.ensure_future(self._close_connection(eio_sid))
        self._cutting.add(task)
        task.add_done_callback(self._cutting.discard)

    async def carry(self, run: Callable[[Any], Awaitable[Any]], socket: Any, environ: dict[str, Any]) -> Any:
        """Serve one WebSocket to its end, whatever its client sends; for the engine.

        Knows the connection below it meanwhile, because only that can be closed against a client's will.
        """
        eio_sid = socket.handler.__self__.sid
        self._websockets[eio_sid] = socket
        ended = self._ended[eio_sid] = asyncio.Event()
        try:
            return await run(environ)
        except (web.HTTPException, UnicodeError):
            # no WebSocket handshake, or one that aiohttp fails to quote; the request is refused as any other
            self.cut(eio_sid)
            raise InvalidRequestError("the WebSocket handshake is malformed (RFC 6455 §4.2.1)") from None
        except Exception as error:
            # what is no Engine.IO packet ends in the engine's face
            logger.info("address=%s is cut off: %s", self._address.get(eio_sid), repr(error)[:200])
            await self.eio.disconnect(eio_sid)
            await socket.close()
            return socket._sock
        finally:
            self._websockets.pop(eio_sid, None)
            self._ended.pop(eio_sid, None)
            ended.set()

    def said_goodbye(self, eio_sid: str) -> bool:
        """Tell whether the client closed its WebSocket itself; a connection that breaks off says nothing."""
        socket = self._websockets.get(eio_sid)
        return socket is not None and socket._sock is not None and socket._sock.close_code in GOODBYES

    async def close_all(self) -> None:
        """Close every connection, giving clients a moment to take what is queued."""
        await asyncio.gather(*(self._close_connection(eio_sid) for eio_sid in tuple(self.eio.sockets)))
        await self.shutdown()

    async def _close_connection(self, eio_sid: str) -> None:
        connection = self.eio.sockets.get(eio_sid)
        if connection is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.eio.disconnect(eio_sid)
                # ends the writer, which then says goodbye
                connection.queue.put_nowait(None)
                if eio_sid in self._ended:
                    await self._ended[eio_sid].wait()
        except TimeoutError:
            socket = self._websockets.get(eio_sid)
            environ = getattr(socket, "environ", None)
            if environ is not None and environ["aiohttp.request"].transport is not None:
                environ["aiohttp.request"].transport.abort()
            self.eio.sockets.pop(eio_sid, None)

    def _allows(self, origin: str, environ: dict[str, Any]) -> bool:
        # the scheme is left out: behind a proxy, or with TLS of our own, the engine does not know it
        try:
            own_page = urlsplit(origin).netloc == environ.get("HTTP_HOST")
        except ValueError:
            return False
        return own_page or self._origins.allowed(origin)

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> str | None:
        request: web.Request = environ["aiohttp.request"]
        key = address_key(request[ADDRESS])
        known = self._by_address.setdefault(key, set())
        limit = self._settings.max_connections_per_address
        if len(known) >= limit:
            return f"more than {limit} connections from {key}; the cap is max_connections_per_address"
        known.add(eio_sid)
        self._address[eio_sid] = key
        self.nameless(eio_sid)
        await super()._handle_eio_connect(eio_sid, environ)
        return None

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        key = self._address.pop(eio_sid, None)
        if key is not None:
            known = self._by_address.get(key, set())
            known.discard(eio_sid)
            if not known:
                self._by_address.pop(key, None)
        self._nameless.pop(eio_sid, None)
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None and reason == self.reason.CLIENT_DISCONNECT:
            # the client's own long poll would wait for its timeout otherwise
            connection.queue.put_nowait(None)
        await super()._handle_eio_disconnect(eio_sid, reason)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: object) -> None:
        name = data[0] if isinstance(data, list) and data else None
        if not isinstance(name, str) or name in RESERVED_EVENTS:
            # python-socketio would take such an event for the connection's own
            raise ValueError(f"{str(name)[:50]!r} is no name of an event")
        await super()._handle_event(eio_sid, namespace, id, data)

    async def _handle_eio_message(self, eio_sid: str, data: object) -> None:
        try:
            self._check_size(data)
            await super()._handle_eio_message(eio_sid, data)
        except Exception as error:
            # a packet that is none; whoever sends such does not speak Socket.IO
            logger.info("address=%s is cut off: %s", self._address.get(eio_sid), str(error)[:200])
            self.cut(eio_sid)

    def _check_size(self, data: object) -> None:
        if isinstance(data, str) and not _TOKEN_PACKET.match(data):
            size = len(data) if data.isascii() else len(data.encode("utf-8", "surrogatepass"))
            if size > self._settings.max_event_bytes:
                raise ValueError(f"a packet of {size} bytes; the cap is max_event_bytes")
