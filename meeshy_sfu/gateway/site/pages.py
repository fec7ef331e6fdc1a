"""Answers with the web client's files on the gateway's port.

Which files there are is in files.py, what a page may do in policy.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from meeshy_sfu.edge.client_address import ADDRESS
from meeshy_sfu.edge.limits import RateLimitedError, address_key
from meeshy_sfu.errors import ConfigError
from meeshy_sfu.gateway.site.files import INDEX, Site, SiteFile, is_known
from meeshy_sfu.gateway.site.policy import security_headers

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.limits import Quota, RateLimiter
    from meeshy_sfu.edge.metrics import EdgeMetrics

BUILT = Path(__file__).resolve().parents[2] / "web"
"""Where `make web` puts the client; the wheel holds it."""
CLIENT_ROUTES = ("/", "/call", "/call/{tail:.*}", "/check")
"""Paths that the client itself tells apart."""
DIRECTORIES = ("/assets/{tail:.*}", "/client/{tail:.*}")
NOT_BUILT = (
    "The web client is not built: run `make web` (it needs Node 20 or newer) and start the gateway again. "
    "The API is described at /docs.\n"
)


class SitePages:
    """Serve the web client; without a built one its page is a sentence that names the remedy."""

    def __init__(
        self,
        settings: Settings,
        *,
        site: Site | None,
        clock: Clock,
        limiter: RateLimiter,
        quota: Quota,
        metrics: EdgeMetrics,
    ) -> None:
        self._clock = clock
        self._limiter = limiter
        self._quota = quota
        self._metrics = metrics
        self._headers = security_headers(settings.public_media_urls.values())
        self._is_on = settings.serve_web
        self._site = site

    def register(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the client, after all others; HEAD is answered where GET is."""
        if not self._is_on:
            router.add_get("/", _to_documents)
            return
        for path in CLIENT_ROUTES:
            router.add_get(path, self._handler(path, INDEX))
        if self._site is None:
            return
        for path in DIRECTORIES:
            router.add_get(path, self._handler(path, None))
        for name in self._site.top:
            router.add_get(f"/{name}", self._handler(f"/{name}", name))

    def _handler(self, route: str, name: str | None) -> Handler:
        """Make the handler of a route: of one file, or of the one that the path names."""

        async def handle(request: web.Request) -> web.StreamResponse:
            status = 404
            try:
                self._limiter.take(
                    self._quota, address_key(request[ADDRESS]), now_s=self._clock.monotonic_s()
                )
                response = self._answer(request, name)
                status = response.status
                return response
            except RateLimitedError as error:
                status = error.http_status
                self._metrics.rate_limited.labels(self._quota.name).inc()
                raise
            finally:
                self._metrics.requests.labels("GET", route, str(status)).inc()

        return handle

    def _answer(self, request: web.Request, name: str | None) -> web.Response:
        if self._site is None:
            return web.Response(text=NOT_BUILT, status=503, headers=self._headers)
        found = self._site.files.get(request.path.removeprefix("/") if name is None else name)
        if found is None:
            raise web.HTTPNotFound
        return self._file(request, found)

    def _file(self, request: web.Request, found: SiteFile) -> web.Response:
        body = found.body(",".join(request.headers.getall("Accept-Encoding", [])))
        headers = self._headers | {"ETag": body.etag, "Cache-Control": found.cache_control}
        if len(found.bodies) > 1:
            headers["Vary"] = "Accept-Encoding"
        if is_known(body.etag, request.headers.get("If-None-Match")):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = found.content_type
        if body.coding is not None:
            headers["Content-Encoding"] = body.coding
        return web.Response(body=body.content, headers=headers)


def read_site(settings: Settings) -> Site | None:
    """Read the client that is to be served; None when it is switched off or not built.

    Raises:
        ConfigError: There is none in `web_dir`, or it is too large.
    """
    if not settings.serve_web:
        return None
    site = Site.read(settings.web_dir or BUILT)
    if site is None and settings.web_dir is not None:
        raise ConfigError(
            f"web_dir {settings.web_dir} holds no {INDEX}; set it to the directory of a built web client, or leave it out"
        )
    return site


def has_page(settings: Settings) -> bool:
    """Return whether there is a page to be served."""
    return settings.serve_web and ((settings.web_dir or BUILT) / INDEX).is_file()


async def _to_documents(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/docs"})
