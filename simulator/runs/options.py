"""Options of the command line in a scenario: those that its pattern acts on take effect, all others are refused.

Which options there are, and which key each sets, the command line says; which keys a pattern uses, the pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from simulator.errors import UsageError
from simulator.runs.base import pattern_of
from simulator.runs.suite import parts_of
from simulator.scenario import COUNT, Scenario, nested, ready_scenarios


class Given(Protocol):
    """An option that was given."""

    @property
    def flag(self) -> str:
        """As it is written on the command line."""

    @property
    def key(self) -> str:
        """The path of the key that it sets."""

    @property
    def value(self) -> Any:
        """What it sets."""


class Options(Protocol):
    """All options of a run."""

    def given(self, pattern: str) -> Sequence[Given]:
        """List those that were given, with the keys they set in a scenario of this pattern."""


def with_options(scenario: Scenario, options: Options) -> Scenario:
    """Return the scenario with those options in place of its own values that it takes.

    Raises:
        ScenarioError: A value is wrong.
    """
    taken = {one.key: one for one in options.given(scenario.pattern) if scenario.takes(one.key)}
    changes = nested({key: one.value for key, one in taken.items() if key != COUNT})
    flags = {key: one.flag for key, one in taken.items()}
    if "slo" in taken:
        changes["slo"] = [*scenario.slo, *taken["slo"].value]
    if COUNT in taken:
        own = changes.get(scenario.pattern, {})
        for table, values in pattern_of(scenario).spread(scenario, taken[COUNT].value, own).items():
            changes[table] = {**changes.get(table, {}), **values}
            flags |= {f"{table}.{key}": taken[COUNT].flag for key in values}
    return scenario.with_values(changes, source="these options", flags=flags)


def refuse_unused(options: Options, name: str, scenarios: Sequence[Scenario]) -> None:
    """Refuse an option that no scenario of a run takes.

    Raises:
        UsageError: There is one.
    """

    def takes(scenario: Scenario, flag: str) -> bool:
        return any(one.flag == flag and scenario.takes(one.key) for one in options.given(scenario.pattern))

    for flag in [one.flag for one in options.given(scenarios[0].pattern)]:
        if not any(takes(scenario, flag) for scenario in scenarios):
            ready = [ready for ready in ready_scenarios() if any(takes(one, flag) for one in parts_of(ready))]
            known = f"; scenarios that do: {', '.join(ready)}" if ready else ""
            raise UsageError(f"{flag}: the scenario {name!r} does not take this option{known}")
