"""Inputs: good ones that were changed in a few places, and junk of every type.

All choices come from a source of whole numbers: hypothesis in the tests, which then shows the smallest input that fails;
a plain generator of random numbers in long runs, which is several times faster.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Number = Callable[[int, int], int]
"""A whole number from the first to the second."""
Make = Callable[["Source"], Any]

NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**63, 2**64, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 1e15, 1e308, -1e308, 1935360.0000000002, 2.0**53, float("nan"), float("inf"), float("-inf")),
]  # fmt: skip
TEXTS = [
    *("", " ", "\x00", "\t", "\n", "\r", "\r\n", "a\r\nb=c", "\x0b", "\x85", "\u2028", "\u202e", "\u200b", "\ufeff"),
    *("\ud800", "\udfff", "٣", "²", "１", "é" * 300, "x" * 5000, "9" * 5000, "0" * 300, "😀", "e\u0301"),
    *("eyJhbGciOiJIUzI1NiJ9.e30.x", "__proto__", "{}", "[]", "null", "true", "NaN", "-1", "1e999", "0x10", "1.5"),
    *("a=x", "m=audio 9 UDP/TLS/RTP/SAVPF 0", "%s", "%00", "../..", "@", "//", ":", "[", "]", "?", "#", ".", "-"),
]  # fmt: skip
ALPHABET = "abcXYZ0123456789 :;,./=-+_[]{}\"'\\\r\n\t\x00\x7f\u00e9\u0661\u2028\u202e\ud800\U0001f600"


class Source:
    """Choices for one input."""

    def __init__(self, number: Number) -> None:
        self.number = number

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.number(0, len(choices) - 1)]

    def happens(self, once_in: int) -> bool:
        return self.number(1, once_in) == once_in

    def text(self) -> str:
        if self.happens(2):
            return self.pick(TEXTS)
        return "".join(self.pick(ALPHABET) for _ in range(self.number(0, 12)))

    def junk(self, levels: int = 3) -> Any:
        """Any JSON value, and what no JSON could hold."""
        match self.number(0, 7 if levels else 4):
            case 0:
                return None
            case 1:
                return self.happens(2)
            case 2:
                return self.pick(NUMBERS)
            case 3:
                return self.number(-(2**40), 2**40)
            case 4:
                return self.text()
            case 5:
                return [self.junk(levels - 1) for _ in range(self.number(0, 4))]
            case 6:
                return {self.text(): self.junk(levels - 1) for _ in range(self.number(0, 4))}
            case _:
                return self.pick(LARGE)()


def _deep() -> Any:
    value: Any = 1
    for _ in range(100):
        value = [value]
    return value


TEXT_MAX = 60_000
"""Above the cap of what is relayed."""
LARGE: list[Callable[[], Any]] = [_deep, lambda: [0] * 500, lambda: {str(n): n for n in range(200)}]


def changed(samples: Sequence[Any]) -> Make:
    """Inputs that are one of the JSON values with a few changes; now and then something else altogether."""
    written = [json.dumps(sample) for sample in samples]

    def make(source: Source) -> Any:
        if source.happens(20):
            return source.junk()
        value = json.loads(source.pick(written))
        for _ in range(source.number(0, 4)):
            found = _places(value)
            if found:
                _change(source, value, *source.pick(found))
        return value

    return make


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, as container and key."""
    found = []
    left = [value]
    while left:
        container = left.pop()
        keys: Any = (
            container
            if isinstance(container, dict)
            else range(len(container))
            if isinstance(container, list)
            else ()
        )
        for key in list(keys)[:100]:
            found.append((container, key))
            left.append(container[key])
    return found


def _change(source: Source, value: Any, container: Any, key: Any) -> None:
    known = container[key]
    match source.number(0, 5):
        case 0:
            container[key] = source.junk()
        case 1:
            del container[key]
        case 2 if isinstance(container, list):
            container += [_copy(known)] * source.pick([1, 2, 70])
        case 2 | 3:
            if isinstance(container, dict):
                container[source.text()] = _copy(known)
            other, name = source.pick(_places(value))
            container[key] = _copy(other[name])
        case 4 if isinstance(known, str):
            container[key] = _edit(source, known)
        case 4 if isinstance(known, (int, float)) and not isinstance(known, bool) and abs(known) < 2**64:
            container[key] = known + source.pick([1, -1, 0.5, 0.0, 2**32, -(2**31)])
        case _:
            container[key] = source.pick([None, True, str(known)[:300], [_copy(known)], {"x": 1}, 0, -1])


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return {name: _copy(item) for name, item in value.items()} if isinstance(value, dict) else value


def _edit(source: Source, text: str) -> str:
    at = source.number(0, len(text))
    return text[:at] + source.text() + text[at + source.pick([0, 0, 1, 2, 10]) :]


def changed_text(samples: Sequence[str], *, lines: bool = True) -> Make:
    """Inputs that are one of the texts with a few changes of characters and lines; now and then any text."""

    def make(source: Source) -> str:
        if source.happens(20):
            return source.text()
        text = source.pick(samples)
        for _ in range(source.number(0, 4)):
            text = _change_line(source, text) if lines and source.happens(2) else _edit(source, text)
            text = text[:TEXT_MAX]
        return text

    return make


def _change_line(source: Source, text: str) -> str:
    parts = text.split("\r\n")
    at, other = (source.number(0, len(parts) - 1) for _ in range(2))
    match source.number(0, 4):
        case 0:
            del parts[at]
        case 1:
            parts[at:at] = [parts[other]] * source.pick([1, 2, 100])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            name, colon, value = parts[at].partition(":")
            words = value.split(" ")
            words[source.number(0, len(words) - 1)] = (
                source.text() if source.happens(2) else str(source.pick(NUMBERS))
            )
            parts[at] = name + colon + " ".join(words)
        case _:
            parts.insert(at, source.text())
    return source.pick(["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"]).join(parts)


def any_of(*makers: Make) -> Make:
    """Inputs of one of these kinds."""
    return lambda source: source.pick(makers)(source)


def from_hypothesis(make: Make) -> st.SearchStrategy[Any]:
    """The inputs as a strategy."""

    @st.composite
    def drawn(draw: Any) -> Any:
        return make(Source(lambda low, high: draw(st.integers(low, high))))

    return drawn()


def from_random(seed: int) -> Source:
    """A source of random choices."""
    generator = random.Random(seed)
    uniform = generator.random
    return Source(lambda low, high: low + int(uniform() * (high - low + 1)))
