"""Routes about the gateway itself: health, readiness, figures, documentation."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from meeshy_sfu.db import schema
from meeshy_sfu.edge.metrics_access import CONTENT_TYPE, MetricsAccess
from meeshy_sfu.edge.openapi import DOCS_POLICY, docs_page
from meeshy_sfu.edge.routes import Route, handles

if TYPE_CHECKING:
    from meeshy_sfu.db.repository import Repository
    from meeshy_sfu.edge.disk_probe import DiskProbe
    from meeshy_sfu.gateway.calls.late_writes import LateWrites
    from meeshy_sfu.gateway.media.media_client import MediaServerClient
    from meeshy_sfu.gateway.media.media_events import MediaEvents
    from meeshy_sfu.gateway.metrics import Metrics

logger = logging.getLogger(__name__)


class HealthApi:
    """Answer those who watch the gateway."""

    def __init__(
        self,
        *,
        metrics_access: MetricsAccess,
        repository: Repository,
        late: LateWrites,
        probe: DiskProbe | None,
        media: MediaServerClient,
        events: MediaEvents,
        metrics: Metrics,
    ) -> None:
        self._metrics_access = metrics_access
        self._repository = repository
        self._late = late
        self._probe = probe
        self._revision = schema.head()
        self._asking: asyncio.Task[str | None] | None = None
        self._problem: str | None = None
        self._media = media
        self._events = events
        self._metrics = metrics
        self.lost = False
        """Set when another gateway holds the database."""
        self.stopping = False
        """Set while the gateway shuts down."""
        self.document: dict[str, object] = {}
        """The OpenAPI document; set once all routes are known."""
        self._document_text = ""
        """Written once: anybody may ask for it, as often as they like."""

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
        """Tell what works."""
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

    @handles(Route("GET", "/metrics", "Figures for Prometheus", "Server", access="local", raw="text/plain"))
    async def metrics(self, request: web.Request) -> web.Response:
        """Give all figures as text."""
        self._metrics_access.require(request)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @handles(Route("GET", "/openapi.json", "This document", "Server", access="open", raw="application/json"))
    async def openapi(self, request: web.Request) -> web.Response:
        """Give the OpenAPI document."""
        self._document_text = self._document_text or json.dumps(self.document)
        return web.Response(text=self._document_text, content_type="application/json")

    @handles(Route("GET", "/docs", "This document, for people", "Server", access="open", raw="text/html"))
    async def docs(self, request: web.Request) -> web.Response:
        """Give the page that shows it."""
        return web.Response(
            text=docs_page(), content_type="text/html", headers={"Content-Security-Policy": DOCS_POLICY}
        )

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
                logger.info("the database serves again")
            else:
                logger.error("the database does not serve: %s", problem)
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
