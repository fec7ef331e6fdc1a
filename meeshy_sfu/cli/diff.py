"""``meeshy diff``: which figures moved between two runs, and whether by more than their intervals."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.simulate import errors_shown

SCHEMA = "meeshy.diff/1"
_WORSE = 3
_UNJUDGED = 4


def diff(
    *,
    first_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run to compare with.")],
    second_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The run that is compared.")],
    fail_on_worse: Annotated[
        bool,
        typer.Option(
            "--fail-on-worse", help="End with 3 if a figure is worse, 4 if a run is void or an error."
        ),
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare runs whose scenario, participants or media differ.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare the figures of two runs with their intervals; the second is worse or better than the first."""
    with errors_shown(as_json=as_json):
        from simulator.analysis.comparison import differences
        from simulator.errors import UsageError
        from simulator.report.figures import number
        from simulator.report.finished import FinishedRun, obstacles, refuse_repeated, warnings

        refuse_repeated([first_dir, second_dir])
        first, second = FinishedRun.read(first_dir), FinishedRun.read(second_dir)
        why = obstacles(first, second)
        if why and not anyway:
            raise UsageError(f"these runs cannot be compared: {'; '.join(why)} (--anyway compares them)")
        notes = [*why, *warnings(first, second)]
        found = differences(first.summary, second.summary)
        if as_json:
            rows = [
                asdict(one)
                | {
                    "first_interval": one.first_interval and one.first_interval.model_dump(),
                    "second_interval": one.second_interval and one.second_interval.model_dump(),
                    "worse": one.is_worse,
                }
                for one in found
            ]
            console.data({"schema": SCHEMA, "warnings": notes, "figures": rows})
        else:
            for note in notes:
                console.notice(f"warning: {note}")
            shown = [
                [
                    one.path,
                    number(one.first),
                    number(one.second),
                    one.change + (", objective broken" * one.objective_broken),
                ]
                for one in found
                if one.change != "same" or one.objective_broken
            ]
            console.table(
                "what moved", ["figure", str(first_dir), str(second_dir), "change"], shown, whole=["figure"]
            )
        if fail_on_worse and {first.summary.verdict, second.summary.verdict} & {"void", "error"}:
            raise typer.Exit(_UNJUDGED)
        raise typer.Exit(_WORSE if fail_on_worse and any(one.is_worse for one in found) else 0)
