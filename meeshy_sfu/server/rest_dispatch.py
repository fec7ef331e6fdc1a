"""Dispatch of the media server's REST requests: checks token, call, body and limit, in this order.

Handlers in rest.py get checked input only; whether the caller may do what they ask is checked there.
"""

from dataclasses import dataclass
from typing import Unpack

from aiohttp import web

from meeshy_sfu.edge.auth import TokenRules, bearer, check_id
from meeshy_sfu.edge.http_dispatch import Common, RequestContext, RequestDispatcher
from meeshy_sfu.edge.limits import Quota, Standing
from meeshy_sfu.edge.routes import BoundRoute
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.server.auth import Claims, read_token
from meeshy_sfu.server.expiry import Expiry
from meeshy_sfu.server.quotas import Quotas


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A checked request: by whom, about which call and which object."""

    claims: Claims
    call_id: str
    """Empty for routes without a call in their path."""
    path: "web.UrlMappingMatchInfo"

    def id(self, name: str) -> str:
        """Return an id from the path."""
        return self.path[name]


class RestDispatcher(RequestDispatcher):
    """Check requests and call ``handler(request)`` or ``handler(request, body)``.

    Args:
        rules: For tokens.
        quotas: What requests count against.
        expiry: Receives the claims of each request that was served.
        common: Arguments of RequestDispatcher.
    """

    def __init__(
        self, *, rules: TokenRules, quotas: Quotas, expiry: Expiry, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        self._rules = rules
        self._quotas = quotas
        self._expiry = expiry

    async def serve(self, context: RequestContext, bound: BoundRoute) -> web.Response:
        """Check a request, call its handler and return the answer."""
        try:
            claims = self._authenticate(context.raw)
            context.authenticated(claims.owner, is_service=claims.is_service)
            call_id = self._call_id(context.raw, claims)
            raw = await self.body(context)
        except MeeshyError:
            # guessing tokens and calls counts as well; once the limit is used up, that is the answer
            self.take(self._quotas.other, context.address)
            raise
        context.standing = self._take(context, claims, call_id, raw)
        request = RestRequest(claims, call_id, context.raw.match_info)
        body_model = bound.route.body
        response: web.Response = await (
            bound.handler(request) if body_model is None else bound.handler(request, read(body_model, raw))
        )
        self._expiry.note(claims, call_id)
        return response

    def _authenticate(self, request: web.Request) -> Claims:
        token = bearer(request.headers.get("Authorization"))
        return read_token(token, self._rules, now_s=self._clock.unix_s())

    def _call_id(self, request: web.Request, claims: Claims) -> str:
        if "callId" not in request.match_info:
            return ""
        call_id = check_id(request.match_info["callId"], "callId")
        claims.require_call(call_id)
        return call_id

    def _take(
        self, context: RequestContext, claims: Claims, call_id: str, raw: dict[str, object]
    ) -> Standing:
        route = context.route
        quota: Quota = getattr(self._quotas, route.quota)
        if claims.is_service:
            # a gateway acts for all calls: refusing it would leak rooms and participants
            return Standing(quota, remaining=quota.limit, reset_s=0.0)
        match route.quota:
            case "create":
                key = call_id
            case "other":
                key = context.address
            case _:
                key = f"{call_id}/{_acting_participant(claims, raw, context.raw)}"
        return self.take(quota, key, cost=route.cost)


def _acting_participant(claims: Claims, raw: dict[str, object], request: web.Request) -> str:
    if claims.participant_id is not None and not claims.is_service:
        return claims.participant_id
    named = raw.get("participantId")
    if isinstance(named, str):
        return named[:128]
    return "/".join(value for name, value in request.match_info.items() if name != "callId") or claims.subject
