"""The transports of Engine.IO, long polling and WebSocket, with the limits that the library lacks.

Overrides what python-engineio and aiohttp do with a request, a body and a control frame. What packets mean is in
socketio_server.py.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import engineio
from aiohttp import ClientError, StreamReader, WSMessage, WSMsgType, web
from engineio.async_drivers import aiohttp as engine_driver
from engineio.exceptions import EngineIOError

from meeshy_sfu.edge.envelope import failure
from meeshy_sfu.edge.json_body import BODY_TIMEOUT_S
from meeshy_sfu.errors import HeadersTooLargeError, MeeshyError, RateLimitError

SOCKET_HEAD_BYTES = 16_384
"""All headers of a request of the transport: they are kept as long as the connection, and hold no token."""
REFUSED = web.RequestKey("refused", MeeshyError)
"""Under this key a request holds why its packets ended the connection."""
FLOOD_GOODBYE_S = 0.05
"""How long the close frame of a client that floods is waited for."""
POLICY_VIOLATION = 1008
"""Code of a WebSocket closed because of what its client sent (RFC 6455 §7.4.1)."""
CLOSE_REASON_BYTES = 123
CONTROL_FRAMES = (WSMsgType.PING, WSMsgType.PONG)
CLEAN_CLOSES = (1000, 1001)
"""Codes of a WebSocket closed on purpose, and of a page that is left (RFC 6455 §7.4.1)."""
_EngineWebSocket: Any = engine_driver.WebSocket
_EngineServer: Any = engineio.AsyncServer
# neither has types; as Any their use is at least not noise


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


class CountedWebSocket(web.WebSocketResponse):
    """A WebSocket that counts pings and pongs, and knows whether its client closed it by a frame of its own.

    The close code does not show it: aiohttp counts the bare end of a connection, as the kernel sends it for a process that
    was killed, as 1000 too.
    """

    closed_by_client = False

    def __init__(self, count: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._count_control_frame = count

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """Return the next message, with pings answered and control frames counted."""
        message = await super().receive(timeout)
        while message.type in CONTROL_FRAMES:
            self._count_control_frame()
            if message.type is WSMsgType.PING:
                await self.pong(message.data)
            message = await super().receive(timeout)
        if message.type is WSMsgType.CLOSE and message.data in CLEAN_CLOSES:
            self.closed_by_client = True
        return message


class EngineWebSocket(_EngineWebSocket):  # type: ignore[misc]
    """The engine's WebSocket, without compression, with counted control frames and a close frame that says why."""

    closed_for: MeeshyError | None = None
    """Why it is being closed, if because of what it sent."""

    async def serve(self, environ: dict[str, Any], count_control_frame: Callable[[], None]) -> Any:
        """Carry packets until it ends."""
        # without permessage-deflate, by which a few bytes from a client stand for very many
        limit = self.server.max_http_buffer_size
        self._sock = CountedWebSocket(count_control_frame, max_msg_size=limit, compress=False, autoping=False)
        self.environ = environ
        try:
            await self._sock.prepare(environ["aiohttp.request"])
        except ValueError as error:
            # aiohttp lets through what base64 raises on a key that is not ASCII
            raise web.HTTPBadRequest from error
        await self.handler(self)
        return self._sock

    async def close(self) -> None:
        """Close it, with the reason."""
        if self.closed_for is None or self._sock is None:
            await super().close()
            return
        reason = self.closed_for.message.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore")
        if isinstance(self.closed_for, RateLimitError):
            # until it answers the close frame, the rest of its flood would be parsed
            self._sock._timeout = FLOOD_GOODBYE_S
        await self._sock.close(code=POLICY_VIOLATION, message=reason.encode())

    @property
    def request(self) -> web.Request | None:
        """The request that became this WebSocket; None before its handshake."""
        request: web.Request | None = None if self._sock is None else self.environ["aiohttp.request"]
        return request

    @property
    def closed_by_client(self) -> bool:
        """Whether the client sent a close frame; a connection that broke has none."""
        return self._sock is not None and self._sock.closed_by_client

    def abort(self) -> None:
        """Break off the connection below."""
        environ = getattr(self, "environ", None)
        if environ is not None and environ["aiohttp.request"].transport is not None:
            environ["aiohttp.request"].transport.abort()
