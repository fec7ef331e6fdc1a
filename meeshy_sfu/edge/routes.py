"""What a route is: method, path, bodies, limit and errors, declared beside its handler.

The declaration registers, checks and documents the route; handlers are in the services' rest.py and health.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel

from meeshy_sfu.edge.wire import WireModel
from meeshy_sfu.errors import MeeshyError

Access = Literal["token", "overseer", "open", "counted", "local"]
"""token: a JWT of the service's kind; overseer: that, or a service's; open: no token needed; counted: nor here, but its quota
counts per address; local: loopback, metrics token or service."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the API."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    tag: str
    body: type[WireModel] | None = None
    data: type[BaseModel] | None = None
    """What data is in the envelope; None means a message."""
    quota: str = "other"
    """Which of the service's limits it counts against; `rate_` and this is the setting."""
    cost: int = 1
    """How often it counts against its quota."""
    access: Access = "token"
    errors: tuple[type[MeeshyError], ...] = ()
    status: int = 200
    """Of a success."""
    per_user: bool = False
    """Whether its quota alone counts, per user, and no limit per address: many users may share one."""
    raw: str | None = None
    """Content type, when the answer has no envelope."""
    development_only: bool = False


@dataclass(frozen=True, slots=True)
class BoundRoute:
    """A route with the method of the object that handles it."""

    route: Route
    handler: Callable[..., Any]


def handles(route: Route) -> Callable[[Function], Function]:
    """Declare a method to be the handler of a route."""

    def mark(function: Function) -> Function:
        function.__route__ = route  # type: ignore[attr-defined]
        return function

    return mark


def bound_routes(owner: object) -> Iterator[BoundRoute]:
    """List the routes an object handles, in the order they were written."""
    for name in vars(type(owner)):
        route = getattr(vars(type(owner))[name], "__route__", None)
        if route is not None:
            yield BoundRoute(route, getattr(owner, name))


def register(router: web.UrlDispatcher, route: Route, handler: Callable[..., Any]) -> None:
    """Let a router call a handler for a route; what answers GET answers HEAD, too (RFC 9110 §9.1)."""
    if route.method == "GET":
        router.add_get(route.path, handler)
    else:
        router.add_route(route.method, route.path, handler)
