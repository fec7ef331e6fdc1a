"""The OpenAPI 3.1 document of a service, from its declared routes and the models that check bodies; and its page.

What the document says beside them a service states in a Description. Events are described by asyncapi.py, to which
`x-socketio` leads.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from meeshy_sfu import __version__
from meeshy_sfu.edge.document_page import document_page
from meeshy_sfu.edge.event_table import EventTable
from meeshy_sfu.edge.json_schemas import definitions
from meeshy_sfu.edge.routes import Route
from meeshy_sfu.errors import (
    ForbiddenError,
    InvalidRequestError,
    MeeshyError,
    PayloadTooLargeError,
    RateLimitError,
    UnauthorizedError,
)

SOCKETIO_PATH = "/socket.io/"
EVENTS_DOCUMENT = "asyncapi.json"
EVENTS_PAGE = "docs/events"
_ALWAYS = (UnauthorizedError, ForbiddenError, RateLimitError, MeeshyError)

DOCS_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing from elsewhere. And no page may show it in a frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Description:
    """What a service says of itself; there is one per service, so it is compared by identity."""

    name: str
    """Of the service, in file names."""
    title: str
    text: str
    path_parameters: Mapping[str, str]
    events: EventTable


def openapi_document(
    routes: Iterable[Route], description: Description, *, server_url: str = "/"
) -> dict[str, Any]:
    """Return the document; made once per set of routes, as that takes a fifth of a second. Not to be changed."""
    return _made(tuple(routes), description, server_url)


@functools.lru_cache(maxsize=8)
def _made(listed: tuple[Route, ...], description: Description, server_url: str) -> dict[str, Any]:
    models = {model for route in listed for model in (route.body, route.data) if model is not None}
    models |= {event.request for event in description.events.client.values()}
    models |= {event.payload for event in description.events.server.values()}
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, description)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": description.title,
            "version": __version__,
            "description": description.text,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server_url}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**definitions(models, "#/components/schemas/{model}"), "Error": _ERROR_SCHEMA},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "externalDocs": {"description": "The events of the same service, as AsyncAPI", "url": EVENTS_PAGE},
        "x-socketio": _events(description),
    }


def _events(description: Description) -> dict[str, Any]:
    """Say where Socket.IO is, and where the AsyncAPI document describes each event. Paths are relative to the document."""
    events = description.events
    return {
        "path": SOCKETIO_PATH,
        "document": EVENTS_DOCUMENT,
        "clientEvents": {
            event.name: _event(event.summary, event.request, event.message)
            for event in events.client.values()
        },
        "serverEvents": {
            event.name: _event(event.summary, event.payload, event.message)
            for event in events.server.values()
        },
    }


def _event(summary: str, payload: type[BaseModel], message: str) -> dict[str, Any]:
    reference = f"{EVENTS_DOCUMENT}#/components/messages/{message}"
    return {"summary": summary, "payload": _ref(payload), "message": {"$ref": reference}}


def docs_page() -> str:
    """Return the page that shows the document."""
    return document_page(title="Meeshy: API", document="openapi.json", script="openapi.js")


_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["success", "error"],
    "properties": {
        "success": {"const": False},
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
                "retryAfter": {"type": "integer", "description": "Seconds; with 429 only."},
            },
        },
        "retryAfter": {"type": "integer", "description": "Seconds; with 429 only."},
    },
}


def _operation(route: Route, description: Description) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.tag],
        "operationId": _operation_id(route),
        "responses": {str(route.status): _success(route), **_failures(route)},
    }
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": description.path_parameters[name],
            "schema": {"type": "integer" if name == "index" else "string"},
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.access in ("open", "counted"):
        operation["security"] = []
    if route.body is not None:
        required = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": _content(_ref(route.body))}
    if route.access in ("token", "overseer", "counted"):
        operation["x-rate-limit"] = f"rate_{route.quota}"
    return operation


def _operation_id(route: Route) -> str:
    words = [word for word in re.split(r"[/{}_-]+", route.path) if word and word != "api"]
    return route.method.lower() + "".join(word[:1].upper() + word[1:] for word in words)


def _success(route: Route) -> dict[str, Any]:
    if route.raw is not None:
        return {"description": "Done", "content": {route.raw: {"schema": {"type": "string"}}}}
    payload = {"data": _ref(route.data)} if route.data is not None else {"message": {"type": "string"}}
    schema = {
        "type": "object",
        "required": ["success", *payload],
        "properties": {"success": {"const": True}, **payload},
    }
    return {"description": "Done", "content": _content(schema)}


def _failures(route: Route) -> dict[str, Any]:
    if route.access == "open":
        return {}
    always = (RateLimitError, MeeshyError) if route.access == "counted" else _ALWAYS
    kinds: list[type[MeeshyError]] = [*always, *route.errors]
    if route.body is not None:
        kinds += [InvalidRequestError, PayloadTooLargeError]
    by_status: dict[int, set[str]] = {}
    for kind in kinds:
        by_status.setdefault(kind.http_status, set()).add(kind.code)
    return {
        str(status): {
            "description": ", ".join(sorted(codes)),
            "content": _content({"$ref": "#/components/schemas/Error"}),
        }
        for status, codes in sorted(by_status.items())
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _content(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
