"""The gate before every REST handler: what its answer carries, what is counted, and how a refusal is told.

The frame of all services. Whose token it is, what counts against which limit, and what handlers get is known to the
guards of the services.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.connection_limits import Shown
from meeshy_sfu.edge.connections import show
from meeshy_sfu.edge.limits import Quota, RateLimitedError, RateLimiter, Standing, address_key
from meeshy_sfu.edge.metrics import EdgeFigures
from meeshy_sfu.edge.middleware import ADDRESS, failure, parse_object, read_body
from meeshy_sfu.edge.routes import Route
from meeshy_sfu.errors import MeeshyError, UnauthorizedError

Translate = Callable[[Exception], MeeshyError | None]
"""Gives the error a client is told for one that the service knows of; None for all others."""


@dataclass(slots=True)
class Visit:
    """One request on its way to its handler."""

    raw: web.Request
    route: Route
    began_s: float
    standing: Standing | None = None
    """Against the limit that the answer tells of; None before any was asked."""

    @property
    def address(self) -> str:
        """Whom requests without a good token are counted against."""
        return address_key(self.raw[ADDRESS])

    def identified(self, owner: str, *, is_service: bool = False) -> None:
        """Note that its token is good, and whose it is: its connection is no stranger's any more."""
        show(self.raw, Shown.TOKEN, owner, is_service=is_service)


class RequestGate:
    """Serve requests through a service's guard, and count what comes of them."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        limiter: RateLimiter,
        figures: EdgeFigures,
        translate: Translate = lambda error: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._limiter = limiter
        self._figures = figures
        self._translate = translate

    def wrap(
        self, route: Route, serve: Callable[[Visit], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make a request handler: `serve` checks a visit and gives the answer of the route's handler."""
        requests = self._figures.requests
        duration = self._figures.request_duration.labels(route.method, route.path)

        async def handle(raw: web.Request) -> web.Response:
            visit = Visit(raw, route, self._clock.monotonic_s())
            status = 500
            try:
                response = await serve(visit)
                if visit.standing is not None:
                    response.headers.update(visit.standing.headers())
                status = response.status
                return response
            except MeeshyError as error:
                status = error.http_status
                self._count(error)
                if visit.standing is not None and status < 500 and not isinstance(error, RateLimitedError):
                    return failure(error, headers=visit.standing.headers())
                raise
            except Exception as error:
                told = self._translate(error)
                if told is None:
                    raise
                status = told.http_status
                raise told from error
            finally:
                duration.observe(self._clock.monotonic_s() - visit.began_s)
                requests.labels(route.method, route.path, str(status)).inc()

        return handle

    def take(self, quota: Quota, key: str, *, cost: int = 1) -> Standing:
        """Count against a limit.

        Raises:
            RateLimitedError: It is used up.
        """
        return self._limiter.take(quota, key, now_s=self._clock.monotonic_s(), cost=cost)

    async def body(self, visit: Visit) -> dict[str, object]:
        """Read the body. That of a route that has none is read and not used: its connection is kept by that."""
        text = await read_body(visit.raw, max_bytes=self._settings.max_body_bytes)
        if visit.route.body is None:
            return {}
        return parse_object(text, max_depth=self._settings.max_json_depth)

    def _count(self, error: MeeshyError) -> None:
        if isinstance(error, RateLimitedError):
            self._figures.rate_limited.labels(error.standing.quota.name).inc()
        elif isinstance(error, UnauthorizedError):
            self._figures.unauthorized.inc()
