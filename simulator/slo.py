"""SLOs: comparisons on the figures of a summary, such as ``latency_ms.video.p95<100``.

Reads, checks and compares. Which figures there are and what must hold by default is declared in summary.py.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from simulator.errors import SloError
from simulator.figure_types import number_at
from simulator.summary import figure_at, figure_paths, figures

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
    """The result of one SLO."""

    expression: str
    """The comparison as it was applied."""
    value: Number | None
    """The figure; None when the run did not measure it."""
    limit: Number | None
    """What it was compared with."""
    passed: bool | None
    """None when a default does not apply because its figure was not measured."""

    def sentence(self) -> str:
        """Return it as a sentence."""
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
        value = number_at(summary, self.path)
        limit = number_at(summary, self.limit) if isinstance(self.limit, str) else self.limit
        if value is None or limit is None:
            return Outcome(str(self), value, limit, None if self.optional else False)
        return Outcome(str(self), value, limit, _OPERATORS[self.op](value, limit))

    def __str__(self) -> str:
        return f"{self.path}{self.op}{self.limit if isinstance(self.limit, str) else _short(self.limit)}"


def meaning(expression: str) -> str:
    """Return in plain words, with its unit, what an objective is about; empty for a number that is no figure."""
    figure = figure_at(Slo.parse(expression).path)
    if figure is None:
        return ""
    return f"{figure.label}, {figure.unit}" if figure.unit else figure.label


def objectives(expressions: Iterable[str]) -> tuple[Slo, ...]:
    """Return the default objectives and those of a run; an expression replaces the defaults for the same figure.

    Raises:
        SloError: One of them cannot be read.
    """
    own = tuple(Slo.parse(text) for text in expressions)
    named = {slo.path for slo in own}
    return tuple(slo for slo in DEFAULTS if slo.path not in named) + own


def _known(path: str, text: str) -> str:
    known = figure_paths()
    # A share and a sum may be named without saying so.
    for short in (f"{path}.ratio", f"{path}.total"):
        if path not in known and short in known:
            return short
    if path not in known:
        near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "see simulator/summary.schema.json for the figures"
        )
        raise SloError(f"SLO {text!r}: the summary has no figure {path!r}; {hint}")
    return path


def _short(value: Number) -> str:
    return f"{value:.6g}"


DEFAULTS: tuple[Slo, ...] = tuple(
    replace(Slo.parse(expression), optional=True) for figure in figures() for expression in figure.objectives
)
"""What a call must hold unless the run says otherwise; declared with the figures, from the plan's acceptance criteria."""
