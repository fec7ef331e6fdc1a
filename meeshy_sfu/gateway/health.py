"""Routes about the gateway itself: health and readiness.

Metrics and documentation, which every service has, are in edge/service_routes.py.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from meeshy_sfu.db import schema
from meeshy_sfu.edge.routes import Route, handles

if TYPE_CHECKING:
    from meeshy_sfu.db.repository import Repository
    from meeshy_sfu.edge.disk_probe import DiskProbe
    from meeshy_sfu.gateway.calls.late_writes import LateWrites
    from meeshy_sfu.gateway.media.media_client import MediaServerClient
    from meeshy_sfu.gateway.media.media_events import MediaEvents

logger = logging.getLogger(__name__)


class HealthApi:
    """Answer monitoring and load balancers."""

    def __init__(
        self,
        *,
        repository: Repository,
        late: LateWrites,
        probe: DiskProbe | None,
        media: MediaServerClient,
        events: MediaEvents,
    ) -> None:
        self._repository = repository
        self._late = late
        self._probe = probe
        self._revision = schema.head()
        self._asking: asyncio.Task[str | None] | None = None
        self._problem: str | None = None
        self._media = media
        self._events = events
        self.lost = False
        """Set when another gateway holds the database."""
        self.stopping = False
        """Set while the gateway shuts down."""

    @handles(
        Route(
            "GET",
            "/health",
            "Whether the gateway lives and can write to its database and disk; 503 if not",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def health(self, request: web.Request) -> web.Response:
        """Check the database and the disk by writing to them."""
        database, disk = await asyncio.gather(self._database(), self._disk())
        well = database and disk
        body = {
            "status": _word(well),
            "checks": {"database": _word(database), "disk": _word(disk), "socketio": "ok"},
        }
        return web.json_response(body, status=200 if well else 503)

    @handles(
        Route(
            "GET",
            "/ready",
            "Whether calls can be begun; 503 while it shuts down. Without a media server calls of two still work",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def ready(self, request: web.Request) -> web.Response:
        """Report what works."""
        connected = self._events.connected()
        states = self._media.states()
        database = await self._database()
        ready = database and not self.stopping
        status = "stopping" if self.stopping else "ok" if all(connected.values()) else "degraded"
        body = {
            "status": status if database else "failing",
            "database": "ok" if database else "failing",
            "mediaServers": [
                {"url": url, "events": connected[url], "requests": state.value}
                for url, state in states.items()
            ],
        }
        return web.json_response(body, status=200 if ready else 503)

    async def _disk(self) -> bool:
        return self._probe is None or await self._probe.serves()

    async def _database(self) -> bool:
        """Write to the database; those who ask at the same time share one try."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="database probe")
        problem = await asyncio.shield(self._asking)
        if problem != self._problem:
            self._problem = problem
            if problem is None:
                logger.info("the database accepts writes again")
            else:
                logger.error("the database does not accept writes: %s", problem)
        return problem is None

    async def _ask(self) -> str | None:
        if self.lost:
            return "another gateway holds it"
        if self._late.failing:
            return "it refused what happened in calls"
        try:
            return await self._repository.probe(self._revision)
        except SQLAlchemyError as error:
            return str(getattr(error, "orig", None) or error)


def _word(well: bool) -> str:
    return "ok" if well else "failing"
