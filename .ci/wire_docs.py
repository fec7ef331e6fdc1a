"""What the pages and docs/schemas/ say of the wire, made from the tables of events, the routes and their models.

Used by generate_docs.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from meeshy_sfu.edge.json_schemas import definitions
from meeshy_sfu.edge.openapi import Description
from meeshy_sfu.edge.routes import Route
from meeshy_sfu.edge.wire import ErrorBody

FIELDS_IN_A_CELL = 9
"""Of a model with more fields, a table has the name alone; they are listed below it."""
REF = "#/$defs/{model}"


def protocol_schema(description: Description, routes: Iterable[Route]) -> str:
    """The JSON Schema of a service: one property for each direction, of which type generators make one type each."""
    table = description.events
    models: set[type[BaseModel]] = {ErrorBody}
    client: dict[str, Any] = {}
    for asked in table.client.values():
        models |= {asked.request, asked.answer}
        client[asked.name] = {
            "description": asked.summary,
            **_object({"payload": _ref(asked.request), "answer": _ref(asked.answer)}),
        }
    server: dict[str, Any] = {}
    for event in table.server.values():
        models.add(event.payload)
        server[event.name] = _ref(event.payload)
    requests: dict[str, Any] = {}
    for route in routes:
        parts = {"body": route.body, "data": route.data}
        known = {name: model for name, model in parts.items() if model is not None}
        if known:
            models |= set(known.values())
            requests[f"{route.method} {route.path}"] = {
                "description": route.summary,
                **_object({name: _ref(model) for name, model in known.items()}),
            }
    title = "".join(word.capitalize() for word in description.name.split("-")) + "Protocol"
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": f"{description.title}: events from and to clients, requests, errors.",
        **_object(
            {
                "clientEvents": _object(client),
                "serverEvents": _object(server),
                "requests": _object(requests),
                "error": _ref(ErrorBody),
            }
        ),
        "$defs": definitions(models, REF),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": REF.format(model=model.__name__)}


class Tables:
    """The tables of one service's events for its page."""

    def __init__(self, description: Description) -> None:
        self._events = description.events
        events = self._events
        models = {model for one in events.client.values() for model in (one.request, one.answer)}
        self._schemas = definitions(models | {event.payload for event in events.server.values()}, REF)
        self._linked: set[str] = set()

    def from_client(self) -> str:
        """Events from clients."""
        lines = ["| event | payload | `data` of the answer | |\n| --- | --- | --- | --- |\n"]
        for event in self._events.client.values():
            cells = (self._fields(event.request), self._fields(event.answer), event.summary)
            lines.append(f"| `{event.name}` | " + " | ".join(cells) + " |\n")
        return "".join(lines)

    def to_client(self) -> str:
        """Events to clients."""
        lines = ["| event | to | payload | |\n| --- | --- | --- | --- |\n"]
        for event in self._events.server.values():
            cells = (event.to, self._fields(event.payload), event.summary)
            lines.append(f"| `{event.name}` | " + " | ".join(cells) + " |\n")
        return "".join(lines)

    def objects(self) -> str:
        """Every object that a table or another object refers to, with its fields."""
        parts: dict[str, str] = {}
        while missing := sorted(self._linked - parts.keys()):
            for name in missing:
                parts[name] = self._described(name)
        return "\n".join(parts[name] for name in sorted(parts))

    def _described(self, name: str) -> str:
        schema = self._schemas[name]
        lines = [f"### {name}\n\n{schema['description']}\n\n"]
        for field, shape in schema.get("properties", {}).items():
            note = str(shape.get("description", "")).replace("\n", " ")
            lines.append(f"- {self._field(schema, field)}" + (f": {note}" if note else "") + "\n")
        return "".join(lines)

    def _fields(self, model: type[BaseModel]) -> str:
        schema = self._schemas[model.__name__]
        fields = schema.get("properties", {})
        if len(fields) > FIELDS_IN_A_CELL:
            return self._link(model.__name__)
        return ", ".join(self._field(schema, field) for field in fields).replace("|", "\\|") or "`{}`"

    def _field(self, schema: dict[str, Any], field: str) -> str:
        mark = "" if field in schema.get("required", ()) else "?"
        kind = self._kind(schema["properties"][field])
        return f"`{field}{mark}`" + (f" {kind}" if kind else "")

    def _kind(self, shape: dict[str, Any]) -> str:
        """The type of a value; nothing for text."""
        if "$ref" in shape:
            return self._link(shape["$ref"].rpartition("/")[2])
        if "const" in shape:
            return f"`{json.dumps(shape['const'])}`"
        if "enum" in shape:
            return "|".join(f"`{word}`" for word in shape["enum"])
        if "anyOf" in shape:
            kinds = dict.fromkeys(self._kind(one) or "text" for one in shape["anyOf"])
            if list(kinds) == ["text", "null"]:
                return "or null"
            kinds.pop("integer" if "number" in kinds else "", None)
            return " or ".join(kinds)
        if shape.get("type") == "array":
            return (self._kind(shape["items"]) or "text") + "[]"
        return {
            "string": "",
            "integer": "integer",
            "number": "number",
            "boolean": "boolean",
            "null": "null",
        }.get(str(shape.get("type")), "object")

    def _link(self, name: str) -> str:
        self._linked.add(name)
        return f"[{name}](#{name.lower()})"


def between(text: str, blocks: dict[str, str], page: str) -> str:
    """A page with blocks made anew, each between two comments that name it."""
    for name, block in blocks.items():
        begin = f"<!-- Made by .ci/generate_docs.py: {name}. -->\n"
        end = f"<!-- End of {name}. -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{page} lacks the comments {begin.strip()} and {end.strip()}")
        text = f"{before}{begin}\n{block}\n{end}{after}"
    return text


def routes_of(*parts: type) -> Iterator[Route]:
    """The routes that classes declare."""
    for part in parts:
        for member in vars(part).values():
            if hasattr(member, "__route__"):
                yield member.__route__
