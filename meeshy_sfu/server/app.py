"""The media server as a program: builds its parts, listens, and takes everything down in order.

Each part is in its own module; the supervisor above it is in cli/.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

from meeshy_sfu.clock import Clock, SystemClock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.cors import Origins
from meeshy_sfu.edge.descriptors import descriptors, media_connections
from meeshy_sfu.edge.limits import RateLimiter
from meeshy_sfu.edge.metrics_access import MetricsAccess
from meeshy_sfu.edge.middleware import edge_middleware
from meeshy_sfu.edge.process import Listener, run_until_stopped, tls_context
from meeshy_sfu.edge.routes import BoundRoute, bound_routes, register
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.service_routes import ServiceRoutes
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.errors import AddressUnavailableError, PortInUseError
from meeshy_sfu.media.certificate import load_or_create
from meeshy_sfu.media.worker import TCP_CONNECTIONS_MAX, WorkerPool, WorkerSettings
from meeshy_sfu.rooms.limits import RoomLimits
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.server.absences import Absences
from meeshy_sfu.server.audiences import Audiences
from meeshy_sfu.server.description import DESCRIPTION
from meeshy_sfu.server.expiry import Expiry
from meeshy_sfu.server.health import HealthApi
from meeshy_sfu.server.metrics import Metrics
from meeshy_sfu.server.quotas import Quotas
from meeshy_sfu.server.rest import RestApi
from meeshy_sfu.server.rest_consumers import ConsumerApi
from meeshy_sfu.server.rest_dispatch import RestDispatcher
from meeshy_sfu.server.rest_faults import FaultApi
from meeshy_sfu.server.rest_services import ServiceApi
from meeshy_sfu.server.signaling import Signaling

logger = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 0.5

OnReady = Callable[[str, Sequence[str]], None]


class MediaServer:
    """Serve calls over REST, Socket.IO and the media workers.

    Made by :meth:`start`; owns pool, rooms and sockets. Close it, or use it as an asynchronous context manager.
    """

    url: str
    """Where it is reached; with port 0 the port it was given."""

    def __init__(self, settings: Settings, pool: WorkerPool, clock: Clock) -> None:
        self.settings = settings
        self.pool = pool
        self.clock = clock
        self.url = ""
        rules = TokenRules.of(settings, signing_secret(settings))
        quotas = Quotas.of(settings)
        limiter = RateLimiter()
        origins = Origins(settings)
        sockets = SocketServer(settings, origins, clock)
        self.absences = Absences()
        self.metrics = Metrics(pool, clock)
        self.audiences = Audiences(
            sockets,
            clock,
            absences=self.absences,
            grace_s=settings.disconnect_grace_s,
            on_first_media=self.metrics.first_media.observe,
            on_layer_switch=self.metrics.layer_switches.inc,
        )
        self.rooms = RoomRegistry(
            pool,
            limits=_room_limits(settings),
            clock=clock,
            listener=self.audiences,
            padding=settings.padding,
            udp=settings.udp,
            tcp=settings.tcp,
        )
        self.metrics.show(lambda: self.rooms.rooms)
        self.expiry = Expiry(
            self.rooms, clock, grace_s=settings.token_grace_s, empty_room_s=settings.empty_room_s
        )
        self.signaling = Signaling(
            settings=settings,
            rules=rules,
            clock=clock,
            limiter=limiter,
            quotas=quotas,
            metrics=self.metrics,
            io=sockets,
            rooms=self.rooms,
            audiences=self.audiences,
            absences=self.absences,
            expiry=self.expiry,
        )
        metrics_access = MetricsAccess(settings, rules, clock)
        self.health = HealthApi(
            settings=settings, metrics_access=metrics_access, pool=pool, metrics=self.metrics
        )
        self.service_routes = ServiceRoutes(
            metrics=self.metrics, metrics_access=metrics_access, description=DESCRIPTION
        )
        self.rest = RestApi(
            settings=settings,
            pool=pool,
            rooms=self.rooms,
            clock=clock,
            metrics=self.metrics,
            on_transport=self.audiences.watch_transport,
        )
        self.consumers = ConsumerApi(rooms=self.rooms, clock=clock, metrics=self.metrics)
        self._dispatcher = RestDispatcher(
            settings=settings,
            clock=clock,
            limiter=limiter,
            metrics=self.metrics,
            rules=rules,
            quotas=quotas,
            expiry=self.expiry,
        )
        self._app = web.Application(
            middlewares=[edge_middleware(settings, origins)], client_max_size=settings.max_body_bytes
        )
        self.routes = [
            bound
            for owner in (
                self.health,
                self.service_routes,
                self.rest,
                self.consumers,
                ServiceApi(self.rooms),
                FaultApi(pool),
            )
            for bound in bound_routes(owner)
            if settings.is_development or not bound.route.development_only
        ]
        for bound in self.routes:
            register(self._app.router, bound.route, self._handler(bound))
        self._app.router.add_get("/", self._index)
        self.service_routes.described = tuple(bound.route for bound in self.routes)
        self.signaling.attach(self._app)
        self._listener = Listener(settings, self.metrics)
        self._background: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def start(cls, settings: Settings, clock: Clock | None = None) -> "MediaServer":
        """Start workers and listen.

        Raises:
            StartError: Something is in the way; the message says what and the remedy.
        """
        clock = clock or SystemClock()
        tls = tls_context(settings)
        certificate = load_or_create(settings.state_dir / "certs", clock)
        workers = settings.worker_count(len(os.sched_getaffinity(0)))
        pool = await _start_pool(
            WorkerSettings(
                certificate=certificate,
                size=workers,
                base_port=settings.rtc_min_port,
                listen=settings.media_ips,
                announced=settings.announced_ip,
                gso=settings.gso,
                window_max_us=settings.send_window_max_us,
                max_connections=min(TCP_CONNECTIONS_MAX, media_connections(descriptors(), workers)),
                allow_panic=settings.is_development,
                allow_faults=settings.is_development,
            ),
            clock,
        )
        try:
            server = cls(settings, pool, clock)
            await server._listen(tls)
        except BaseException:
            await pool.close()
            raise
        return server

    async def close(self, reason: str = "server-shutdown") -> None:
        """Notify all clients, close all rooms, then sockets, then workers. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.health.stopping = True
        try:
            if self._background is not None:
                self._background.cancel()
                await asyncio.gather(self._background, return_exceptions=True)
            self.rooms.close(reason)
            await self.signaling.close()
            await self._listener.close()
        finally:
            # also when the time for the rest has run out
            await self.pool.close()

    async def __aenter__(self) -> "MediaServer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def addresses(self) -> list[str]:
        """What clients are offered for media."""
        return [
            address
            for worker in self.pool.workers
            for address in worker.addresses
            if (self.settings.udp or not address.startswith("udp"))
            and (self.settings.tcp or not address.startswith("tcp"))
        ]

    def _handler(self, bound: BoundRoute) -> Handler:
        return self._dispatcher.wrap(bound) if bound.route.access == "token" else bound.handler

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/docs"})

    async def _listen(self, tls: ssl.SSLContext | None) -> None:
        self.url = await self._listener.open(self._app, self.settings.port, tls)
        self._background = asyncio.create_task(self._sweep(), name="sweep")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            for sweep in (self.expiry.sweep, self.signaling.sweep):
                try:
                    sweep()
                except Exception:
                    # one that fails must not be the last one
                    logger.exception("a sweep failed; it is repeated")


async def run_media_server(settings: Settings, *, on_ready: OnReady) -> None:
    """Run the media server until SIGINT or SIGTERM; a second one ends the process at once.

    Raises:
        StartError: It could not start.
    """

    def ready(server: MediaServer) -> None:
        on_ready(server.url, server.addresses)

    await run_until_stopped(lambda: MediaServer.start(settings), settings, on_ready=ready)


async def _start_pool(settings: WorkerSettings, clock: Clock) -> WorkerPool:
    try:
        return await WorkerPool.start(settings, clock=clock)
    except PortInUseError as error:
        raise PortInUseError(
            f"{error.message.partition(';')[0]}; stop what holds it (ss -lntup shows it), or set another with "
            "--rtc-min-port or MEESHY_RTC_MIN_PORT"
        ) from None
    except AddressUnavailableError as error:
        raise AddressUnavailableError(
            f"{error.message} (ip addr shows them); set others with --rtc-listen-ips, or --host"
        ) from None


def _room_limits(settings: Settings) -> RoomLimits:
    return RoomLimits(
        rooms=settings.max_rooms,
        participants_per_room=settings.max_participants_per_room,
        transports_per_room=settings.max_transports_per_room,
        producers_per_room=settings.max_producers_per_room,
        consumers_per_participant=settings.max_consumers_per_participant,
    )
