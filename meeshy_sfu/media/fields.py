"""Reading JSON that came from outside, field by field.

Returns typed values or an error with the path of the field; what the fields mean is known to the caller.
"""

import math
from dataclasses import dataclass, field
from typing import TypeVar

from meeshy_sfu.errors import InvalidRequestError

T = TypeVar("T", bound=str)

MAX_TEXT = 256
MAX_ITEMS = 64
MAX_NAME = 64
SHOWN = 40


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a JSON document and where it is.

    `null` counts as absent, because pydantic clients send it for what they do not set. Nothing here raises
    anything but the error class it was given.
    """

    value: object
    path: str = ""
    error: type[InvalidRequestError] = field(default=InvalidRequestError, repr=False)

    @property
    def absent(self) -> bool:
        """Return whether the field is missing or null."""
        return self.value is None

    def fail(self, message: str) -> InvalidRequestError:
        """Make (not raise) the error for this field."""
        return self.error(message, path=self.path)

    def __getitem__(self, name: str) -> "Field":
        """Return a member of this object; absent members are fields too.

        Raises:
            InvalidRequestError: This is not an object.
        """
        value = self.value
        if not isinstance(value, dict):
            raise self.fail("is missing" if value is None else f"must be an object, not {_shown(value)}")
        return Field(value.get(name), f"{self.path}.{name}" if self.path else name, self.error)

    def members(self, *, limit: int = MAX_ITEMS) -> dict[str, "Field"]:
        """List all members of this object by name; none when it is absent.

        Raises:
            InvalidRequestError: This is no object, or has more members than the limit.
        """
        value = self.value
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.fail(f"must be an object, not {_shown(value)}")
        if len(value) > limit:
            raise self.fail(f"has {len(value)} members, at most {limit} are allowed")
        for name in value:
            if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
                raise self.fail(f"has a member whose name is not 1 to {MAX_NAME} printable characters")
        return {name: self[name] for name in value}

    def items(self, *, required: bool = False, limit: int = MAX_ITEMS) -> list["Field"]:
        """List the items of this array; none when it is absent and not required.

        Raises:
            InvalidRequestError: This is no array, or has more items than the limit.
        """
        value = self.value
        if value is None and not required:
            return []
        if not isinstance(value, list):
            raise self.fail("is missing" if value is None else f"must be an array, not {_shown(value)}")
        if len(value) > limit:
            raise self.fail(f"has {len(value)} items, at most {limit} are allowed")
        return [Field(item, f"{self.path}[{index}]", self.error) for index, item in enumerate(value)]

    def text(self, *, limit: int = MAX_TEXT) -> str:
        """Return a string that has to be there.

        Raises:
            InvalidRequestError: It is missing, no string, or longer than the limit.
        """
        value = self.value
        if not isinstance(value, str):
            raise self.fail("is missing" if value is None else f"must be a string, not {_shown(value)}")
        if len(value) > limit:
            raise self.fail(f"has {len(value)} characters, at most {limit} are allowed")
        if not value.isprintable():
            raise self.fail("must not contain control characters")
        return value

    def text_or_none(self, *, limit: int = MAX_TEXT) -> str | None:
        """Return a string, or None when the field is absent or empty."""
        return None if self.value is None else self.text(limit=limit) or None

    def choice(self, *choices: T) -> T:
        """Return the one of some strings that this is.

        Raises:
            InvalidRequestError: It is none of them.
        """
        for choice in choices:
            if self.value == choice:
                return choice
        allowed = ", ".join(choices)
        raise self.fail("is missing" if self.value is None else f"must be one of {allowed}")

    def integer(self, low: int, high: int) -> int:
        """Return a number that has to be there as an integer; true is none.

        Fractions are cut off, as browsers do with what W3C calls ``unsigned long`` (Web IDL §3.3.6): applications
        compute bitrates and send 1935360.0000000002.

        Raises:
            InvalidRequestError: It is missing, no finite number, or out of its range.
        """
        value = self.value
        if isinstance(value, float) and math.isfinite(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fail("is missing" if value is None else f"must be an integer, not {_shown(value)}")
        if not low <= value <= high:
            raise self.fail(f"must be from {low} to {high}, not {_shown(value)}")
        return value

    def integer_or_none(self, low: int, high: int) -> int | None:
        """Return an integer, or None when the field is absent."""
        return None if self.value is None else self.integer(low, high)

    def boolean(self, *, default: bool) -> bool:
        """Return a boolean, or the default when the field is absent.

        Raises:
            InvalidRequestError: It is neither.
        """
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            raise self.fail(f"must be true or false, not {_shown(self.value)}")
        return self.value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
