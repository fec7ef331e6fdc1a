"""Dispatch of the gateway's REST requests: checks limit, token, body and the route's limit, in this order.

Handlers in `rest` get checked input only; whether the user may do what they ask is checked there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from aiohttp import web

from meeshy_sfu.edge.auth import bearer
from meeshy_sfu.edge.http_dispatch import RequestDispatcher
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import InvalidRequestError, MeeshyError
from meeshy_sfu.gateway.wire.auth import User, read_service_token, read_user_token

if TYPE_CHECKING:
    from meeshy_sfu.edge.auth import TokenRules
    from meeshy_sfu.edge.http_dispatch import Common, RequestContext
    from meeshy_sfu.edge.routes import BoundRoute, Route
    from meeshy_sfu.gateway.wire.quotas import Quotas


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A checked request: by whom, with its path and query."""

    user: User
    raw: web.Request
    is_service: bool = False
    """Whether the token has the role `service`; only routes for overseers take one."""

    def id(self, name: str) -> str:
        """Return an id from the path."""
        return self.raw.match_info[name]

    def query(self, name: str) -> str | None:
        """Return a query parameter, or None."""
        return self.raw.query.get(name)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a query parameter that must be an integer.

        Raises:
            InvalidRequestError: It is not an integer, or out of range.
        """
        text = self.query(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
            raise InvalidRequestError(f"must be a whole number from {least} to {most}", path=name)
        return int(text)


class RestDispatcher(RequestDispatcher):
    """Check requests and call ``handler(request)`` or ``handler(request, body)``.

    Args:
        rules: For tokens.
        quotas: What requests count against.
        common: Arguments of RequestDispatcher.
    """

    def __init__(self, *, rules: TokenRules, quotas: Quotas, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self._rules = rules
        self._quotas = quotas

    async def serve(self, context: RequestContext, bound: BoundRoute) -> web.Response:
        """Check a request, call its handler and return the answer."""
        route = bound.route
        if route.access == "counted":
            return await self._serve_anyone(context, bound)
        request = self._per_user(context, route) if route.per_user else self._request(context, route)
        context.authenticated(request.user.key, is_service=request.is_service)
        raw = await self.body(context)
        body = None if route.body is None else read(route.body, raw)
        if route.quota != "other" and not route.per_user:
            self.take(getattr(self._quotas, route.quota), request.user.key)
        response: web.Response = await (
            bound.handler(request) if body is None else bound.handler(request, body)
        )
        return response

    async def _serve_anyone(self, context: RequestContext, bound: BoundRoute) -> web.Response:
        """Serve a request that needs no token; its handler gets the body, if there is one."""
        route = bound.route
        context.standing = self.take(getattr(self._quotas, route.quota), context.address)
        raw = await self.body(context)
        arguments = () if route.body is None else (read(route.body, raw),)
        response: web.Response = await bound.handler(*arguments)
        return response

    def _request(self, context: RequestContext, route: Route) -> RestRequest:
        # counted first, so that guessing tokens and ids is slow
        context.standing = self.take(self._quotas.calls, context.address)
        if route.access == "overseer":
            service = read_service_token(_token(context.raw), self._rules, now_s=self._clock.unix_s())
            if service is not None:
                return RestRequest(service, context.raw, is_service=True)
        return RestRequest(self._authenticate(context.raw), context.raw)

    def _per_user(self, context: RequestContext, route: Route) -> RestRequest:
        """Count per user what each sends again and again: reports, renewals."""
        try:
            user = self._authenticate(context.raw)
        except MeeshyError:
            context.standing = self.take(self._quotas.calls, context.address)
            raise
        context.standing = self.take(getattr(self._quotas, route.quota), user.key)
        return RestRequest(user, context.raw)

    def _authenticate(self, raw: web.Request) -> User:
        return read_user_token(_token(raw), self._rules, now_s=self._clock.unix_s())


def _token(raw: web.Request) -> str | None:
    return bearer(raw.headers.get("Authorization"))
