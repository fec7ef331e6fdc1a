"""What a request has to show before a handler sees it: limit, token, body, limit of the route, in this order.

Lets handlers of `rest` see only checked input. What may be done with it they decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from meeshy_sfu.edge.auth import bearer
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import InvalidRequestError, MeeshyError
from meeshy_sfu.gateway.wire.auth import Checks, User, read_service_token, read_user_token

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.http_dispatch import RequestGate, Visit
    from meeshy_sfu.edge.routes import BoundRoute, Route
    from meeshy_sfu.gateway.calls.quotas import Quotas

REPORTS = "quality"
"""The limit of routes that count against nothing else."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks, about what."""

    user: User
    raw: web.Request
    is_service: bool = False
    """Whether a program asks that acts for the whole system; only where the route lets it."""

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
    """Check requests before handlers see them."""

    def __init__(
        self, *, gate: RequestGate, settings: Settings, secret: str, clock: Clock, quotas: Quotas
    ) -> None:
        self._gate = gate
        self._settings = settings
        self._secret = secret
        self._clock = clock
        self._quotas = quotas

    def wrap(self, bound: BoundRoute) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make a request handler of a bound route: ``handler(request)`` or ``handler(request, body)``."""
        route = bound.route

        async def serve(visit: Visit) -> web.Response:
            request = self._reporter(visit) if route.quota == REPORTS else self._visitor(visit, route)
            visit.identified(request.user.key, is_service=request.is_service)
            raw = await self._gate.body(visit)
            body = None if route.body is None else read(route.body, raw)
            if route.quota not in ("other", REPORTS):
                self._gate.take(getattr(self._quotas, route.quota), request.user.key)
            response: web.Response = await (
                bound.handler(request) if body is None else bound.handler(request, body)
            )
            return response

        return self._gate.wrap(route, serve)

    def _visitor(self, visit: Visit, route: Route) -> Request:
        # counted first, so that guessing tokens and ids is slow
        visit.standing = self._gate.take(self._quotas.calls, visit.address)
        if route.access == "overseer":
            service = read_service_token(bearer(visit.raw.headers.get("Authorization")), **self._checks())
            if service is not None:
                return Request(service, visit.raw, is_service=True)
        return Request(self._authenticate(visit.raw), visit.raw)

    def _reporter(self, visit: Visit) -> Request:
        """Count reports by themselves: they come all the time, and many users may share an address."""
        try:
            user = self._authenticate(visit.raw)
        except MeeshyError:
            visit.standing = self._gate.take(self._quotas.calls, visit.address)
            raise
        visit.standing = self._gate.take(self._quotas.quality, user.key)
        return Request(user, visit.raw)

    def _authenticate(self, raw: web.Request) -> User:
        return read_user_token(bearer(raw.headers.get("Authorization")), **self._checks())

    def _checks(self) -> Checks:
        return {
            "secret": self._secret,
            "now_s": self._clock.unix_s(),
            "leeway_s": self._settings.token_leeway_s,
            "max_lifetime_s": self._settings.max_token_lifetime_s,
            "require_audience": self._settings.require_token_audience,
        }
