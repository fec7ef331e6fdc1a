"""What is wrong with settings, in sentences: which one, whence it came, and what it may be.

Pure. Settings are read and checked in config.py.
"""

import difflib
from collections.abc import Mapping, Set
from typing import cast

from pydantic import ValidationError
from pydantic.fields import FieldInfo

ENV_PREFIX = "MEESHY_"


def nearest(key: str, known: list[str]) -> str:
    """Return the end of a sentence on an unknown name: the known one that is most like it, or where all are listed."""
    ours = key.startswith(ENV_PREFIX)  # a prefix that all have would make all alike
    names = {name.removeprefix(ENV_PREFIX): name for name in known if name.startswith(ENV_PREFIX) == ours}
    close = difflib.get_close_matches(key.removeprefix(ENV_PREFIX), names, 1)
    return f"; did you mean {names[close[0]]}?" if close else "; `meeshy settings` lists all"


def explain(
    error: ValidationError,
    origins: Mapping[str, str],
    *,
    fields: Mapping[str, FieldInfo],
    secrets: Set[str],
) -> str:
    """Turn pydantic's findings into sentences that name the source; values of secrets are never repeated."""
    sentences = []
    for finding in error.errors(include_url=False):
        key = str(finding["loc"][0]) if finding["loc"] else ""
        message = str(finding["msg"]).removeprefix("Value error, ")
        if finding["type"] == "extra_forbidden":
            sentences.append(f"unknown setting {key!r}{nearest(key, list(fields))}")
        elif not key:
            sentences.append(message)
        elif key in secrets:
            sentences.append(f"{origins.get(key, key)}: {message}")
        else:
            message = _permitted(fields[key]) if finding["type"] in _OUT_OF_RANGE else message
            sentences.append(f"{origins.get(key, key)} = {finding['input']!r}: {message}")
    return "; ".join(sentences)


_OUT_OF_RANGE = frozenset(
    (
        "greater_than",
        "greater_than_equal",
        "less_than_equal",
        "int_type",
        "int_parsing",
        "int_parsing_size",
        "int_from_float",
        "float_type",
        "float_parsing",
        "finite_number",
    )
)
"""What pydantic calls a number that is none, or not one that the setting takes."""


def _permitted(field: FieldInfo) -> str:
    """Return which numbers a setting takes."""
    limits = {
        name: getattr(rule, name)
        for rule in field.metadata
        for name in ("ge", "gt", "le")
        if hasattr(rule, name)
    }
    least, above, most = limits.get("ge"), limits.get("gt"), limits.get("le")
    kind = "a whole number" if field.annotation is int else "a number"
    span = f"from {least} to {most}" if above is None else f"above {above} and up to {most}"
    unit = cast(dict[str, str], field.json_schema_extra)["unit"]
    return f"must be {kind} {span}{f' ({unit})' if unit else ''}"
