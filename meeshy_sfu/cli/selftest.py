"""``meeshy simulate selftest``: whether verdicts name what is broken; ends with 0, 3 or 4 as any run does.

Reads the options, shows each result and ends; the self-test itself is in simulator/selftest/, imported when it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

import typer
import uvloop

from meeshy_sfu.cli import console
from meeshy_sfu.cli.simulate_options import SimulateOptions

if TYPE_CHECKING:
    from pathlib import Path

    from simulator.selftest.run import SelfTest, SelfTestSummary

NAME = "selftest"
"""In place of a scenario."""


def run_selftest(options: SimulateOptions) -> NoReturn:
    """Run the self-test with these options and end with its exit code.

    Raises:
        UsageError: An option is for scenarios only, or there is no such fault.
    """
    from simulator.report.live import PhaseLines, Watcher
    from simulator.report.write import EXIT_CODES
    from simulator.selftest.case import DURATION_S, SHORT_S
    from simulator.selftest.cases import cases
    from simulator.selftest.run import SelfTest, choose

    _refuse_options_of_scenarios(options)
    chosen = choose(cases(), short=options.short, faults=options.fault or ())

    class Results(Watcher):
        def begin(self, title: str) -> None:
            place.print(title, soft_wrap=True, markup=False, highlight=False)

    place = console.err if options.as_json else console.out
    watcher = Results() if not place.is_terminal else PhaseLines(place, NAME)
    test = SelfTest(
        chosen,
        state=options.state_dir,
        out=options.out,
        seed=1 if options.seed is None else options.seed,
        duration_s=SHORT_S if options.short else DURATION_S,
        watcher=watcher,
    )
    directory, summary = uvloop.run(_cancellable(test))
    if options.as_json:
        console.line(summary.to_json().rstrip("\n"))
    else:
        console.line(f"{NAME}: {_words(summary)}")
        console.line(f"report: {directory / 'report.md'} (for programs: selftest.json)")
    raise typer.Exit(EXIT_CODES[summary.verdict])


def refuse_options_of_selftest(options: SimulateOptions) -> None:
    """Refuse what only the self-test has.

    Raises:
        UsageError: One of them was given.
    """
    from simulator.errors import UsageError

    given = [flag for flag, value in (("--short", options.short), ("--fault", options.fault)) if value]
    if given:
        raise UsageError(f"{given[0]} is for `meeshy simulate {NAME}`; {options.scenario} does not have it")


def _refuse_options_of_scenarios(options: SimulateOptions) -> None:
    from simulator.errors import UsageError

    given = [one.flag for one in options.given("group") if one.flag != "--seed"]
    given += [
        flag
        for flag, value in (
            ("--server", options.server),
            ("--retry-void", options.retry_void),
            ("--junit", options.junit),
            ("--job-summary", options.job_summary),
            ("--openmetrics", options.openmetrics),
        )
        if value
    ]
    if given:
        raise UsageError(
            f"{given[0]} is for scenarios; the self-test sets it for each fault (it takes --short, --fault, --seed, "
            "--out, --json and --state-dir)"
        )


async def _cancellable(test: SelfTest) -> tuple[Path, SelfTestSummary]:
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, OSError):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await test.execute()


def _words(summary: SelfTestSummary) -> str:
    count = len(summary.results)
    missed = sum(result.outcome == "missed" for result in summary.results)
    void = sum(result.outcome == "void" for result in summary.results)
    if missed:
        return f"FAIL: {missed} of {count} verdicts did not say what was done"
    if void:
        return f"VOID: {void} of {count} runs could not be judged; run it on a quieter machine"
    return f"PASS: all {count} verdicts said what was done"
