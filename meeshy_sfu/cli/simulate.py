"""``meeshy simulate``: runs a load test and ends with its verdict as exit code.

Reads options and shows; running and judging are done in simulator/, which is imported only when it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import ipaddress
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import typer
import uvloop

from meeshy_sfu.cli import console
from meeshy_sfu.private_files import DIRECTORY_MODE

if TYPE_CHECKING:
    from simulator.report.live import LiveTable, PhaseLines
    from simulator.runs.base import Run
    from simulator.runs.group import Target
    from simulator.runs.suite import SuiteSummary
    from simulator.scenario import Scenario
    from simulator.summary import Summary

R = TypeVar("R")

PREFIX = "MEESHY_SIMULATE_"
"""Every option is also a variable with this prefix."""
_SECRET_VARIABLES = (f"{PREFIX}SECRET", "MEESHY_JWT_SECRET", "JWT_SECRET")
_MISSING = "this command needs the extra 'sim': pip install 'meeshy-sfu[sim]' ({} is missing)"


_known_variables = {f"{PREFIX}SECRET", f"{PREFIX}TOKEN"}


def _option(name: str, text: str, **more: Any) -> Any:
    variable = PREFIX + name.partition("/")[0].upper().replace("-", "_")
    _known_variables.add(variable)
    return typer.Option(f"--{name}", envvar=variable, help=text, **more)


def simulate(
    *,
    scenario: Annotated[
        str,
        typer.Argument(
            help="A ready scenario (demo, group, switch, churn, storm), or the path of a .toml file."
        ),
    ],
    participants: Annotated[int | None, _option("participants", "People in the call.")] = None,
    bots: Annotated[
        str | None,
        _option(
            "bots",
            "native (cheap load), aiortc (decode what they get), or mixed: two aiortc observers, the rest native.",
        ),
    ] = None,
    duration: Annotated[float | None, _option("duration", "Seconds that are measured.")] = None,
    server: Annotated[
        str | None,
        _option(
            "server",
            "URL of a running server; without it the run starts its own. Secret or service token by "
            "MEESHY_SIMULATE_SECRET or MEESHY_SIMULATE_TOKEN.",
        ),
    ] = None,
    out: Annotated[
        Path | None, _option("out", "Run directory to make; default: a new one in the state directory.")
    ] = None,
    slo: Annotated[
        list[str] | None,
        _option(
            "slo", "Objective such as 'latency_ms.video.p95<100'; may be given again. Replaces its default."
        ),
    ] = None,
    delay_ms: Annotated[float | None, _option("delay-ms", "Added to what each bot receives.")] = None,
    jitter_ms: Annotated[float | None, _option("jitter-ms", "Up to this much more delay, at random.")] = None,
    loss: Annotated[
        float | None, _option("loss", "Percent of what each bot would receive that is lost.", min=0, max=100)
    ] = None,
    transitions: Annotated[
        int | None, _option("transitions", "switch: how often the call moves to the SFU and back.")
    ] = None,
    prewarm: Annotated[
        bool | None,
        _option(
            "prewarm/--no-prewarm",
            "switch, churn, storm: prepare the way through the media server while two talk directly.",
        ),
    ] = None,
    calls: Annotated[int | None, _option("calls", "churn: calls at once.")] = None,
    chaos: Annotated[
        float | None,
        _option("chaos", "churn: percent of events that kill a client, worker, media server or gateway."),
    ] = None,
    relay_only: Annotated[
        bool | None,
        _option(
            "relay-only/--no-relay-only",
            "switch, churn, storm: aiortc bots use nothing but TURN, of the servers that MEESHY_TURN_SERVERS names "
            "with the secret in MEESHY_TURN_SECRET.",
        ),
    ] = None,
    seed: Annotated[int | None, _option("seed", "Start of every random choice.")] = None,
    as_json: Annotated[bool, _option("json", "Print summary.json instead of tables.")] = False,
    state_dir: Annotated[
        Path, typer.Option("--state-dir", envvar="MEESHY_STATE_DIR", help="Where runs and the clip are kept.")
    ] = Path(".meeshy"),
) -> None:
    """Fill a call with bots, measure it, and judge: exit code 0 pass, 3 below an objective, 4 void."""
    # runs hold secrets and logs of servers; this goes for every process that is started for one
    os.umask(0o777 & ~DIRECTORY_MODE)
    try:
        from simulator.errors import SimulatorError, UsageError
        from simulator.report.live import LiveTable, PhaseLines
        from simulator.runs import suite
        from simulator.runs.base import machine
        from simulator.runs.environment import CallRun
        from simulator.runs.group import GroupRun
    except ModuleNotFoundError as error:
        console.notice(f"error: {_MISSING.format(error.name)}")
        raise typer.Exit(console.EXIT_USAGE) from None
    try:
        _refuse_unknown_variables()
        profile = machine().build_profile
        if profile != "release":
            console.notice(
                f"error: the native module is a {profile} build, whose measurements say nothing; "
                "build it with `uv sync --reinstall-package meeshy-sfu`"
            )
            raise typer.Exit(console.EXIT_ERROR)
        options = {
            "participants": participants,
            "bots": bots,
            "duration": duration,
            "slo": slo,
            "delay_ms": delay_ms,
            "jitter_ms": jitter_ms,
            "loss": loss,
            "seed": seed,
            "transitions": transitions,
            "prewarm": prewarm,
            "relay_only": relay_only,
            "calls": calls,
            "chaos": chaos,
        }
        chosen = suite.load(scenario)
        place = console.err if as_json or not console.out.is_terminal else console.out
        live_kind = LiveTable if place.is_terminal else PhaseLines

        def make_run(one: Scenario, directory: Path | None) -> Run:
            if one.pattern == "group":
                return GroupRun(
                    one, state=state_dir, out=directory, target=_target(server, state_dir), watcher=live
                )
            if server is not None:
                raise UsageError(f"{one.name} starts its own gateway and media server; leave --server out")
            return CallRun(one, state=state_dir, out=directory, watcher=live)

        if isinstance(chosen, suite.Suite):
            whole = chosen.with_values(lambda one: _with_options(one, **options))
            live = live_kind(place, f"{whole.name}: {whole.description}")
            found, results = _execute(
                lambda: suite.execute(whole, make_run, state=state_dir, out=out, watcher=live), live
            )
            show_suite(results, found, as_json=as_json)
        single = _with_options(chosen, **options)
        live = live_kind(
            place, f"{single.name}: {single.participants.count} participants, {single.participants.bots} bots"
        )
        run = make_run(single, out)
        directory, summary = _execute(run.execute, live)
    except SimulatorError as error:
        console.notice(f"error: {error}")
        raise typer.Exit(error.exit_code) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.notice("interrupted; nothing was kept")
        raise typer.Exit(console.EXIT_INTERRUPTED) from None
    show(summary, directory, as_json=as_json)


def show(summary: Summary, directory: Path, *, as_json: bool) -> NoReturn:
    """Print a summary and end with its exit code."""
    from simulator.report.live import verdict_panel
    from simulator.report.write import EXIT_CODES, title

    if as_json:
        console.line(summary.to_json().rstrip("\n"))
    else:
        console.out.print(verdict_panel(summary, title(summary)), soft_wrap=False)
        # Not in the panel, where a long path would be cut.
        console.line(f"report: {directory / 'report.html'} (as text: report.md)")
    raise typer.Exit(EXIT_CODES[summary.verdict])


def show_suite(whole: SuiteSummary, directory: Path, *, as_json: bool) -> NoReturn:
    """Print what became of several runs and end with the exit code of the worst."""
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
    raise typer.Exit(EXIT_CODES[whole.verdict])


def _execute(work: Callable[[], Coroutine[Any, Any, R]], live: LiveTable | PhaseLines) -> R:
    async def execute() -> R:
        task = asyncio.current_task()
        if task is not None:
            for number in (signal.SIGTERM, signal.SIGHUP):
                with contextlib.suppress(ValueError, OSError):
                    asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work()

    with live:
        return uvloop.run(execute())


def _with_options(scenario: Scenario, **given: Any) -> Scenario:
    """Put the options over the scenario; those not given change nothing."""
    loss, chaos, calls = given["loss"], given["chaos"], given["calls"]
    people = given["participants"]
    if calls is not None and people is None:
        people = calls * scenario.churn.people
    return scenario.with_values(
        {
            "seed": given["seed"],
            "slo": [*scenario.slo, *given["slo"]] if given["slo"] else None,
            "participants": {
                "count": people,
                "bots": given["bots"],
                "relay_only": given["relay_only"],
            },
            "switching": {"transitions": given["transitions"], "prewarm": given["prewarm"]},
            "churn": {"calls": calls, "chaos": None if chaos is None else chaos / 100},
            "hold": {"duration_s": given["duration"]},
            "network": {
                "down": {
                    "delay_ms": given["delay_ms"],
                    "jitter_ms": given["jitter_ms"],
                    "loss": None if loss is None else loss / 100,
                }
            },
        }
    )


def _target(server: str | None, state_dir: Path) -> Target | None:
    """Find out how to get into somebody's server; None when we start our own."""
    from simulator.client.media_server import Credentials
    from simulator.errors import UsageError
    from simulator.runs.group import Target

    if server is None:
        return None
    url = urlsplit(server)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError(f"--server {server!r} is no URL; write it like http://127.0.0.1:3001")
    token = os.environ.get(f"{PREFIX}TOKEN")
    secret = next((os.environ[name] for name in _SECRET_VARIABLES if os.environ.get(name)), None)
    development = state_dir / "development-secret"
    if token is None and secret is None and _is_loopback(url.hostname) and development.is_file():
        secret = development.read_text(encoding="ascii").strip()
    if token is None and secret is None:
        raise UsageError(
            "bots cannot get in: set MEESHY_SIMULATE_SECRET to the server's JWT_SECRET, or "
            "MEESHY_SIMULATE_TOKEN to a token with the role 'service'"
        )
    return Target(server, Credentials(secret=None if token else secret, token=token))


def _refuse_unknown_variables() -> None:
    """Refuse variables with our prefix that mean nothing, as a misspelt one would silently do nothing."""
    from simulator.errors import UsageError

    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in _known_variables:
            near = difflib.get_close_matches(name, _known_variables, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"unknown variable {name} in the environment{hint}")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
