"""What a search varies: participants, calls or senders, and what that changes in a scenario.

Pure: makes the scenario of a number and refuses those that have no such number. Running is in run.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from simulator.errors import ScenarioError, UsageError
from simulator.runs.options import with_options
from simulator.scenario import COUNT, Scenario

Vary = Literal["participants", "calls", "senders"]
READY: dict[Vary, str] = {"participants": "group", "calls": "t2", "senders": "webinar"}
"""The scenario of a search that names none."""
_KEYS: dict[Vary, tuple[str, ...]] = {
    "participants": ("{pattern}.people", COUNT),
    "calls": ("{pattern}.calls",),
    "senders": ("{pattern}.senders",),
}
_LEAST: dict[Vary, int] = {"participants": 2, "calls": 1, "senders": 1}
_MOST = 1000
_WORDS = {"people": "participants in each call", "count": "participants"}


@dataclass(frozen=True, slots=True)
class Value:
    """A value that a scenario's key gets; see `Given` in runs/options.py."""

    flag: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Values:
    """All values that a scenario gets."""

    values: Sequence[Value]

    def given(self, pattern: str) -> Sequence[Value]:
        """Return them; their keys are those of the scenario's own pattern already."""
        return self.values


@dataclass(frozen=True, slots=True)
class Subject:
    """A scenario, and the number in it that is varied."""

    vary: Vary
    scenario: Scenario
    key: str
    """The path of the key that is varied."""

    @classmethod
    def of(cls, vary: Vary, scenario: Scenario) -> Subject:
        """Return what to vary in a scenario.

        Raises:
            UsageError: It has no such number.
        """
        for pattern_key in _KEYS[vary]:
            key = pattern_key.format(pattern=scenario.pattern)
            if scenario.takes(key) and _has(scenario, key):
                return cls(vary, scenario, key)
        raise UsageError(
            f"--vary {vary}: the scenario {scenario.name!r} has no number of {vary} to change; "
            f"try {READY[vary]}, or leave the scenario out"
        )

    @property
    def words(self) -> str:
        """What is counted, in words."""
        name = self.key.rpartition(".")[2]
        return _WORDS.get(name, "senders in each call" if name == "senders" else name)

    @property
    def least(self) -> int:
        """The smallest number that makes sense."""
        return _LEAST[self.vary]

    def at(self, number: int) -> Scenario:
        """Return the scenario with this number.

        Raises:
            ScenarioError: It cannot have so many.
        """
        return with_options(self.scenario, Values([Value(f"--vary {self.vary}", self.key, number)]))

    def most(self) -> int:
        """Return the largest number that the scenario can have."""
        low, high = self.least, _MOST + 1
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self.at(middle)
                low = middle
            except ScenarioError:
                high = middle
        return low

    def range(self, start: int | None, stop: int | None) -> tuple[int, int]:
        """Return where to search.

        Raises:
            UsageError: The bounds are no range, or the scenario cannot have so many.
        """
        first = self.least if start is None else start
        if first < self.least:
            raise UsageError(f"--from {first}: the smallest number of {self.words} is {self.least}")
        last = self.most() if stop is None else stop
        if last < first:
            raise UsageError(f"--to {last} is below --from {first}")
        for flag, number in (("--from", first), ("--to", last)):
            try:
                self.at(number)
            except ScenarioError as error:
                raise UsageError(
                    f"{flag} {number}: {error}\nthe largest number of {self.words} is {self.most()}"
                ) from error
        return first, last


def with_values(scenario: Scenario, values: Sequence[Value]) -> Scenario:
    """Return the scenario with these values.

    Raises:
        UsageError: Its pattern does not use one of them.
    """
    for value in values:
        if not scenario.takes(value.key):
            raise UsageError(f"{value.flag}: the scenario {scenario.name!r} does not take this option")
    return with_options(scenario, Values(values))


def _has(scenario: Scenario, key: str) -> bool:
    """Return whether the key is one of the scenario's model."""
    value: Any = scenario
    for part in key.split("."):
        value = getattr(value, part, dataclasses.MISSING)
    return value is not dataclasses.MISSING
