"""``meeshy simulate``: runs a load test and ends with its verdict as exit code.

Starts, shows and ends; running and judging are done in simulator/, which is imported only when it is needed. The options
are in simulate_options.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer
import uvloop

from meeshy_sfu.cli import console, selftest
from meeshy_sfu.cli.simulate_options import (
    TOKEN_VARIABLE,
    OutputOptions,
    SimulateOptions,
    given_variables,
    known_variables,
    takes_options,
)
from meeshy_sfu.private_files import make_new_files_private

if TYPE_CHECKING:
    from simulator.report.live import LiveTable, PhaseLines
    from simulator.report.outputs import Outputs
    from simulator.runs.base import Run, Target
    from simulator.runs.suite import Suite, SuiteSummary
    from simulator.scenario import Scenario
    from simulator.summary import Summary

R = TypeVar("R")
S = TypeVar("S", bound="Summary | SuiteSummary")

ERROR_SCHEMA = "meeshy.error/1"
"""Version of the format in which `--json` prints an error of a run that has no summary."""
_MISSING = "this command needs the extra 'sim': pip install 'meeshy-sfu[sim]' ({} is missing)"


@takes_options
def simulate(options: SimulateOptions) -> None:
    """Fill a call with bots, measure it, and judge: exit code 0 pass, 3 below an objective, 4 void."""
    # runs hold secrets and logs of servers; this goes for every process that is started for one
    make_new_files_private()
    with errors_shown(as_json=options.as_json):
        from simulator.runs import suite

        refuse_unknown_variables()
        if options.scenario == selftest.NAME:
            refuse_debug_build()
            selftest.run_selftest(options)
        selftest.refuse_options_of_selftest(options)
        run_and_show(suite.load(options.scenario), options)


def run_and_show(chosen: Scenario | Suite, options: SimulateOptions) -> NoReturn:
    """Run a scenario or a suite, show what came out, and end with the verdict's exit code."""
    from simulator.runs import suite

    outputs = checked_outputs(options)
    with errors_written(outputs, chosen.name):
        refuse_debug_build()
        if isinstance(chosen, suite.Suite):
            _run_suite(chosen, options, outputs)
        _run_one(chosen, options, outputs)


def checked_outputs(options: OutputOptions) -> Outputs:
    """Check that the files for programs that were asked for can be written.

    Raises:
        UsageError: One cannot.
    """
    from simulator.report.outputs import Outputs

    return Outputs.checked(
        junit=options.junit, openmetrics=options.openmetrics, job_summary=options.job_summary
    )


@contextlib.contextmanager
def errors_written(outputs: Outputs, name: str) -> Iterator[None]:
    """Write an error that ends the block into the files for programs, too."""
    from simulator.errors import OutputError, SimulatorError

    try:
        yield
    except OutputError:
        raise
    except SimulatorError as error:
        outputs.write_error(name, str(error))
        raise


def show(summary: Summary, directory: Path, *, as_json: bool, code: int | None = None) -> NoReturn:
    """Print a summary and end with its exit code, or another one."""
    from simulator.report.live import verdict_panel
    from simulator.report.write import EXIT_CODES, title

    if as_json:
        console.line(summary.to_json().rstrip("\n"))
    else:
        console.out.print(verdict_panel(summary, title(summary)), soft_wrap=False)
        for what in summary.left_out:
            console.line(f"left out: {what}")
        # Not in the panel, where a long path would be cut.
        console.line(f"report: {directory / 'report.html'} (as text: report.md)")
    raise typer.Exit(EXIT_CODES[summary.verdict] if code is None else code)


def show_suite(whole: SuiteSummary, directory: Path, *, as_json: bool, code: int | None = None) -> NoReturn:
    """Print the summaries of several runs and end with the exit code of the worst, or another one."""
    from simulator.report.live import verdict_panel
    from simulator.report.write import EXIT_CODES, title, verdict_words

    if as_json:
        console.line(whole.to_json().rstrip("\n"))
    else:
        for part in whole.parts:
            panel = verdict_panel(part.summary, title(part.summary), part.title)
            console.out.print(panel, soft_wrap=False)
        console.line(f"{whole.name}: {verdict_words(whole.verdict)}")
        console.line(f"report: {directory / 'report.html'} (as text: report.md)")
    raise typer.Exit(EXIT_CODES[whole.verdict] if code is None else code)


def parts_of(whole: SuiteSummary) -> list[tuple[str, str | None, Summary]]:
    """Return folder, title and summary of each part of a suite, as files for programs take them."""
    return [(part.folder, part.title, part.summary) for part in whole.parts]


@contextlib.contextmanager
def errors_shown(*, as_json: bool) -> Iterator[None]:
    """Print an error of the block, as JSON too if that was asked for, and end with its exit code."""
    try:
        from simulator.errors import SimulatorError

        yield
    except typer.Exit:
        raise
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] in ("meeshy_sfu", "simulator"):
            raise
        _fail(_MISSING.format(error.name), console.EXIT_USAGE, as_json=as_json)
    except SimulatorError as error:
        _fail(str(error), error.exit_code, as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.notice("interrupted; nothing was kept")
        _print_error("interrupted", console.EXIT_INTERRUPTED, as_json=as_json)
        raise typer.Exit(console.EXIT_INTERRUPTED) from None
    except Exception as error:
        # cli.main prints the trace of what was not foreseen
        if not isinstance(error, BrokenPipeError):
            reason = f"unexpected {type(error).__name__}: {error}; the trace is on standard error"
            _print_error(reason, console.EXIT_ERROR, as_json=as_json)
        raise


def _fail(text: str, code: int, *, as_json: bool) -> NoReturn:
    console.notice(f"error: {text}")
    _print_error(text, code, as_json=as_json)
    raise typer.Exit(code) from None


def _print_error(reason: str, code: int, *, as_json: bool) -> None:
    if as_json:
        console.data({"schema": ERROR_SCHEMA, "verdict": "error", "reasons": [reason], "exit_code": code})


def _run_one(chosen: Scenario, options: SimulateOptions, outputs: Outputs) -> NoReturn:
    from simulator.runs.options import refuse_unused, with_options

    refuse_unused(options, chosen.name, [chosen])
    scenario = with_options(chosen, options)
    _warn_of_own_network([scenario])
    heading = (
        f"{scenario.name}: {scenario.participants.count} participants, {scenario.participants.bots} bots"
    )
    signals = Signals()

    def run(out: Path | None) -> tuple[Path, Summary]:
        live = live_view(options, heading)
        return execute(signals.take(make_run(scenario, out, options, live)).execute, live, signals)

    directory, summary = until_not_void(
        run, out=options.out, retries=options.retry_void, ended=lambda: signals.exit_code is not None
    )
    outputs.write([("", None, summary)], directory / "report.html")
    show(summary, directory, as_json=options.as_json, code=signals.exit_code)


def _run_suite(chosen: Suite, options: SimulateOptions, outputs: Outputs) -> NoReturn:
    from simulator.errors import UsageError
    from simulator.runs import suite
    from simulator.runs.base import pattern_of
    from simulator.runs.options import refuse_unused, with_options

    refuse_unused(options, chosen.name, [part.scenario for part in chosen.parts])
    if options.server is not None and len({pattern_of(p.scenario).target_is for p in chosen.parts}) > 1:
        raise UsageError(
            f"--server: the parts of {chosen.name} need a gateway and a media server; run its scenarios one by one"
        )
    whole = chosen.with_values(lambda scenario: with_options(scenario, options))
    _warn_of_own_network([part.scenario for part in whole.parts])
    signals = Signals()

    def run(out: Path | None) -> tuple[Path, SuiteSummary]:
        live = live_view(options, f"{whole.name}: {whole.description}")
        return execute(
            lambda: suite.execute(
                whole,
                lambda scenario, place: signals.take(make_run(scenario, place, options, live)),
                state=options.state_dir,
                out=out,
                watcher=live,
            ),
            live,
            signals,
        )

    directory, summary = until_not_void(
        run, out=options.out, retries=options.retry_void, ended=lambda: signals.exit_code is not None
    )
    outputs.write(parts_of(summary), directory / "report.html")
    show_suite(summary, directory, as_json=options.as_json, code=signals.exit_code)


def _warn_of_own_network(scenarios: Iterable[Scenario]) -> None:
    from simulator.runs.own_network import out_of_reach

    for sentence in dict.fromkeys(sentence for one in scenarios for sentence in out_of_reach(one)):
        console.notice(f"warning: {sentence}")


def until_not_void(
    run: Callable[[Path | None], tuple[Path, S]],
    *,
    out: Path | None,
    retries: int,
    ended: Callable[[], bool],
) -> tuple[Path, S]:
    """Run, and again while the run is void and retries are left; returns directory and summary of the last run.

    A run after which `ended` holds, because a signal came, is the last.

    Each run keeps its directory: repeated ones have a number behind the name that was asked for.
    """
    number = 0
    while True:
        place = out if out is None or number == 0 else out.with_name(f"{out.name}-{number}")
        directory, summary = run(place)
        if summary.verdict != "void" or number == retries or ended():
            return directory, summary
        number += 1
        console.notice(f"void, kept in {directory}; run again, {number} of at most {retries}")


def make_run(
    scenario: Scenario, out: Path | None, options: SimulateOptions, live: LiveTable | PhaseLines
) -> Run:
    """Prepare a run of a scenario."""
    from simulator.runs.base import pattern_of

    pattern = pattern_of(scenario)
    target = _target(options, is_gateway=pattern.target_is == "gateway")
    return pattern.make_run(scenario, state=options.state_dir, out=out, target=target, watcher=live)


def live_view(options: SimulateOptions, title: str) -> LiveTable | PhaseLines:
    """Choose how progress is shown: as a table on a terminal, as lines elsewhere, never within JSON."""
    from simulator.report.live import LiveTable, PhaseLines

    place = console.err if options.as_json or not console.out.is_terminal else console.out
    return LiveTable(place, title) if place.is_terminal else PhaseLines(place, title)


class Signals:
    """The signals that end a run early. The first ends the run that goes on, which is judged; a second leaves nothing."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._first: signal.Signals | None = None

    @property
    def exit_code(self) -> int | None:
        """What to end with instead of the verdict's code: 128 and the number of the signal, as shells do."""
        ended = self._run is not None and self._run.interrupted is not None
        return 128 + self._first if self._first is not None and ended else None

    def take(self, run: Run) -> Run:
        """Let signals end this run from now on."""
        self._run = run
        if self._first is not None:
            run.interrupt(self._first.name)
        return run

    def listen(self, task: asyncio.Task[Any]) -> None:
        """Listen for signals; what cancels everything is this task."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(ValueError, OSError):
                asyncio.get_running_loop().add_signal_handler(number, self._came, number, task)

    def _came(self, number: signal.Signals, task: asyncio.Task[Any]) -> None:
        if self._first is None and self._run is not None:
            self._first = number
            console.notice(
                f"{number.name}: ending the run; what was measured is judged (again: keep nothing)"
            )
            self._run.interrupt(number.name)
        else:
            task.cancel()


def execute(work: Callable[[], Coroutine[Any, Any, R]], live: LiveTable | PhaseLines, signals: Signals) -> R:
    """Do the work of a command in an event loop, with progress and signals; returns what it returns."""

    async def until_done() -> R:
        if (task := asyncio.current_task()) is not None:
            signals.listen(task)
        return await work()

    with live:
        return uvloop.run(until_done())


def _target(options: SimulateOptions, *, is_gateway: bool) -> Target | None:
    """Return the running server that was named, and how to be admitted to it; None to start one for the run."""
    from simulator.client.media_server import Credentials
    from simulator.client.shared_secret import development_secret, host_of, named_secret
    from simulator.client.tokens import CommandTokens
    from simulator.errors import UsageError
    from simulator.runs.base import Target

    server, command = options.server, options.token_command
    if command is not None and (server is None or not is_gateway):
        why = (
            "is for --server"
            if server is None
            else "is for gateways; a media server takes MEESHY_SIMULATE_TOKEN"
        )
        raise UsageError(f"--token-command {why}")
    if server is None:
        return None
    host = host_of(server, option="--server", example="http://127.0.0.1:3001")
    token = os.environ.get(TOKEN_VARIABLE)
    secret = named_secret()
    if token is None and secret is None:
        secret = development_secret(host, options.state_dir)
    if command is not None:
        return Target(server, Credentials(secret=secret), CommandTokens(command))
    if secret is None and (token is None or is_gateway):
        other = (
            "give --token-command"
            if is_gateway
            else "MEESHY_SIMULATE_TOKEN to a token with the role 'service'"
        )
        raise UsageError(
            f"bots cannot get in: set MEESHY_SIMULATE_SECRET to the server's JWT_SECRET, or {other}"
        )
    if is_gateway:
        return Target(server, Credentials(secret=secret))
    return Target(server, Credentials(secret=None if token else secret, token=token))


def refuse_unknown_variables() -> None:
    """Refuse variables with our prefix that mean nothing: a misspelt one would be ignored without a word."""
    from simulator.errors import UsageError

    for name in given_variables():
        if name not in known_variables():
            near = difflib.get_close_matches(name, known_variables(), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown variable {name} in the environment{hint}")


def refuse_debug_build() -> None:
    """Refuse a debug build, whose measurements say nothing."""
    from simulator.bots.native import build_profile
    from simulator.errors import SimulatorError

    profile = build_profile()
    if profile != "release":
        raise SimulatorError(
            f"the native module is a {profile} build, whose measurements say nothing; "
            "build it with `uv sync --reinstall-package meeshy-sfu`"
        )
