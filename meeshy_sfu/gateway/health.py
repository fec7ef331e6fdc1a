"""Routes about the gateway itself: health, readiness, figures, documentation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from meeshy_sfu.edge.openapi import DOCS_POLICY, docs_page
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.edge.watchers import CONTENT_TYPE, Watchers

if TYPE_CHECKING:
    from meeshy_sfu.db.repository import Repository
    from meeshy_sfu.gateway.late_writes import LateWrites
    from meeshy_sfu.gateway.media_client import MediaServerClient
    from meeshy_sfu.gateway.media_events import MediaEvents
    from meeshy_sfu.gateway.metrics import Metrics


class HealthApi:
    """Answer those who watch the gateway."""

    def __init__(
        self,
        *,
        watchers: Watchers,
        repository: Repository,
        late: LateWrites,
        media: MediaServerClient,
        events: MediaEvents,
        metrics: Metrics,
    ) -> None:
        self._watchers = watchers
        self._repository = repository
        self._late = late
        self._media = media
        self._events = events
        self._metrics = metrics
        self.stopping = False
        """Set while the gateway shuts down."""
        self.document: dict[str, object] = {}
        """The OpenAPI document; set once all routes are known."""

    @handles(
        Route(
            "GET",
            "/health",
            "Whether the gateway and its database live; 503 if not",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def health(self, request: web.Request) -> web.Response:
        """Check the database."""
        database = await self._database()
        body = {
            "status": "ok" if database else "failing",
            "checks": {"database": "ok" if database else "failing", "socketio": "ok"},
        }
        return web.json_response(body, status=200 if database else 503)

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
        self._watchers.require(request)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @handles(Route("GET", "/openapi.json", "This document", "Server", access="open", raw="application/json"))
    async def openapi(self, request: web.Request) -> web.Response:
        """Give the OpenAPI document."""
        return web.Response(text=json.dumps(self.document), content_type="application/json")

    @handles(Route("GET", "/docs", "This document, for people", "Server", access="open", raw="text/html"))
    async def docs(self, request: web.Request) -> web.Response:
        """Give the page that shows it."""
        return web.Response(
            text=docs_page(), content_type="text/html", headers={"Content-Security-Policy": DOCS_POLICY}
        )

    async def _database(self) -> bool:
        if self._late.failing:
            # it may answer questions, but does not take what happens
            return False
        try:
            await self._repository.probe()
        except SQLAlchemyError:
            return False
        return True
