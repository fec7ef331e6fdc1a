"""The AsyncAPI 3 document of a service's Socket.IO events, from its table of events; and its page.

What the document says beside them a service states in a Description (openapi.py). Routes are described there.
"""

import functools
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from meeshy_sfu import __version__
from meeshy_sfu.edge.document_page import document_page
from meeshy_sfu.edge.event_table import EventTable
from meeshy_sfu.edge.json_schemas import definitions
from meeshy_sfu.edge.openapi import SOCKETIO_PATH, Description
from meeshy_sfu.edge.wire import ErrorBody

_SCHEMA = "#/components/schemas/{model}"


@functools.lru_cache(maxsize=8)
def asyncapi_document(description: Description) -> dict[str, Any]:
    """Return the document; made once per service. Not to be changed."""
    table = description.events
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"{description.title}: events",
            "version": __version__,
            "description": description.text,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"socketio": _SERVER},
        "channels": {
            "events": {
                "address": "/",
                "title": "Namespace /",
                "description": "Events of Socket.IO's only namespace; each has one object as its payload.",
                "messages": _references(
                    [event.message for events in (table.client, table.server) for event in events.values()]
                ),
            },
            "acknowledgements": {
                "address": None,
                "title": "Acknowledgements",
                "description": "Socket.IO's acknowledgement of an event, if its sender asks for one.",
                "messages": _references(event.answer_message for event in table.client.values()),
            },
        },
        "operations": _operations(table),
        "components": {
            "messages": _messages(table),
            "schemas": definitions(_models(table), _SCHEMA) | {"Failure": _FAILURE},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "In auth.token of the Socket.IO handshake.",
                }
            },
        },
    }


def events_page() -> str:
    """Return the page that shows the document."""
    return document_page(title="Meeshy: events", document="../asyncapi.json", script="asyncapi.js")


_SERVER: dict[str, Any] = {
    "host": "{host}",
    "pathname": SOCKETIO_PATH,
    "protocol": "wss",
    "description": "Socket.IO 5 over Engine.IO 4, by WebSocket or long polling.",
    "variables": {"host": {"default": "localhost", "description": "Host and port of the service."}},
    "security": [{"$ref": "#/components/securitySchemes/token"}],
}
_FAILURE: dict[str, Any] = {
    "type": "object",
    "description": "Why the event was refused.",
    "properties": {"success": {"const": False}, "error": {"$ref": _SCHEMA.format(model="ErrorBody")}},
    "required": ["success", "error"],
    "additionalProperties": False,
}


def _models(table: EventTable) -> set[type[BaseModel]]:
    models: set[type[BaseModel]] = {ErrorBody}
    for asked in table.client.values():
        models |= {asked.request, asked.answer}
    return models | {event.payload for event in table.server.values()}


def _messages(table: EventTable) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for asked in table.client.values():
        made[asked.message] = _message(asked.name, asked.summary, _ref(asked.request))
        made[asked.answer_message] = _message(
            asked.name, f"The acknowledgement of `{asked.name}`", _acknowledgement(asked.answer)
        )
    for event in table.server.values():
        made[event.message] = _message(event.name, event.summary, _ref(event.payload))
    return made


def _message(name: str, summary: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "title": name, "summary": summary, "payload": payload}


def _acknowledgement(answer: type[BaseModel]) -> dict[str, Any]:
    success = {
        "type": "object",
        "properties": {"success": {"const": True}, "data": _ref(answer)},
        "required": ["success", "data"],
        "additionalProperties": False,
    }
    return {"oneOf": [success, {"$ref": _SCHEMA.format(model="Failure")}]}


def _operations(table: EventTable) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for asked in table.client.values():
        operation: dict[str, Any] = {
            "action": "receive",
            "channel": {"$ref": "#/channels/events"},
            "summary": asked.summary,
            "messages": [{"$ref": f"#/channels/events/messages/{asked.message}"}],
            "reply": {
                "channel": {"$ref": "#/channels/acknowledgements"},
                "messages": [{"$ref": f"#/channels/acknowledgements/messages/{asked.answer_message}"}],
            },
        }
        if asked.quota is not None:
            operation["x-rate-limit"] = f"rate_{asked.quota}"
        made[asked.message] = operation
    for event in table.server.values():
        made[event.message] = {
            "action": "send",
            "channel": {"$ref": "#/channels/events"},
            "summary": event.summary,
            "description": f"To {event.to}.",
            "messages": [{"$ref": f"#/channels/events/messages/{event.message}"}],
        }
    return made


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _SCHEMA.format(model=model.__name__)}
