"""The routes that both services have: metrics, the OpenAPI and AsyncAPI documents and their pages.

Health and readiness differ from service to service; they are in the services' own health.py.
"""

import json

from aiohttp import web

from meeshy_sfu.edge.asyncapi import asyncapi_document, events_page
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.metrics_access import CONTENT_TYPE, MetricsAccess
from meeshy_sfu.edge.openapi import DOCS_POLICY, Description, docs_page, openapi_document
from meeshy_sfu.edge.routes import Route, handles


class ServiceRoutes:
    """Answer with the metrics and the documentation of a service.

    Args:
        metrics: Of the service.
        metrics_access: Who may read them.
        description: What the document says beside the routes.
    """

    def __init__(
        self, *, metrics: EdgeMetrics, metrics_access: MetricsAccess, description: Description
    ) -> None:
        self._metrics = metrics
        self._access = metrics_access
        self._description = description
        self._document_text = self._events_text = ""
        """Written once: no token is needed to request them, as often as one likes."""
        self.described: tuple[Route, ...] = ()
        """The routes in the document; set once all are known."""

    @property
    def document(self) -> dict[str, object]:
        """The OpenAPI document, made when it is first requested."""
        return openapi_document(self.described, self._description)

    @handles(Route("GET", "/metrics", "Metrics for Prometheus", "Server", access="local", raw="text/plain"))
    async def metrics(self, request: web.Request) -> web.Response:
        """Return all metrics as text."""
        self._access.require(request)
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @handles(Route("GET", "/openapi.json", "This document", "Server", access="open", raw="application/json"))
    async def openapi(self, request: web.Request) -> web.Response:
        """Return the OpenAPI document."""
        self._document_text = self._document_text or json.dumps(self.document)
        return web.Response(text=self._document_text, content_type="application/json")

    @handles(Route("GET", "/docs", "This document, as a page", "Server", access="open", raw="text/html"))
    async def docs(self, request: web.Request) -> web.Response:
        """Return the page that shows it."""
        headers = {"Content-Security-Policy": DOCS_POLICY}
        return web.Response(text=docs_page(), content_type="text/html", headers=headers)

    @handles(
        Route(
            "GET",
            "/asyncapi.json",
            "The AsyncAPI document of the Socket.IO events",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def asyncapi(self, request: web.Request) -> web.Response:
        """Return the AsyncAPI document."""
        self._events_text = self._events_text or json.dumps(asyncapi_document(self._description))
        return web.Response(text=self._events_text, content_type="application/json")

    @handles(
        Route(
            "GET",
            "/docs/events",
            "The AsyncAPI document, as a page",
            "Server",
            access="open",
            raw="text/html",
        )
    )
    async def events(self, request: web.Request) -> web.Response:
        """Return the page that shows it."""
        headers = {"Content-Security-Policy": DOCS_POLICY}
        return web.Response(text=events_page(), content_type="text/html", headers=headers)
