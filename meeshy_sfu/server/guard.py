"""The gate before every route of a call: token, call, limit, body, in this order; then figures.

Lets handlers of rest.py see only checked input. What may be done with it they decide.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.border import ADDRESS, failure, read_json
from meeshy_sfu.edge.limits import Quota, RateLimitedError, RateLimiter, Standing, address_key
from meeshy_sfu.edge.routes import BoundRoute, Route
from meeshy_sfu.edge.tokens import bearer, check_id
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import MeeshyError, UnauthorizedError
from meeshy_sfu.server.auth import Claims, read_token
from meeshy_sfu.server.expiry import Expiry
from meeshy_sfu.server.metrics import Metrics
from meeshy_sfu.server.quotas import Quotas


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, for which call, about which object."""

    claims: Claims
    call_id: str
    """Empty for the few routes that are about no call."""
    path: "web.UrlMappingMatchInfo"

    def id(self, name: str) -> str:
        """Give an id out of the path."""
        return self.path[name]


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
        expiry: Expiry,
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._limiter = limiter
        self._quotas = quotas
        self._metrics = metrics
        self._expiry = expiry

    def wrap(self, bound: BoundRoute) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make a request handler of a bound route: ``handler(call)`` or ``handler(call, body)``."""
        route = bound.route
        requests = self._metrics.requests
        duration = self._metrics.request_duration.labels(route.method, route.path)

        async def handle(request: web.Request) -> web.Response:
            began_s = self._clock.monotonic_s()
            standing: Standing | None = None
            status = 500
            try:
                claims = self._authenticate(request)
                call_id = self._call_id(request, claims)
                raw = await self._read(request, route)
                standing = self._take(route, claims, call_id, raw, request)
                call = Call(claims, call_id, request.match_info)
                response: web.Response
                if route.body is None:
                    response = await bound.handler(call)
                else:
                    response = await bound.handler(call, read(route.body, raw))
                self._expiry.note(claims, call_id)
                response.headers.update(standing.headers())
                status = response.status
                return response
            except MeeshyError as error:
                status = error.http_status
                if isinstance(error, RateLimitedError):
                    self._metrics.rate_limited.labels(error.standing.quota.name).inc()
                elif isinstance(error, UnauthorizedError):
                    self._metrics.unauthorized.inc()
                if standing is not None and status < 500:
                    return failure(error, headers=standing.headers())
                raise
            finally:
                duration.observe(self._clock.monotonic_s() - began_s)
                requests.labels(route.method, route.path, str(status)).inc()

        return handle

    def _authenticate(self, request: web.Request) -> Claims:
        try:
            return read_token(
                bearer(request.headers.get("Authorization")),
                secret=self._secret,
                now_s=self._clock.unix_s(),
                leeway_s=self._settings.token_leeway_s,
            )
        except UnauthorizedError:
            # guessing tokens counts as well
            self._count(self._quotas.other, address_key(request[ADDRESS]))
            raise

    def _call_id(self, request: web.Request, claims: Claims) -> str:
        if "callId" not in request.match_info:
            return ""
        try:
            call_id = check_id(request.match_info["callId"], "callId")
            claims.require_call(call_id)
        except MeeshyError:
            self._count(self._quotas.other, address_key(request[ADDRESS]))
            raise
        return call_id

    async def _read(self, request: web.Request, route: Route) -> dict[str, object]:
        if route.body is None:
            # nothing of it is used, and aiohttp skips what was not read
            return {}
        try:
            return await read_json(
                request, max_bytes=self._settings.max_body_bytes, max_depth=self._settings.max_json_depth
            )
        except MeeshyError:
            self._count(self._quotas.other, address_key(request[ADDRESS]))
            raise

    def _take(
        self, route: Route, claims: Claims, call_id: str, raw: dict[str, object], request: web.Request
    ) -> Standing:
        quota: Quota = getattr(self._quotas, route.quota)
        if claims.is_service:
            # a gateway speaks for everybody: refusing it would leave rooms and people behind
            return Standing(quota, remaining=quota.limit, reset_s=0.0)
        match route.quota:
            case "create":
                key = call_id
            case "other":
                key = address_key(request[ADDRESS])
            case _:
                key = f"{call_id}/{_acting_participant(claims, raw, request)}"
        return self._limiter.take(quota, key, now_s=self._clock.monotonic_s(), cost=route.cost)

    def _count(self, quota: Quota, key: str) -> None:
        """Count a refused request; once the limit is used up, that is what the caller is told."""
        self._limiter.take(quota, key, now_s=self._clock.monotonic_s())


def _acting_participant(claims: Claims, raw: dict[str, object], request: web.Request) -> str:
    if claims.participant_id is not None and not claims.is_service:
        return claims.participant_id
    named = raw.get("participantId")
    if isinstance(named, str):
        return named[:128]
    return "/".join(value for name, value in request.match_info.items() if name != "callId") or claims.subject
