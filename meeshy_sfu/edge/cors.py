"""CORS: which pages of other origins may call a service, and the headers that say so to browsers."""

import ipaddress
from urllib.parse import urlsplit

from aiohttp import web

from meeshy_sfu.config import Settings
from meeshy_sfu.edge.envelope import failure
from meeshy_sfu.errors import ForbiddenError

ALLOWED_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type"
EXPOSED_HEADERS = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
PREFLIGHT_SECONDS = "600"


class Origins:
    """Which pages may call us from another origin."""

    __slots__ = ("_all", "_any_loopback", "_known")

    def __init__(self, settings: Settings) -> None:
        self._known = frozenset(settings.cors_origins)
        self._all = "*" in self._known
        self._any_loopback = settings.is_development

    def allowed(self, origin: str) -> bool:
        """Return whether this origin may."""
        if self._all or origin in self._known:
            return True
        return self._any_loopback and is_loopback_origin(origin)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the CORS headers of an answer; none for other origins."""
        if origin is None or not self.allowed(origin):
            return {"Vary": "Origin"} if origin is not None else {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
            "Vary": "Origin",
        }

    def preflight(self, origin: str) -> web.Response:
        """Answer a browser that asks before it sends the request itself."""
        if not self.allowed(origin):
            reason = "pages of this origin may not call this server; add it to cors_origins"
            return failure(ForbiddenError(reason), headers={"Vary": "Origin"})
        headers = self.headers(origin) | {
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }
        return web.Response(status=204, headers=headers)


def is_loopback_origin(origin: str) -> bool:
    """Return whether an origin is a page served by this machine."""
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
