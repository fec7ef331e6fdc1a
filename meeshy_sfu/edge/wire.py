"""The bases of everything on the wire: what is read (`WireModel`) and what is sent (`Message`), both in camelCase.

Checks shape and types only. Events are declared in event_table.py, routes in routes.py.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeVar

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS, check_id
from meeshy_sfu.errors import InvalidRequestError

MAX_ERRORS_SHOWN = 8
DEEP = "deep"
"""Key of a validation context: fields that are `DescribedBy` a model are checked against it as well."""

T = TypeVar("T")
Model = TypeVar("Model", bound="WireModel")


class WireModel(BaseModel):
    """Base of what is read: unknown fields are ignored, null counts as absent."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="ignore",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if member is not None}
        return value


class Message(BaseModel):
    """Base of what is sent: no unknown fields; None is written as null, but an `Omittable` field is left out."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    @classmethod
    def read(cls, value: object) -> Self:
        """Read one of a peer that may know more fields; those are ignored.

        Raises:
            ValidationError: A field is missing or wrong.
        """
        return cls.model_validate(value, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """Return it as plain JSON values, with the names of the wire."""
        return self.model_dump(by_alias=True)


def _is_none(value: object) -> bool:
    return value is None


class _NotNull:
    """Describes a field that is left out when it is None: its value is never null."""

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = dict(handler(schema))
        kinds = [kind for kind in described.pop("anyOf", []) if kind != {"type": "null"}]
        return described | kinds[0] if len(kinds) == 1 else described | {"anyOf": kinds}


Omittable = Annotated[T | None, Field(exclude_if=_is_none), _NotNull()]
"""A field of a `Message` that is absent when it is None; its default must be None."""


class Nothing(Message):
    """An object without fields."""


class ErrorBody(Message):
    """Why something was refused."""

    code: str
    """For programs; the docs list the codes."""
    message: str
    """The error in words; may change between versions."""
    details: Omittable[dict[str, Any]] = None
    """Values that belong to the code, such as the `path` of a wrong field."""
    retry_after: Omittable[int | float] = None
    """Seconds; of a rate limit only."""


class OneOf:
    """Marks a text that is one of a few words on the wire."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        """Take these words only."""
        return core_schema.literal_schema(list(self.words))


@dataclass(frozen=True, slots=True)
class DescribedBy:
    """Marks a field that another module writes, as plain JSON, and the model that describes it.

    It is not checked again when it is sent; with the context `DEEP` it is, unknown members included.
    """

    model: type[BaseModel]

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> core_schema.CoreSchema:
        """Take an object as it is."""
        return core_schema.with_info_after_validator_function(self._check, core_schema.dict_schema())

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe it by the model."""
        return described(self.model, handler)

    def _check(self, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if info.context and info.context.get(DEEP):
            read_back = self.model.model_validate(value).model_dump(by_alias=True, exclude_unset=True)
            if read_back != value:
                raise ValueError(f"is no {self.model.__name__}: {value}")
        return value


def described(model: type[BaseModel], handler: GetJsonSchemaHandler) -> dict[str, Any]:
    """Return the JSON schema of a model, for a field that is checked by something else."""
    return dict(handler(model.__pydantic_core_schema__))


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
