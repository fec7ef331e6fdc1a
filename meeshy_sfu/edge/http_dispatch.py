"""Dispatch of REST requests to their handlers: what is counted, which headers the answer carries, how errors are answered.

The part that both services share. Authentication, limits and what a handler receives belong to the services' own
rest_dispatch.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.client_address import ADDRESS
from meeshy_sfu.edge.connection_limits import Credential
from meeshy_sfu.edge.connections import authenticate
from meeshy_sfu.edge.envelope import failure
from meeshy_sfu.edge.json_body import parse_object, read_body
from meeshy_sfu.edge.limits import Quota, RateLimitedError, RateLimiter, Standing, address_key
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.routes import BoundRoute, Route
from meeshy_sfu.errors import MeeshyError, UnauthorizedError

Translate = Callable[[Exception], MeeshyError | None]
"""Maps an exception that the service knows to the error a client receives; None for all others."""


@dataclass(slots=True)
class RequestContext:
    """One request on its way to its handler."""

    raw: web.Request
    route: Route
    began_s: float
    standing: Standing | None = None
    """Against the limit that the answer reports; None before any was counted."""

    @property
    def address(self) -> str:
        """The address that requests without a valid token are counted against."""
        return address_key(self.raw[ADDRESS])

    def authenticated(self, owner: str, *, is_service: bool = False) -> None:
        """Note that its token is valid, and whose it is, so that its connection is closed after unauthenticated ones."""
        authenticate(self.raw, Credential.TOKEN, owner, is_service=is_service)


class Common(TypedDict):
    """Arguments of every RequestDispatcher."""

    settings: Settings
    clock: Clock
    limiter: RateLimiter
    metrics: EdgeMetrics
    translate: NotRequired[Translate]


class RequestDispatcher(ABC):
    """Pass requests to their handlers, and count what comes of them."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        limiter: RateLimiter,
        metrics: EdgeMetrics,
        translate: Translate = lambda error: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._limiter = limiter
        self._metrics = metrics
        self._translate = translate

    @abstractmethod
    async def serve(self, context: RequestContext, bound: BoundRoute) -> web.Response:
        """Check a request, call the handler of its route and return the answer.

        Raises:
            MeeshyError: The request is refused, or its handler failed.
        """

    def wrap(self, bound: BoundRoute) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make the request handler of a route."""
        route = bound.route
        requests = self._metrics.requests
        duration = self._metrics.request_duration.labels(route.method, route.path)

        async def handle(raw: web.Request) -> web.Response:
            context = RequestContext(raw, route, self._clock.monotonic_s())
            status = 500
            try:
                response = await self.serve(context, bound)
                if context.standing is not None:
                    response.headers.update(context.standing.headers())
                status = response.status
                return response
            except MeeshyError as error:
                status = error.http_status
                self._count(error)
                if context.standing is not None and status < 500 and not isinstance(error, RateLimitedError):
                    return failure(error, headers=context.standing.headers())
                raise
            except Exception as error:
                told = self._translate(error)
                if told is None:
                    raise
                status = told.http_status
                raise told from error
            finally:
                duration.observe(self._clock.monotonic_s() - context.began_s)
                requests.labels(route.method, route.path, str(status)).inc()

        return handle

    def take(self, quota: Quota, key: str, *, cost: int = 1) -> Standing:
        """Count against a limit.

        Raises:
            RateLimitedError: It is used up.
        """
        return self._limiter.take(quota, key, now_s=self._clock.monotonic_s(), cost=cost)

    async def body(self, context: RequestContext) -> dict[str, object]:
        """Read the body. That of a route that has none is read and not used: its connection is kept by that."""
        text = await read_body(context.raw, max_bytes=self._settings.max_body_bytes)
        if context.route.body is None:
            return {}
        return parse_object(text, max_depth=self._settings.max_json_depth)

    def _count(self, error: MeeshyError) -> None:
        if isinstance(error, RateLimitedError):
            self._metrics.rate_limited.labels(error.standing.quota.name).inc()
        elif isinstance(error, UnauthorizedError):
            self._metrics.unauthorized.inc()
