"""The gateway as a program: builds its parts, listens, and takes everything down in order.

Stopping it ends no call: media outlives the gateway, and the next one takes the calls up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from meeshy_sfu.clock import Clock, SystemClock
from meeshy_sfu.db import schema
from meeshy_sfu.db.hold import WAIT_S, DatabaseHold
from meeshy_sfu.db.repository import Repository
from meeshy_sfu.db.session import create_engine, settings_url
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.cors import Origins
from meeshy_sfu.edge.disk_probe import DiskProbe
from meeshy_sfu.edge.limits import RateLimiter
from meeshy_sfu.edge.metrics_access import MetricsAccess
from meeshy_sfu.edge.middleware import edge_middleware
from meeshy_sfu.edge.process import Listener, run_until_stopped, tls_context
from meeshy_sfu.edge.routes import BoundRoute, bound_routes, register
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.service_routes import ServiceRoutes
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.errors import ConfigError, StartError
from meeshy_sfu.gateway.calls.call_rows import CallRows
from meeshy_sfu.gateway.calls.calls import Calls
from meeshy_sfu.gateway.calls.confirmations import Confirmations
from meeshy_sfu.gateway.calls.joining import Joining
from meeshy_sfu.gateway.calls.journal import Journal
from meeshy_sfu.gateway.calls.late_writes import LateWrites
from meeshy_sfu.gateway.calls.leaving import Leaving
from meeshy_sfu.gateway.calls.relay import Relay
from meeshy_sfu.gateway.calls.supervision import Supervision
from meeshy_sfu.gateway.calls.switching import Switcher
from meeshy_sfu.gateway.calls.timeouts import Timeouts
from meeshy_sfu.gateway.health import HealthApi
from meeshy_sfu.gateway.jobs import Jobs
from meeshy_sfu.gateway.media.media_client import MediaServerClient
from meeshy_sfu.gateway.media.media_events import MediaConnections, MediaEvents
from meeshy_sfu.gateway.metrics import Metrics
from meeshy_sfu.gateway.site.pages import SitePages, read_site
from meeshy_sfu.gateway.turn.ice_servers import IceServerError, parse_server
from meeshy_sfu.gateway.wire.description import DESCRIPTION
from meeshy_sfu.gateway.wire.events import Events
from meeshy_sfu.gateway.wire.notices import Notices
from meeshy_sfu.gateway.wire.outages import database_failure
from meeshy_sfu.gateway.wire.quotas import Quotas
from meeshy_sfu.gateway.wire.rest import RestApi
from meeshy_sfu.gateway.wire.rest_dispatch import RestDispatcher
from meeshy_sfu.gateway.wire.rest_guests import GuestApi
from meeshy_sfu.gateway.wire.rest_overview import OverviewApi
from meeshy_sfu.gateway.wire.sessions import Sessions
from meeshy_sfu.lock_file import LockFile, hold_state
from meeshy_sfu.private_files import close_to_others

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler
    from sqlalchemy.ext.asyncio import AsyncEngine

    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.site.files import Site
    from meeshy_sfu.lock_file import HeldError

logger = logging.getLogger(__name__)

SWEEP_INTERVAL_S = 0.05
JOURNAL_FILE = "events/gateway.jsonl"
"""Below the state directory."""


class Gateway:
    """Serve calls over REST and Socket.IO, and move them between peer to peer and media servers.

    Made by :meth:`start`; owns database connections, sockets and jobs. Close it, or use it as an asynchronous
    context manager.
    """

    url: str
    """Where it listens; with port 0 the port the system chose."""

    def __init__(
        self, settings: Settings, engine: AsyncEngine, clock: Clock, site: Site | None = None
    ) -> None:
        self.settings = settings
        self.url = ""
        self._engine = engine
        self._hold: DatabaseHold | None = None
        self._state: LockFile | None = None
        self.on_lost: Callable[[], None] = lambda: None
        """Called when another gateway holds the database by now; this one is to end."""
        secret = signing_secret(settings)
        rules = TokenRules.of(settings, secret)
        quotas, limiter, origins = Quotas.of(settings), RateLimiter(), Origins(settings)
        self.jobs = Jobs()
        self.journal = Journal(
            clock,
            settings.state_dir / JOURNAL_FILE if settings.log_to_file else None,
            max_bytes=settings.log_max_bytes,
            keep=settings.log_keep,
        )
        self.late = LateWrites(self.jobs)
        self.metrics = Metrics()
        self.repository = Repository(engine, settle=self.late.settle, on_done=self.metrics.queried)
        self.rows = CallRows(self.repository, self.late, clock)
        self.media = MediaServerClient(settings.media_urls, secret=secret, clock=clock)
        self.media_events = MediaEvents(self.media, self.jobs)
        sockets = SocketServer(settings, origins, clock)
        sessions = Sessions(sockets)
        self.notices = notices = Notices(settings, secret, clock, sessions)
        self.switcher = Switcher(
            settings=settings,
            clock=clock,
            rows=self.rows,
            media=self.media,
            events=self.media_events,
            notices=notices,
            journal=self.journal,
            metrics=self.metrics,
            jobs=self.jobs,
        )
        self.calls = Calls(clock=clock, rows=self.rows, notices=notices, detach=sessions.detach)
        self.joining = Joining(
            settings=settings,
            clock=clock,
            rows=self.rows,
            calls=self.calls,
            switcher=self.switcher,
            notices=notices,
            journal=self.journal,
            metrics=self.metrics,
        )
        self.leaving = Leaving(
            clock=clock,
            rows=self.rows,
            calls=self.calls,
            switcher=self.switcher,
            notices=notices,
            journal=self.journal,
            metrics=self.metrics,
        )
        self.timeouts = Timeouts(
            settings=settings,
            clock=clock,
            calls=self.calls,
            leaving=self.leaving,
            switcher=self.switcher,
            notices=notices,
            jobs=self.jobs,
        )
        self.metrics.show(self.calls.live, self.media.condemned)
        self.confirmations = Confirmations(
            clock=clock,
            rows=self.rows,
            calls=self.calls,
            switcher=self.switcher,
            notices=notices,
            journal=self.journal,
            metrics=self.metrics,
        )
        self.events = Events(
            settings=settings,
            rules=rules,
            clock=clock,
            limiter=limiter,
            quotas=quotas,
            metrics=self.metrics,
            io=sockets,
            sessions=sessions,
            joining=self.joining,
            leaving=self.leaving,
            timeouts=self.timeouts,
            confirmations=self.confirmations,
            relay=Relay(settings=settings, rows=self.rows, calls=self.calls, notices=notices),
        )
        self.supervision = Supervision(
            settings=settings,
            clock=clock,
            repository=self.repository,
            calls=self.calls,
            leaving=self.leaving,
            media=self.media,
            events=self.media_events,
            notices=notices,
            switcher=self.switcher,
            journal=self.journal,
            jobs=self.jobs,
        )
        self._connections = MediaConnections(
            self.media_events,
            media=self.media,
            clock=clock,
            jobs=self.jobs,
            down_s=settings.media_down_s,
            listener=self.supervision,
        )
        self.health = HealthApi(
            repository=self.repository,
            late=self.late,
            probe=DiskProbe(settings.state_dir, "gateway") if settings.log_to_file else None,
            media=self.media,
            events=self.media_events,
        )
        self.service_routes = ServiceRoutes(
            metrics=self.metrics,
            metrics_access=MetricsAccess(settings, rules, clock),
            description=DESCRIPTION,
        )
        rest = RestApi(
            calls=self.calls,
            joining=self.joining,
            leaving=self.leaving,
            confirmations=self.confirmations,
            rows=self.rows,
            repository=self.repository,
            notices=notices,
        )
        self._dispatcher = RestDispatcher(
            settings=settings,
            clock=clock,
            limiter=limiter,
            metrics=self.metrics,
            translate=database_failure,
            rules=rules,
            quotas=quotas,
        )
        self._app = web.Application(
            middlewares=[edge_middleware(settings, origins)], client_max_size=settings.max_body_bytes
        )
        overview, guests = OverviewApi(self.calls), GuestApi(settings, rules, clock)
        self.routes = [
            bound
            for owner in (self.health, self.service_routes, rest, overview, guests)
            for bound in bound_routes(owner)
        ]
        for bound in self.routes:
            register(self._app.router, bound.route, self._handler(bound))
        self.pages = SitePages(
            settings,
            site=site,
            clock=clock,
            limiter=limiter,
            quota=quotas.page,
            metrics=self.metrics,
        )
        self.pages.register(self._app.router)
        self.service_routes.described = tuple(bound.route for bound in self.routes)
        self.events.attach(self._app)
        self._listener = Listener(settings, self.metrics)

    @classmethod
    async def start(cls, settings: Settings, clock: Clock | None = None) -> Gateway:
        """Upgrade the database, restore its calls, and listen.

        Raises:
            StartError: Something is in the way; the message says what and the remedy.
        """
        clock = clock or SystemClock()
        if not settings.media_server_urls and settings.port == 0:
            raise ConfigError("with port 0 the media server's URL is not known; set MEDIA_SERVER_URL")
        try:
            for entry in settings.turn_servers:
                parse_server(entry)
        except IceServerError as error:
            raise ConfigError(f"turn_servers: {error}") from error
        tls, site = tls_context(settings), read_site(settings)
        close_to_others(settings.state_dir)
        engine = create_engine(settings_url(settings))
        gateway: Gateway | None = None
        try:
            gateway = cls(settings, engine, clock, site)
            await gateway._begin(tls)
        except BaseException as error:
            if gateway is not None:
                await gateway.close()
            await engine.dispose()
            if isinstance(error, (SQLAlchemyError, OSError)):
                reason = str(getattr(error, "orig", None) or error)
                raise StartError(f"the database cannot be used: {reason}; check database_url") from error
            raise
        return gateway

    async def _begin(self, tls: ssl.SSLContext | None) -> None:
        # before anything is done to tables and calls: a second gateway started by mistake must end here
        self._listener.reserve(self.settings.gateway_port, setting="gateway_port")
        self._state = hold_state(self.settings.state_dir, "gateway")
        self._hold = await DatabaseHold.take(self._engine, wait_s=WAIT_S)
        before, after = await schema.upgrade(self._engine)
        if before != after:
            logger.info("database upgraded from %s to %s", before or "empty", after)
        self.journal.write_behind()
        self.jobs.start(self._hold.watch(self._lose_database), "hold of the database")
        self.media.owner = await self.repository.identity()
        found = await self.supervision.restore()
        if found:
            logger.info("%d calls restored", found)
        self._connections.start()
        self.jobs.start(self._sweep(), "sweep")
        self.url = await self._listener.open(self._app, self.settings.gateway_port, tls)

    async def close(self) -> None:
        """Close sockets and connections; calls, rooms and rows stay as they are. Idempotent."""
        self.health.stopping = True
        # first: a media server that ends with us is no reason to move calls elsewhere
        await self.jobs.close()
        await self.events.close()
        await self._listener.close()
        # no request or event is handled any more that would have to be written
        await self.late.close()
        await self.media.close()
        await self.repository.close()
        if self._hold is not None:
            await self._hold.release()
        await self._engine.dispose()
        self.journal.close()
        if self._state is not None:
            self._state.close()

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _lose_database(self, error: HeldError) -> None:
        logger.error("%s; this gateway ends", error.message)
        self.health.lost = True
        self.on_lost()

    def _handler(self, bound: BoundRoute) -> Handler:
        is_checked = bound.route.access in ("token", "overseer", "counted")
        return self._dispatcher.wrap(bound) if is_checked else bound.handler

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                self.timeouts.sweep()
                self.switcher.removal.try_due()
                self.supervision.sweep()
                self.events.sweep()
            except Exception:
                logger.exception("sweep failed")


async def run_gateway(settings: Settings, *, on_ready: Callable[[str], None]) -> None:
    """Run the gateway until SIGINT or SIGTERM; a second one ends the process at once.

    Raises:
        StartError: It could not start.
    """

    def ready(gateway: Gateway) -> None:
        gateway.on_lost = lambda: os.kill(os.getpid(), signal.SIGTERM)
        on_ready(gateway.url)

    await run_until_stopped(lambda: Gateway.start(settings), settings, on_ready=ready)
