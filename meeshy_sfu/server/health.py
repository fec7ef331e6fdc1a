"""Routes about the server itself: health, readiness, figures, documentation.

What they show comes from metrics.py, openapi.py and the worker pool.
"""

import json

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.disk_probe import DiskProbe
from meeshy_sfu.edge.metrics_access import CONTENT_TYPE, MetricsAccess
from meeshy_sfu.edge.middleware import success
from meeshy_sfu.edge.openapi import DOCS_POLICY, docs_page, openapi_document
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.server.description import DESCRIPTION
from meeshy_sfu.server.metrics import Metrics


class HealthApi:
    """Answer those who watch the server."""

    def __init__(
        self, *, settings: Settings, rules: TokenRules, clock: Clock, pool: WorkerPool, metrics: Metrics
    ) -> None:
        self._metrics_access = MetricsAccess(settings, rules, clock)
        self._pool = pool
        self._metrics = metrics
        self._probe = DiskProbe(settings.state_dir, "media") if settings.log_to_file else None
        self.stopping = False
        """Set while the server shuts down, so that nobody sends it calls any more."""
        self.routes: tuple[Route, ...] = ()
        """What the OpenAPI document describes; set once all are known."""
        self._document_text = ""
        """Written once: anybody may ask for it, as often as they like."""

    @property
    def document(self) -> dict[str, object]:
        """The OpenAPI document, made when it is first asked for."""
        return openapi_document(self.routes, DESCRIPTION)

    @handles(
        Route(
            "GET",
            "/health",
            "Whether the process lives and can write its logs; 503 if not",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def health(self, request: web.Request) -> web.Response:
        """Try the disk, where logs are written to it."""
        well = self._probe is None or await self._probe.serves()
        return web.json_response({"status": "ok" if well else "failing"}, status=200 if well else 503)

    @handles(
        Route(
            "GET",
            "/ready",
            "Whether calls can be created; 503 while it shuts down or no worker lives",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def ready(self, request: web.Request) -> web.Response:
        """Tell how many workers live, and how many should."""
        alive = [worker.index for worker in self._pool.workers if worker.alive]
        dead = [index for index in range(self._pool.size) if index not in alive]
        status = (
            "stopping" if self.stopping else "degraded" if dead and alive else "ok" if alive else "no worker"
        )
        body = {
            "status": status,
            "workers": {
                "wanted": self._pool.size,
                "alive": len(alive),
                "dead": dead,
                "died": self._pool.deaths,
            },
        }
        return web.json_response(body, status=503 if self.stopping or not alive else 200)

    @handles(Route("GET", "/metrics", "Figures for Prometheus", "Server", access="local", raw="text/plain"))
    async def metrics(self, request: web.Request) -> web.Response:
        """Give all figures as text."""
        self._metrics_access.require(request)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @handles(Route("GET", "/api/stats", "The same figures by worker and room", "Server", access="local"))
    async def stats(self, request: web.Request) -> web.Response:
        """Give all figures as JSON, taken now."""
        self._metrics_access.require(request)
        for worker in self._pool.workers:
            if worker.alive:
                try:
                    await worker.fetch_stats()
                except MeeshyError:
                    # it died meanwhile; its last totals are shown until it is replaced
                    continue
        return success(self._metrics.stats())

    @handles(Route("GET", "/openapi.json", "This document", "Server", access="open", raw="application/json"))
    async def openapi(self, request: web.Request) -> web.Response:
        """Give the OpenAPI document."""
        self._document_text = self._document_text or json.dumps(self.document)
        return web.Response(text=self._document_text, content_type="application/json")

    @handles(Route("GET", "/docs", "This document, for people", "Server", access="open", raw="text/html"))
    async def docs(self, request: web.Request) -> web.Response:
        """Give the page that shows it."""
        headers = {"Content-Security-Policy": DOCS_POLICY}
        return web.Response(text=docs_page(), content_type="text/html", headers=headers)
