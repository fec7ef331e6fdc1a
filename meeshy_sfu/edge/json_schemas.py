"""JSON Schemas (2020-12) of the models of the wire, as the documents and docs/schemas/ have them.

Models that are sent forbid other fields; of models that are read other fields are ignored, so their schemas allow them.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema


class _Plain(GenerateJsonSchema):
    """Without a title for each field, which type generators would take for the name of a type."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def definitions(models: Iterable[type[BaseModel]], template: str) -> dict[str, Any]:
    """Return the schemas of models and of all that they refer to, by name; references follow a template with {model}."""
    ordered = sorted(set(models), key=lambda model: model.__name__)
    _, document = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=template, schema_generator=_Plain
    )
    made: dict[str, Any] = document.get("$defs", {})
    return {name: _without_null_defaults(made[name]) for name in sorted(made)}


def _without_null_defaults(value: Any) -> Any:
    """Leave out `default: null`: a field that is left out is not null."""
    if isinstance(value, dict):
        return {
            name: _without_null_defaults(member)
            for name, member in value.items()
            if not (name == "default" and member is None)
        }
    return [_without_null_defaults(item) for item in value] if isinstance(value, list) else value
