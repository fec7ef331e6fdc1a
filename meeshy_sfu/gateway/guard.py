"""The gate before every route: token, limits, body, in this order; then figures.

Lets handlers of `rest` see only checked input. What may be done with it they decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from meeshy_sfu.edge.border import ADDRESS, failure, read_json
from meeshy_sfu.edge.limits import RateLimitedError, Standing, address_key
from meeshy_sfu.edge.tokens import bearer
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import InvalidRequestError, MeeshyError, UnauthorizedError
from meeshy_sfu.gateway.auth import User, read_user_token

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.limits import RateLimiter
    from meeshy_sfu.edge.routes import BoundRoute
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.quotas import Quotas


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, about what."""

    user: User
    raw: web.Request

    def id(self, name: str) -> str:
        """Give an id out of the path."""
        return self.raw.match_info[name]

    def query(self, name: str) -> str | None:
        """Give a field of the query, or None."""
        return self.raw.query.get(name)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """Give a field of the query that is a whole number.

        Raises:
            InvalidRequestError: It is none, or out of its range.
        """
        text = self.query(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
            raise InvalidRequestError(f"must be a whole number from {least} to {most}", path=name)
        return int(text)


class Guard:
    """Check requests before handlers see them, and count what comes of them."""

    def __init__(
        self,
        *,
        settings: Settings,
        secret: str,
        clock: Clock,
        limiter: RateLimiter,
        quotas: Quotas,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._limiter = limiter
        self._quotas = quotas
        self._metrics = metrics

    def wrap(self, bound: BoundRoute) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make a request handler of a bound route: ``handler(request)`` or ``handler(request, body)``."""
        route = bound.route
        requests = self._metrics.requests
        duration = self._metrics.request_duration.labels(route.method, route.path)

        async def handle(raw: web.Request) -> web.Response:
            began_s = self._clock.monotonic_s()
            standing: Standing | None = None
            status = 500
            try:
                # counted first, so that guessing tokens and ids is slow
                standing = self._limiter.take(self._quotas.calls, address_key(raw[ADDRESS]), now_s=began_s)
                request = Request(self._authenticate(raw), raw)
                body = None
                if route.body is not None:
                    text = await read_json(
                        raw, max_bytes=self._settings.max_body_bytes, max_depth=self._settings.max_json_depth
                    )
                    body = read(route.body, text)
                if route.quota != "other":
                    quota = getattr(self._quotas, route.quota)
                    self._limiter.take(quota, request.user.key, now_s=began_s)
                response: web.Response = await (
                    bound.handler(request) if body is None else bound.handler(request, body)
                )
                response.headers.update(standing.headers())
                status = response.status
                return response
            except MeeshyError as error:
                status = error.http_status
                if isinstance(error, RateLimitedError):
                    self._metrics.rate_limited.labels(error.standing.quota.name).inc()
                elif isinstance(error, UnauthorizedError):
                    self._metrics.unauthorized.inc()
                if standing is not None and status < 500 and not isinstance(error, RateLimitedError):
                    return failure(error, headers=standing.headers())
                raise
            finally:
                duration.observe(self._clock.monotonic_s() - began_s)
                requests.labels(route.method, route.path, str(status)).inc()

        return handle

    def _authenticate(self, raw: web.Request) -> User:
        return read_user_token(
            bearer(raw.headers.get("Authorization")),
            secret=self._secret,
            now_s=self._clock.unix_s(),
            leeway_s=self._settings.token_leeway_s,
        )
