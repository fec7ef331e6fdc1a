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
from typing import Annotated, Any, get_type_hints

import typer

PREFIX = "MEESHY_SIMULATE_"
SECRET_VARIABLES = (f"{PREFIX}SECRET", "MEESHY_JWT_SECRET", "JWT_SECRET")
TOKEN_VARIABLE = f"{PREFIX}TOKEN"

_variables = {f"{PREFIX}SECRET", TOKEN_VARIABLE}


def _option(name: str, text: str, **more: Any) -> Any:
    variable = PREFIX + name.partition("/")[0].upper().replace("-", "_")
    _variables.add(variable)
    return typer.Option(f"--{name}", envvar=variable, help=text, **more)


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulateOptions:
    """What ``meeshy simulate`` was called with; None for options that were not given."""

    scenario: Annotated[
        str,
        typer.Argument(
            help="A ready scenario (demo, group, switch, churn, storm), or the path of a .toml file."
        ),
    ]
    participants: Annotated[int | None, _option("participants", "Participants in the call.")] = None
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
            "URL of a running server; without it the run starts its own. Secret or service token by "
            "MEESHY_SIMULATE_SECRET or MEESHY_SIMULATE_TOKEN.",
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
    calls: Annotated[int | None, _option("calls", "churn: calls at once.")] = None
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
    as_json: Annotated[
        bool, _option("json", "Print summary.json instead of tables; also of a run that broke off.")
    ] = False
    state_dir: Annotated[
        Path, typer.Option("--state-dir", envvar="MEESHY_STATE_DIR", help="Where runs and the clip are kept.")
    ] = Path(".meeshy")

    def changes(self, *, slo: tuple[str, ...], participants_per_call: int) -> dict[str, Any]:
        """Return what these options change in a scenario, as nested tables; None where they change nothing.

        Args:
            slo: The objectives of the scenario, to which those of the options are added.
            participants_per_call: The scenario's `churn.people`: `--calls` alone brings enough participants.
        """
        return {
            "seed": self.seed,
            "slo": [*slo, *self.slo] if self.slo else None,
            "participants": {
                "count": self._count(participants_per_call),
                "bots": self.bots,
                "relay_only": self.relay_only,
            },
            "switching": {"transitions": self.transitions, "prewarm": self.prewarm},
            "churn": {"calls": self.calls, "chaos": _share(self.chaos)},
            "hold": {"duration_s": self.duration},
            "network": {
                "down": {
                    "delay_ms": self.delay_ms,
                    "jitter_ms": self.jitter_ms,
                    "loss": _share(self.loss),
                }
            },
        }

    def flags(self) -> dict[str, str]:
        """Return which flag sets which key of a scenario, to name it in errors."""
        return {
            "seed": "--seed",
            "slo": "--slo",
            "participants.count": "--calls" if self.participants is None and self.calls else "--participants",
            "participants.bots": "--bots",
            "participants.relay_only": "--relay-only",
            "switching.transitions": "--transitions",
            "switching.prewarm": "--prewarm",
            "churn.calls": "--calls",
            "churn.chaos": "--chaos",
            "hold.duration_s": "--duration",
            "network.down.delay_ms": "--delay-ms",
            "network.down.jitter_ms": "--jitter-ms",
            "network.down.loss": "--loss",
        }

    def _count(self, participants_per_call: int) -> int | None:
        if self.participants is not None or self.calls is None or self.calls < 1:
            return self.participants  # a wrong number of calls is refused by its own name
        return self.calls * participants_per_call


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


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100
