"""Accepts connections, and closes those that are late and those for which there is no room.

Which one is closed for lack of room is decided in connection_limits.py, what is late in deadlines.py; HTTP on a connection is
in http_protocol.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

from meeshy_sfu.edge.connection_limits import ConnectionLimits, Credential
from meeshy_sfu.edge.deadlines import LIMITS_S, Progress, Stage
from meeshy_sfu.edge.descriptors import descriptors, http_connections
from meeshy_sfu.edge.http_protocol import Protocol
from meeshy_sfu.edge.limits import ForwardedFor, address_key

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Sequence

    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.metrics import EdgeMetrics

SWEEP_INTERVAL_S = 0.5
ACCEPTED_AT_ONCE = 16
"""Connections that are taken before anything else gets its turn."""
QUIET_S = 10.0
"""How often it is logged at most that the system refuses connections."""
CROWDED = "crowded"
"""Why a connection was closed, beside the stages of deadlines.py."""

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """One connection, from before its TLS handshake to its end."""

    __slots__ = ("_acceptor", "_head_begun", "_wire", "opening", "progress", "raw")

    def __init__(self, acceptor: Acceptor, raw: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._acceptor = acceptor
        self._wire: asyncio.Transport | None = None
        self._head_begun = False
        self.raw = raw
        self.opening: asyncio.Task[None] | None = None
        self.progress = Progress(self._loop.time())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, after the TLS handshake if there is one."""
        # aiohttp forgets it when it closes; what does not close has to be aborted
        self._wire = transport  # type: ignore[assignment]
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._acceptor.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and note whether a request has begun."""
        before = self._request_count
        super().data_received(data)
        self._head_begun = self._request_count == before and (self._head_begun or self._is_waiting)

    @property
    def stage(self) -> Stage:
        """What it is at."""
        if self._wire is not None and self._wire.is_closing():
            return Stage.CLOSING
        if self._request_count == 0:
            return Stage.FIRST_HEAD
        if self._is_waiting:
            return Stage.HEAD if self._head_begun else Stage.IDLE
        if self._payload_parser is not None:
            # a WebSocket, which the engine watches
            return Stage.BUSY
        if self.writing_paused:
            return Stage.STALLED
        request = self._current_request
        return Stage.BODY if request is not None and not request.content.is_eof() else Stage.BUSY

    @property
    def requests(self) -> int:
        """How many it has come to; those that wait behind one that is answered make it no younger."""
        return self._request_count - len(self._messages)

    @property
    def _is_waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def authenticate(self, credential: Credential, owner: str, *, is_service: bool = False) -> bool:
        """Note its credential and owner; false when there is no room for one more live socket."""
        return self._acceptor.authenticate(self, credential, owner, is_service=is_service)

    def revoke(self) -> None:
        """Revoke its credential."""
        self._acceptor.limits.revoke(self)

    def cut(self) -> None:
        """End it now, whatever its peer does."""
        if self._wire is not None:
            self.force_close()
            self._wire.abort()
            return
        # in its TLS handshake
        with contextlib.suppress(OSError):
            self.raw.shutdown(socket.SHUT_RDWR)
        if self.opening is not None:
            self.opening.cancel()


class Acceptor:
    """All connections of a service's port."""

    def __init__(self, settings: Settings, metrics: EdgeMetrics) -> None:
        self._forwarded = ForwardedFor(settings.trusted_proxies)
        self._metrics = metrics
        limit = http_connections(settings.max_connections, descriptors())
        self.limits: ConnectionLimits[Connection] = ConnectionLimits(
            limit, settings.max_connections_per_address
        )
        self._here: set[Connection] = set()
        self._server: web.Server
        self._tls: ssl.SSLContext | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._quiet_until_s = 0.0

    def start(self, server: web.Server, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        """Accept connections on these sockets."""
        self._server, self._tls = server, tls
        for one in sockets:
            one.setblocking(False)
            self._tasks.append(asyncio.create_task(self._accept(one), name="accept"))
        self._tasks.append(asyncio.create_task(self._sweep(), name="late-connections"))

    async def close(self) -> None:
        """Accept no more connections. Idempotent."""
        openings = [one.opening for one in self._here if one.opening is not None]
        tasks, self._tasks = [*self._tasks, *openings], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def authenticate(
        self, connection: Connection, credential: Credential, owner: str, *, is_service: bool
    ) -> bool:
        """Note the credential of a connection; false when there is no room for one more live socket."""
        closed = self.limits.authenticate(connection, credential, owner, is_service=is_service)
        self._close(closed or (), CROWDED)
        return closed is not None

    def left(self, connection: Connection) -> None:
        """Forget a connection. Idempotent."""
        self.limits.remove(connection)
        self._here.discard(connection)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for _ in range(ACCEPTED_AT_ONCE):
                try:
                    raw, peer = await loop.sock_accept(listening)
                except OSError as error:
                    await self._on_refusal(error)
                else:
                    try:
                        self._admit(raw, str(peer[0]) if peer else "unknown")
                    except Exception:
                        # whatever is wrong with one, the next is taken
                        logger.exception("a connection could not be taken")
                        raw.close()
            await asyncio.sleep(0)

    async def _on_refusal(self, error: OSError) -> None:
        """Go on when the system refuses a connection, as it does when descriptors or memory are short."""
        evicted = self.limits.evict_unauthenticated()
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + QUIET_S
            logger.warning("connections cannot be taken: %s", error.strerror or error)
        if evicted is not None:
            self._close([evicted], CROWDED)
        await asyncio.sleep(0.01 if evicted is not None else SWEEP_INTERVAL_S)

    def _admit(self, raw: socket.socket, address: str) -> None:
        options: dict[str, Any] = self._server._kwargs
        connection = Connection(self, raw, self._server, loop=asyncio.get_running_loop(), **options)
        self._here.add(connection)
        is_proxy = self._forwarded.is_trusted(address)
        self._close(self.limits.admit(connection, address_key(address), is_proxy=is_proxy), CROWDED)
        connection.opening = asyncio.create_task(self._open(connection), name="open-connection")

    async def _open(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        limit_s = LIMITS_S[Stage.FIRST_HEAD] if self._tls else None
        try:
            await loop.connect_accepted_socket(
                lambda: connection, connection.raw, ssl=self._tls, ssl_handshake_timeout=limit_s
            )
        except OSError:  # also of TLS, and of time
            self.left(connection)
            connection.raw.close()
        except asyncio.CancelledError:
            self.left(connection)
            connection.raw.close()
            raise
        finally:
            connection.opening = None

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            now_s = loop.time()
            try:
                self._close_late(now_s)
            except Exception:
                # one that fails must not be the last one
                logger.exception("a sweep of connections failed; it is repeated")

    def _close_late(self, now_s: float) -> None:
        for one in tuple(self._here):
            stage = one.stage
            if one.progress.is_late(stage, one.requests, now_s):
                self._close([one], stage)

    def _close(self, connections: Iterable[Connection], reason: str) -> None:
        for one in connections:
            self._metrics.closed_early.labels(reason).inc()
            one.cut()


def authenticate(
    request: web.BaseRequest, credential: Credential, owner: str, *, is_service: bool = False
) -> bool:
    """Note a credential on the connection of a request; false when there is no room for a live socket."""
    connection = request.protocol
    return not isinstance(connection, Connection) or connection.authenticate(
        credential, owner, is_service=is_service
    )


def revoke(request: web.BaseRequest) -> None:
    """Revoke the credential of the connection of a request."""
    if isinstance(request.protocol, Connection):
        request.protocol.revoke()
