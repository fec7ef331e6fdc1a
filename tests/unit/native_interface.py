"""What the native module speaks, as its own tests wrote it (crates/*/interface.json), and how to hold Python to it.

The Rust tests named `interface` make one sample of every command, answer, option and event, with every field.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CRATES = Path(__file__).parents[2] / "crates"
WORKER: dict[str, Any] = json.loads((CRATES / "sfu-worker" / "interface.json").read_text())
BOT: dict[str, Any] = json.loads((CRATES / "sfu-bot" / "interface.json").read_text())

Place = tuple[str | int, ...]


def differences(written: object, sample: object, place: str = "") -> list[str]:
    """Say where Python writes other keys or types than the sample has; null is any value that is absent."""
    if written is None:
        return []
    if isinstance(sample, dict) and isinstance(written, dict):
        only_here = [f"{place}.{key}: only Python writes it" for key in written.keys() - sample.keys()]
        only_there = [f"{place}.{key}: Python never writes it" for key in sample.keys() - written.keys()]
        inside = [
            line
            for key in written.keys() & sample.keys()
            for line in differences(written[key], sample[key], f"{place}.{key}")
        ]
        return sorted(only_here + only_there + inside)
    if isinstance(sample, list) and isinstance(written, list):
        return [line for item in written for line in differences(item, sample[0], f"{place}[]")]
    return [] if type(written) is type(sample) else [f"{place}: {written!r} is not of the type of {sample!r}"]


def leaves(value: object, place: Place = ()) -> Iterator[Place]:
    """Every value in a sample that holds no others."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*place, index))
    else:
        yield place


def changed(sample: Any, place: Place) -> Any:
    """A copy of a sample with another value in one place."""
    result = copy.deepcopy(sample)
    parent = result
    for key in place[:-1]:
        parent = parent[key]
    value = parent[place[-1]]
    parent[place[-1]] = (
        not value if isinstance(value, bool) else value + ("x" if isinstance(value, str) else 1)
    )
    return result


def unread(sample: Any, read: Callable[[Any], object]) -> set[str]:
    """The values of a sample that make no difference to what is read from it."""
    before = read(sample)
    return {".".join(map(str, place)) for place in leaves(sample) if read(changed(sample, place)) == before}
