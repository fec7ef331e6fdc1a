"""Check every event, acknowledgement and REST body that this process receives against the models of the wire.

Works at the clients' side, so that it also sees what servers in other processes send: whoever listens with python-socketio
or asks with aiohttp, the tests' own clients, the simulator's bots and the gateway towards the media server. A payload fits
its model if it is exactly what the model would write: no unknown field, no missing one, null and absent as declared.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import socketio
from pydantic import BaseModel, ValidationError

from meeshy_sfu.edge.routes import Route
from meeshy_sfu.edge.wire import DEEP, ErrorBody
from meeshy_sfu.gateway.wire.messages import EVENTS as GATEWAY_EVENTS
from meeshy_sfu.gateway.wire.rest import RestApi as GatewayRest
from meeshy_sfu.gateway.wire.rest_guests import GuestApi
from meeshy_sfu.gateway.wire.rest_overview import OverviewApi
from meeshy_sfu.server.messages import EVENTS as MEDIA_EVENTS
from meeshy_sfu.server.rest import RestApi as MediaRest
from meeshy_sfu.server.rest_consumers import ConsumerApi
from meeshy_sfu.server.rest_faults import FaultApi
from meeshy_sfu.server.rest_services import ServiceApi

TABLES = (GATEWAY_EVENTS, MEDIA_EVENTS)
OF_THE_LIBRARY = {"connect", "disconnect", "connect_error", "__disconnect_final"}
violations: list[str] = []
"""What did not fit since the last test; a fixture takes it."""


def misfit(model: type[BaseModel], payload: object) -> str | None:
    """Say how a payload differs from its model; None if it fits."""
    try:
        written = model.model_validate(payload, context={DEEP: True}).model_dump(by_alias=True)
    except ValidationError as error:
        return f"{model.__name__}: {error}"
    return None if written == payload else f"{model.__name__} would write {written}"


def check_event(name: str, payload: object) -> None:
    """Check an event to clients."""
    models = [table.server[name].payload for table in TABLES if name in table.server]
    problems = [misfit(model, payload) for model in models]
    if None not in problems:
        violations.append(f"event {name}: {problems or 'is in no table'}: {payload}")


def check_answer(name: str, answer: object) -> None:
    """Check the acknowledgement of an event; of an event of no table it can only be a failure."""
    if not isinstance(answer, dict):
        violations.append(f"answer of {name} is no object: {answer}")
        return
    models = [table.client[name].answer for table in TABLES if name in table.client]
    if answer.get("success") is True and answer.keys() == {"success", "data"} and models:
        problem = misfit(models[0], answer["data"])
    elif answer.get("success") is False and answer.keys() == {"success", "error"}:
        problem = misfit(ErrorBody, answer["error"])
    else:
        problem = "is no acknowledgement"
    if problem is not None:
        violations.append(f"answer of {name}: {problem}: {answer}")


def check_packet(packet: str) -> None:
    """Check a packet of Socket.IO as it came, if it is an event or a refusal."""
    if packet.startswith("42["):
        name, *payload = json.loads(packet[2:])
        check_event(name, payload[0] if payload else None)
    elif packet.startswith("43"):
        (answer,) = json.loads(packet[packet.index("[") :])
        if not answer.get("success"):
            check_answer("", answer)


def check_body(method: str, path: str, status: int, body: object) -> None:
    """Check the envelope and the data of an answer of the REST API; counters are in no model."""
    if path == "/api/stats":
        return
    route = next(
        (route for route, pattern in ROUTES if route.method == method and pattern.fullmatch(path)), None
    )
    if not isinstance(body, dict) or not isinstance(body.get("success"), bool):
        problem: str | None = "is no envelope"
    elif not body["success"]:
        problem = misfit(ErrorBody, body.get("error"))
        if body.keys() - {"success", "error", "retryAfter"}:
            problem = "has members that no failure has"
    elif route is None or status != route.status or body.keys() - {"success", "data", "message"}:
        problem = "is no success of a known route"
    elif route.data is None:
        problem = (
            None if isinstance(body.get("message"), str) and "data" not in body else "should be a message"
        )
    else:
        problem = misfit(route.data, body.get("data"))
    if problem is not None:
        violations.append(f"{method} {path} {status}: {problem}: {body}")


def _routes() -> Iterator[tuple[Route, re.Pattern[str]]]:
    for part in (GatewayRest, OverviewApi, GuestApi, MediaRest, ConsumerApi, ServiceApi, FaultApi):
        for member in vars(part).values():
            if hasattr(member, "__route__"):
                route: Route = member.__route__
                yield route, re.compile(re.sub(r"{\w+}", "[^/]+", route.path))


ROUTES = tuple(_routes())


class ForeignResponse(aiohttp.ClientResponse):
    """An answer of a service that is not ours, for the session that asks it: it is not checked."""


@pytest.fixture(autouse=True)
def the_wire_fits() -> Iterator[None]:
    """Fail a test during which something came that no model would write."""
    violations.clear()
    yield
    assert not violations, "\n".join(violations[:5])


def install() -> None:
    """Check whatever the clients of this process receive from now on."""
    _watch_sockets(socketio.AsyncClient)
    _watch_answers(aiohttp.ClientResponse)


def _watch_sockets(client: Any) -> None:
    trigger, emit = client._trigger_event, client.emit

    @functools.wraps(trigger)
    async def triggered(self: Any, event: str, namespace: str, *args: Any) -> Any:
        if event not in OF_THE_LIBRARY:
            check_event(event, args[0] if args else None)
        return await trigger(self, event, namespace, *args)

    @functools.wraps(emit)
    async def emitted(
        self: Any, event: str, data: Any = None, namespace: str | None = None, callback: Any = None
    ) -> Any:
        return await emit(self, event, data, namespace, callback and _checked(event, callback))

    client._trigger_event, client.emit = triggered, emitted


def _checked(event: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        check_answer(event, args[0] if args else None)
        return callback(*args)

    return called


def _watch_answers(response: Any) -> None:
    read = response.read

    @functools.wraps(read)
    async def was_read(self: Any) -> bytes:
        is_new = self._body is None
        body: bytes = await read(self)
        path = self.url.path
        of_ours = path.startswith("/api/") and not isinstance(self, ForeignResponse)
        if is_new and body and self.content_type == "application/json" and of_ours:
            check_body(self.method, path, self.status, json.loads(body))
        return body

    response.read = was_read
