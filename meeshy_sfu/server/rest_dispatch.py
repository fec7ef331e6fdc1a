"""What a request has to show before a handler sees it: token, call, body, limit, in this order.

Lets handlers of rest.py see only checked input. What may be done with it they decide.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import bearer, check_id
from meeshy_sfu.edge.http_dispatch import RequestGate, Visit
from meeshy_sfu.edge.limits import Quota, Standing
from meeshy_sfu.edge.routes import BoundRoute
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.server.auth import Claims, read_token
from meeshy_sfu.server.expiry import Expiry
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
    """Check requests before handlers see them."""

    def __init__(
        self,
        *,
        gate: RequestGate,
        settings: Settings,
        secret: str,
        clock: Clock,
        quotas: Quotas,
        expiry: Expiry,
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._quotas = quotas
        self._expiry = expiry

    def wrap(self, bound: BoundRoute) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make a request handler of a bound route: ``handler(call)`` or ``handler(call, body)``."""
        route = bound.route

        async def serve(visit: Visit) -> web.Response:
            try:
                claims = self._authenticate(visit.raw)
                visit.identified(claims.owner, is_service=claims.is_service)
                call_id = self._call_id(visit.raw, claims)
                raw = await self._gate.body(visit)
            except MeeshyError:
                # guessing tokens and calls counts as well; once the limit is used up, the caller is told that
                self._gate.take(self._quotas.other, visit.address)
                raise
            visit.standing = self._take(visit, claims, call_id, raw)
            call = Call(claims, call_id, visit.raw.match_info)
            response: web.Response
            if route.body is None:
                response = await bound.handler(call)
            else:
                response = await bound.handler(call, read(route.body, raw))
            self._expiry.note(claims, call_id)
            return response

        return self._gate.wrap(route, serve)

    def _authenticate(self, request: web.Request) -> Claims:
        return read_token(
            bearer(request.headers.get("Authorization")),
            secret=self._secret,
            now_s=self._clock.unix_s(),
            leeway_s=self._settings.token_leeway_s,
            max_lifetime_s=self._settings.max_token_lifetime_s,
            require_audience=self._settings.require_token_audience,
        )

    def _call_id(self, request: web.Request, claims: Claims) -> str:
        if "callId" not in request.match_info:
            return ""
        call_id = check_id(request.match_info["callId"], "callId")
        claims.require_call(call_id)
        return call_id

    def _take(self, visit: Visit, claims: Claims, call_id: str, raw: dict[str, object]) -> Standing:
        route = visit.route
        quota: Quota = getattr(self._quotas, route.quota)
        if claims.is_service:
            # a gateway speaks for everybody: refusing it would leave rooms and people behind
            return Standing(quota, remaining=quota.limit, reset_s=0.0)
        match route.quota:
            case "create":
                key = call_id
            case "other":
                key = visit.address
            case _:
                key = f"{call_id}/{_acting_participant(claims, raw, visit.raw)}"
        return self._gate.take(quota, key, cost=route.cost)


def _acting_participant(claims: Claims, raw: dict[str, object], request: web.Request) -> str:
    if claims.participant_id is not None and not claims.is_service:
        return claims.participant_id
    named = raw.get("participantId")
    if isinstance(named, str):
        return named[:128]
    return "/".join(value for name, value in request.match_info.items() if name != "callId") or claims.subject
