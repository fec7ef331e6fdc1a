"""SLOs: comparisons on the figures of a summary, such as ``latency_ms.video.p95<100``.

Reads, checks and compares; the figures come from report/write.py.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simulator.errors import SloError
from simulator.samples.end_state import FILES, SOCKETS, TASKS
from simulator.summary import figure_paths

Number = int | float

_OPERATORS: dict[str, Callable[[Number, Number], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_EXPRESSION = re.compile(
    r"\s*(?P<path>[A-Za-z_][\w.]*)\s*(?P<op><=|>=|==|!=|<|>|=)\s*"
    r"(?:(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?P<percent>\s*%)?|(?P<other>[A-Za-z_][\w.]*))\s*"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one SLO."""

    expression: str
    """The comparison as it was applied."""
    value: Number | None
    """The figure; None when the run did not measure it."""
    limit: Number | None
    """What it was compared with."""
    passed: bool | None
    """None when a default does not apply because its figure was not measured."""

    def sentence(self) -> str:
        """Say it for people."""
        if self.passed is None:
            return f"{self.expression} does not apply: not measured"
        if self.value is None or self.limit is None:
            return f"{self.expression} cannot be judged: not measured"
        return f"{self.expression} {'holds' if self.passed else 'is broken'}: {_short(self.value)}"


@dataclass(frozen=True, slots=True)
class Slo:
    """One comparison of a figure with a number, or with another figure.

    Example:
        ```python
        from simulator.slo import Slo

        slo = Slo.parse("latency_ms.video.p95 < 100")
        assert slo.judge({"latency_ms": {"video": {"p95": 21.5}}}).passed
        ```
    """

    path: str
    """The figure, as its path in summary.json."""
    op: str
    limit: Number | str
    """A number, or the path of another figure."""
    optional: bool = False
    """A default that is left out when its figure was not measured."""

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Read ``path operator number``; `5%` is 0.05, and another figure may stand for the number.

        Raises:
            SloError: It is no comparison, or names a figure the summary does not have.
        """
        match = _EXPRESSION.fullmatch(text)
        if match is None:
            raise SloError(
                f"cannot read SLO {text!r}: write FIGURE OPERATOR VALUE, for example "
                "latency_ms.video.p95<100 (operators: < <= > >= == !=)"
            )
        path = _known(match["path"], text)
        op = "==" if match["op"] == "=" else match["op"]
        limit: Number | str
        if match["other"]:
            limit = _known(match["other"], text)
        else:
            number = float(match["number"])
            number = number / 100 if match["percent"] else number
            limit = int(number) if number.is_integer() else number
        return cls(path, op, limit)

    def judge(self, summary: Mapping[str, Any]) -> Outcome:
        """Compare with a summary's figures. What was not measured breaks the SLO, unless it is a default."""
        value = _figure(summary, self.path)
        limit = _figure(summary, self.limit) if isinstance(self.limit, str) else self.limit
        if value is None or limit is None:
            return Outcome(str(self), value, limit, None if self.optional else False)
        return Outcome(str(self), value, limit, _OPERATORS[self.op](value, limit))

    def __str__(self) -> str:
        return f"{self.path}{self.op}{self.limit if isinstance(self.limit, str) else _short(self.limit)}"


DEFAULTS: tuple[Slo, ...] = tuple(
    replace(Slo(*parts), optional=True)
    for parts in (
        ("streams.flowing", "==", "streams.expected"),
        ("latency_ms.audio.p95", "<", 100),
        ("latency_ms.video.p95", "<", 100),
        ("loss.ratio", "<", 0.02),
        ("foreign_frames", "==", 0),
        ("dropped_calls", "==", 0),
        ("decoded.freezes", "==", 0),
        ("join_ms.p95", "<", 2000),
        ("transition_ms.to_sfu.p95", "<", 2000),
        ("transition_ms.to_p2p.p95", "<", 2000),
        ("transition_ms.failed", "==", 0),
        ("recovery_ms.p95", "<", 3000),
        ("gap_ms.audio.p95", "<", 100),
        ("gap_ms.audio.max", "<", 300),
        ("gap_ms.video.p95", "<", 100),
        ("gap_ms.video.max", "<", 300),
        ("leftovers.rooms", "==", 0),
        ("leftovers.calls", "==", 0),
        ("leftovers.people", "==", 0),
        ("leftovers.contradictions", "==", 0),
        ("leftovers.sockets", "<=", SOCKETS),
        ("leftovers.files", "<=", FILES),
        ("leftovers.tasks", "<=", TASKS),
        ("server.cpu_core_percent", "<", 80),
    )
)
"""What a call must hold unless the run says otherwise: the plan's acceptance criteria.

`decoded.freezes` counts pictures that stood still for over 500 ms at bots that decode.
"""


_MEANINGS = {
    "streams.flowing": "everybody sees and hears everybody",
    "latency_ms.audio": "delay of sound, ms",
    "latency_ms.video": "delay of pictures, ms",
    "loss.ratio": "packets that never came",
    "foreign_frames": "frames that reached the wrong person",
    "dropped_calls": "calls that broke off",
    "decoded.freezes": "pictures that stood still for over 500 ms",
    "join_ms": "time to join, ms",
    "transition_ms.to_sfu": "time to move to the media server, ms",
    "transition_ms.to_p2p": "time to move back to peer to peer, ms",
    "transition_ms.failed": "moves that failed",
    "recovery_ms": "standstill after something was killed, ms",
    "gap_ms.audio": "pause in sound around a move, ms",
    "gap_ms.video": "pause in pictures around a move, ms",
    "leftovers.rooms": "rooms left on the media server",
    "leftovers.calls": "calls left in the database",
    "leftovers.people": "people left in calls in the database",
    "leftovers.contradictions": "rows that are not what people lived through",
    "leftovers.sockets": "sockets left open by a service",
    "leftovers.files": "files left open by a service",
    "leftovers.tasks": "jobs left running in a service",
    "server.cpu_core_percent": "media server, % of a core",
}


def meaning(expression: str) -> str:
    """Say in plain words what an objective is about; empty for figures that need no words."""
    path = Slo.parse(expression).path
    figure = next((name for name in _MEANINGS if path == name or path.startswith(name + ".")), None)
    return "" if figure is None else _MEANINGS[figure]


def objectives(expressions: Iterable[str]) -> tuple[Slo, ...]:
    """Put expressions over the defaults: one for the same figure replaces the default for it.

    Raises:
        SloError: One of them cannot be read.
    """
    own = tuple(Slo.parse(text) for text in expressions)
    named = {slo.path for slo in own}
    return tuple(slo for slo in DEFAULTS if slo.path not in named) + own


def _known(path: str, text: str) -> str:
    known = figure_paths()
    if path not in known:
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "see simulator/summary.schema.json for the figures"
        )
        raise SloError(f"SLO {text!r}: the summary has no figure {path!r}; {hint}")
    return path


def _figure(summary: Mapping[str, Any], path: str) -> Number | None:
    value: Any = summary
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _short(value: Number) -> str:
    return f"{value:.6g}"
