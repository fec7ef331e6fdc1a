"""``meeshy capacity``: searches for the largest number of participants, calls or senders that a server holds.

Reads the options, shows what was found and ends; the search is in simulator/capacity/, imported when it is needed.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.simulate import (
    Signals,
    errors_shown,
    execute,
    live_view,
    make_run,
    refuse_debug_build,
    refuse_unknown_variables,
)
from meeshy_sfu.cli.simulate_options import SimulateOptions, StateDirectory
from meeshy_sfu.private_files import make_new_files_private

if TYPE_CHECKING:
    from simulator.capacity.result import CapacitySummary
    from simulator.capacity.search import SearchLimits
    from simulator.capacity.subject import Subject, Value
    from simulator.scenario import Scenario

STEP_S = 20.0
"""How long each run measures unless it is said."""


class Vary(StrEnum):
    """What can be varied."""

    PARTICIPANTS = "participants"
    CALLS = "calls"
    SENDERS = "senders"


def capacity(
    *,
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="A ready scenario or a .toml file whose number is varied; default: group with native bots (participants), "
            "t2 (calls), webinar (senders)."
        ),
    ] = None,
    vary: Annotated[
        Vary,
        typer.Option("--vary", help="participants of the call, calls at once, or senders of each call."),
    ],
    start: Annotated[
        int | None, typer.Option("--from", help="Smallest number, which is tried first; default: 2 or 1.")
    ] = None,
    stop: Annotated[
        int | None, typer.Option("--to", help="Largest number; default: as many as the scenario can have.")
    ] = None,
    step_duration: Annotated[
        float | None,
        typer.Option("--step-duration", help=f"Seconds that each run measures; default {STEP_S:g}."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", help="Runs at each side of the edge.", min=1, max=100)
    ] = 3,
    slo: Annotated[
        list[str] | None,
        typer.Option("--slo", help="As of simulate: an objective that must hold; may be given again."),
    ] = None,
    precision: Annotated[
        float,
        typer.Option("--precision", help="Percent of the number that the edge may stay wide.", min=0, max=50),
    ] = 0.0,
    retry_void: Annotated[
        int,
        typer.Option(
            "--retry-void", help="Void runs in a row that are repeated before a number is given up.", min=0
        ),
    ] = 2,
    max_runs: Annotated[int, typer.Option("--max-runs", help="Runs at most.", min=1)] = 60,
    max_time: Annotated[
        float | None, typer.Option("--max-time", help="Seconds after which no further run begins.", min=1)
    ] = None,
    bots: Annotated[str | None, typer.Option("--bots", help="As of simulate.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="As of simulate.")] = None,
    server: Annotated[str | None, typer.Option("--server", help="As of simulate.")] = None,
    token_command: Annotated[str | None, typer.Option("--token-command", help="As of simulate.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Directory to make; default: a new one in the state directory."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print capacity.json instead of sentences.")
    ] = False,
    state_dir: StateDirectory = Path(".meeshy"),
) -> None:
    """Search for the largest number that holds every objective; exit code 0 found, 3 not even --from, 4 not decided."""
    make_new_files_private()
    with errors_shown(as_json=as_json):
        from simulator.capacity.search import SearchLimits
        from simulator.capacity.subject import READY, Subject, Value
        from simulator.scenario import Scenario

        refuse_unknown_variables()
        refuse_debug_build()
        chosen = Scenario.load(scenario or READY[vary.value])
        kinds = bots or ("native" if scenario is None else None)
        given = {"--bots": ("participants.bots", kinds), "--seed": ("seed", seed)}
        values = [Value(flag, key, value) for flag, (key, value) in given.items() if value is not None]
        values += _measured(chosen, step_duration)
        values += [Value("--slo", "slo", slo)] if slo else []
        subject = Subject.of(vary.value, _changed(chosen, values))
        first, last = subject.range(start, stop)
        limits = SearchLimits(
            start=first,
            stop=last,
            repeats=repeats,
            void_retries=retry_void,
            precision=precision / 100,
            max_runs=max_runs,
            max_s=math.inf if max_time is None else max_time,
        )
        options = SimulateOptions(
            scenario=chosen.name,
            server=server,
            token_command=token_command,
            out=out,
            as_json=as_json,
            state_dir=state_dir,
        )
        _search(subject, limits, options)


def _measured(scenario: Scenario, step_duration: float | None) -> list[Value]:
    """Return how long each run measures; a scenario that ends by itself is left as it is."""
    from simulator.capacity.subject import Value

    key = "hold.duration_s"
    if step_duration is None and not scenario.takes(key):
        return []
    return [Value("--step-duration", key, STEP_S if step_duration is None else step_duration)]


def _changed(scenario: Scenario, values: list[Value]) -> Scenario:
    from simulator.capacity.subject import with_values

    return with_values(scenario, values)


def _search(subject: Subject, limits: SearchLimits, options: SimulateOptions) -> NoReturn:
    from simulator.capacity.run import CapacitySearch
    from simulator.report.write import EXIT_CODES

    live = live_view(options, f"capacity: {subject.words} from {limits.start} to {limits.stop}")
    signals = Signals()
    search = CapacitySearch(
        subject,
        limits,
        lambda scenario, place: signals.take(make_run(scenario, place, options, live)),
        state=options.state_dir,
        out=options.out,
        watcher=live,
    )
    directory, summary = execute(search.execute, live, signals)
    _show(summary, directory, as_json=options.as_json)
    code = signals.exit_code
    raise typer.Exit(EXIT_CODES[summary.verdict] if code is None else code)


def _show(summary: CapacitySummary, directory: Path, *, as_json: bool) -> None:
    if as_json:
        console.line(summary.to_json().rstrip("\n"))
        return
    for text in summary.statement:
        console.line(text)
    console.line(f"report: {directory / 'report.html'} (as text: report.md; for programs: capacity.json)")
