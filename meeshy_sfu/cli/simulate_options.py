"""The options of ``meeshy simulate``: flags, variables, and the scenario values they set.

Declares and translates; running is in simulate.py. Every option is also a variable with the prefix MEESHY_SIMULATE_.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, get_type_hints

import typer

PREFIX = "MEESHY_SIMULATE_"
TOKEN_VARIABLE = f"{PREFIX}TOKEN"

_variables = {f"{PREFIX}SECRET", TOKEN_VARIABLE}


def _option(name: str, text: str, **more: Any) -> Any:
    variable = PREFIX + name.partition("/")[0].upper().replace("-", "_")
    _variables.add(variable)
    return typer.Option(f"--{name}", envvar=variable, help=text, **more)


StateDirectory = Annotated[
    Path, typer.Option("--state-dir", envvar="MEESHY_STATE_DIR", help="Where runs and the clip are kept.")
]


@dataclass(frozen=True, slots=True)
class Given:
    """An option that was given, and what it sets."""

    flag: str
    key: str
    """The path of the key in the scenario."""
    value: Any


class OutputOptions(Protocol):
    """Options that name files for programs."""

    @property
    def junit(self) -> Path | None:
        """The JUnit file."""

    @property
    def openmetrics(self) -> Path | None:
        """The file of OpenMetrics text."""

    @property
    def job_summary(self) -> bool:
        """Whether the job's summary is appended to."""


_KEYS = {
    "participants": "participants.count",
    "bots": "participants.bots",
    "duration": "hold.duration_s",
    "slo": "slo",
    "delay_ms": "network.down.delay_ms",
    "jitter_ms": "network.down.jitter_ms",
    "loss": "network.down.loss",
    "transitions": "switching.transitions",
    "prewarm": "switching.prewarm",
    "calls": "{pattern}.calls",
    "chaos": "{pattern}.chaos",
    "relay_only": "participants.relay_only",
    "seed": "seed",
}
"""Which key of a scenario an option sets; the others are about the run, and hold for every pattern."""
_PERCENT = frozenset({"loss", "chaos"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateOptions:
    """What ``meeshy simulate`` was called with; None for options that were not given."""

    scenario: Annotated[
        str,
        typer.Argument(
            help="A ready scenario (demo, group, switch, churn, storm, t1, t2, t3, webinar, soak, lossy), a .toml file, or "
            "selftest: whether verdicts name what is broken."
        ),
    ]
    participants: Annotated[
        int | None,
        _option("participants", "All participants of the run; several calls have the same share each."),
    ] = None
    bots: Annotated[
        str | None,
        _option(
            "bots",
            "native (cheap load), aiortc (decode what they receive), or mixed: two aiortc observers, the rest native.",
        ),
    ] = None
    duration: Annotated[float | None, _option("duration", "Seconds that are measured.")] = None
    server: Annotated[
        str | None,
        _option(
            "server",
            "URL of a running gateway (group: of a media server); without it the run starts its own. Secret or service "
            "token by MEESHY_SIMULATE_SECRET or MEESHY_SIMULATE_TOKEN.",
        ),
    ] = None
    token_command: Annotated[
        str | None,
        _option(
            "token-command",
            "With --server: a command that prints the token of a gateway's user; {user} and {conversation} are replaced.",
        ),
    ] = None
    out: Annotated[
        Path | None, _option("out", "Run directory to make; default: a new one in the state directory.")
    ] = None
    slo: Annotated[
        list[str] | None,
        _option(
            "slo", "Objective such as 'latency_ms.video.p95<100'; may be given again. Replaces its default."
        ),
    ] = None
    delay_ms: Annotated[float | None, _option("delay-ms", "Added to what each bot receives.")] = None
    jitter_ms: Annotated[
        float | None,
        _option("jitter-ms", "From 0 to this much more delay, evenly spread; the order is kept."),
    ] = None
    loss: Annotated[
        float | None, _option("loss", "Percent of what each bot would receive that is lost.", min=0, max=100)
    ] = None
    transitions: Annotated[
        int | None, _option("transitions", "switch: how often the call changes to the SFU and back.")
    ] = None
    prewarm: Annotated[
        bool | None,
        _option(
            "prewarm/--no-prewarm",
            "switch, churn, storm: prepare the media server's room while two participants talk directly.",
        ),
    ] = None
    calls: Annotated[int | None, _option("calls", "churn, t1 to t3: calls at once.")] = None
    chaos: Annotated[
        float | None,
        _option("chaos", "churn: percent of events that kill a client, worker, media server or gateway."),
    ] = None
    relay_only: Annotated[
        bool | None,
        _option(
            "relay-only/--no-relay-only",
            "switch, churn, storm: aiortc bots use nothing but TURN, of the servers that MEESHY_TURN_SERVERS names "
            "with the secret in MEESHY_TURN_SECRET.",
        ),
    ] = None
    seed: Annotated[int | None, _option("seed", "Start of every random choice.")] = None
    retry_void: Annotated[
        int,
        _option(
            "retry-void",
            "Repeat a void run at most this often; each run keeps its directory, the last decides.",
            min=0,
        ),
    ] = 0
    short: Annotated[bool, _option("short", "selftest: a few faults in one size each.")] = False
    fault: Annotated[
        list[str] | None, _option("fault", "selftest: only this fault, in all sizes; may be given again.")
    ] = None
    as_json: Annotated[
        bool, _option("json", "Print summary.json instead of tables; also of a run that broke off.")
    ] = False
    junit: Annotated[
        Path | None, _option("junit", "Write the verdict as JUnit XML, a test case for each objective.")
    ] = None
    job_summary: Annotated[
        bool,
        _option("job-summary", "Append the verdict as Markdown to the file that GITHUB_STEP_SUMMARY names."),
    ] = False
    openmetrics: Annotated[
        Path | None, _option("openmetrics", "Write the run's figures as OpenMetrics text.")
    ] = None
    state_dir: StateDirectory = Path(".meeshy")

    def given(self, pattern: str) -> list[Given]:
        """List what was given of the options that set something in a scenario of this pattern."""
        found: list[Given] = []
        for name, key in _KEYS.items():
            value = getattr(self, name)
            if value is not None and value != []:
                value = value / 100 if name in _PERCENT else value
                flag = f"--{name.replace('_', '-')}"
                found.append(Given(flag, key.format(pattern=pattern), value))
        return found


def takes_options(command: Callable[[SimulateOptions], None]) -> Callable[..., None]:
    """Turn a function of the options into a command with a flag for each."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        command(SimulateOptions(**arguments))

    hints = get_type_hints(SimulateOptions, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(SimulateOptions)
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def known_variables() -> frozenset[str]:
    """Return every variable with our prefix that means something."""
    return frozenset(_variables)


def given_variables() -> list[str]:
    """List the variables with our prefix that are set."""
    return sorted(name for name in os.environ if name.startswith(PREFIX))
