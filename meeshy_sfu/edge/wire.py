"""The base of everything on the wire: camelCase, strict, unknown fields ignored; and how a wrong field is told.

Checks shape and types only.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS, check_id
from meeshy_sfu.errors import InvalidRequestError

MAX_ERRORS_SHOWN = 8
MODEL_MARKER = "x-model"
"""Stands for a reference that pydantic would refuse; openapi.py turns it into one."""

Model = TypeVar("Model", bound="WireModel")


class WireModel(BaseModel):
    """Base of everything on the wire."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="ignore", frozen=True, strict=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value


def read(model: type[Model], value: object) -> Model:
    """Check a body or event.

    Raises:
        InvalidRequestError: A field is missing or wrong; path and details.errors say which.
    """
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be a JSON object")
    _require_unicode(value)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [
            {"path": wire_path(item["loc"]), "message": sentence(item)}
            for item in error.errors(include_url=False, include_context=False)
        ]
        first = found[0]
        raise InvalidRequestError(
            first["message"], {"errors": found[:MAX_ERRORS_SHOWN]}, path=first["path"]
        ) from None


def _require_unicode(value: dict[str, object]) -> None:
    """Refuse text with half of a surrogate pair, which JSON can hold: no database, log or socket takes it."""
    try:
        orjson.dumps(value)
    except TypeError:
        # this, or a number beyond 64 bits, which is for the model to judge
        location = _lone_surrogate(value)
        if location is not None:
            raise InvalidRequestError("is no Unicode text", path=wire_path(location)) from None


def _lone_surrogate(value: object) -> tuple[int | str, ...] | None:
    if isinstance(value, str):
        return () if any("\ud800" <= char <= "\udfff" for char in value) else None
    members: Iterable[tuple[int | str, object]] = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for name, member in members:
        rest = _lone_surrogate(member)
        if rest is not None:
            return (name, *rest)
    return None


def wire_path(location: tuple[int | str, ...]) -> str:
    """Write the place of a field as ``rtpParameters.codecs[0].mimeType``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def sentence(item: Mapping[str, Any]) -> str:
    """Say what is wrong with a field, without repeating what may be huge."""
    if item["type"] == "missing":
        return "is missing"
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]


def _cut_off(value: object) -> object:
    return int(value) if isinstance(value, float) and math.isfinite(value) else value


Whole = Annotated[int, BeforeValidator(_cut_off)]
"""An integer that clients may have computed: its fraction is cut off, as browsers do (Web IDL §3.3.6)."""


Token = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$",
        json_schema_extra={"maxLength": MAX_TOKEN_CHARS},
    ),
]
"""A JWT in an event; its length is checked with what it says, in the words of all other ways to present one."""


def an_id(path: str) -> BeforeValidator:
    """Make the check of an id that callers choose."""

    def check(value: object) -> str:
        return check_id(value, path)

    return BeforeValidator(check)
