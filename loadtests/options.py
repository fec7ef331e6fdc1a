"""Options of the suites beside locust's own, and which gateway they are for.

locust's `--host`, `--users`, `--spawn-rate` and `--run-time` keep their meaning; README.md says what they are in each test.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from locust.argument_parser import LocustArgumentParser

from simulator.client.shared_secret import SECRET_VARIABLES, development_secret, host_of, named_secret
from simulator.errors import UsageError
from simulator.samples.schema import Kind
from simulator.scenario import Link, Network
from simulator.slo import Slo


def add_options(parser: LocustArgumentParser) -> None:
    """Add the suites' options to locust's command line."""
    group = parser.add_argument_group("Meeshy", "calls, the network of their participants, and the verdict")
    group.add_argument(
        "--per-call", type=int, metavar="N", help="Participants in one call; the test says how many"
    )
    group.add_argument(
        "--stay-s",
        type=float,
        default=0.0,
        metavar="S",
        help="Mean time in a call before a participant leaves and comes back; 0: stays",
    )
    group.add_argument("--audio-only", action="store_true", help="Participants send no video")
    group.add_argument(
        "--delay-ms", type=float, default=0.0, metavar="MS", help="Added to what each bot receives"
    )
    group.add_argument(
        "--jitter-ms", type=float, default=0.0, metavar="MS", help="Extra delay, from 0 to this"
    )
    group.add_argument(
        "--loss", type=_ratio, default=0.0, metavar="RATIO", help="Share of datagrams lost, like 0.02 or 2%%"
    )
    group.add_argument(
        "--slo",
        action="append",
        default=[],
        type=_slo,
        metavar="EXPR",
        help='Objective, like "join_ms.p95<1000"; repeatable',
    )
    group.add_argument(
        "--request-p95-ms",
        type=float,
        metavar="MS",
        help="Users without media: limit of the 95th percentile of each request",
    )
    group.add_argument("--junit", metavar="FILE", help="Write the verdict as JUnit XML")
    group.add_argument(
        "--job-summary",
        action="store_true",
        help="Append the verdict as Markdown to the file that GITHUB_STEP_SUMMARY names",
    )
    group.add_argument("--openmetrics", metavar="FILE", help="Write the run's figures as OpenMetrics text")
    group.add_argument("--out", metavar="DIR", help="The run directory; default: a new one in STATE/runs")
    group.add_argument(
        "--state-dir", default=".meeshy", metavar="DIR", help="Where the media clip and the runs are"
    )
    group.add_argument(
        "--seed", type=int, default=1, metavar="N", help="Start of every random choice of the bots"
    )
    group.add_argument(
        "--bot-threads",
        type=int,
        default=1,
        metavar="N",
        help="Threads for media in each process; one carries a call of 50",
    )


@dataclass(frozen=True, slots=True)
class SuiteOptions:
    """The options of a run."""

    per_call: int | None
    stay_s: float
    kinds: tuple[Kind, ...]
    network: Network
    slo: tuple[str, ...]
    request_p95_ms: float | None
    junit: str | None
    job_summary: bool
    openmetrics: str | None
    out: str | None
    state_dir: str
    seed: int
    bot_threads: int

    @classmethod
    def read(cls, parsed: argparse.Namespace | None) -> SuiteOptions:
        """Read them from what locust has parsed."""
        if parsed is None:
            raise RuntimeError("the suites are run by the command locust")
        down = Link(delay_ms=parsed.delay_ms, jitter_ms=parsed.jitter_ms, loss=parsed.loss)
        return cls(
            per_call=parsed.per_call,
            stay_s=parsed.stay_s,
            kinds=("audio",) if parsed.audio_only else ("audio", "video"),
            network=Network(down=down),
            slo=tuple(parsed.slo),
            request_p95_ms=parsed.request_p95_ms,
            # children have another working directory
            junit=None if parsed.junit is None else str(Path(parsed.junit).absolute()),
            job_summary=parsed.job_summary,
            openmetrics=None if parsed.openmetrics is None else str(Path(parsed.openmetrics).absolute()),
            out=None if parsed.out is None else str(Path(parsed.out).absolute()),
            state_dir=str(Path(parsed.state_dir).absolute()),
            seed=parsed.seed,
            bot_threads=parsed.bot_threads,
        )


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """locust's own options as they were given; locust itself later puts 1 where nothing was."""

    users: int | None = None
    spawn_rate: float | None = None
    run_time_s: float | None = None

    @classmethod
    def read(cls, parsed: argparse.Namespace | None) -> GivenOptions:
        """Read them, before the test begins."""
        if parsed is None:
            raise RuntimeError("the suites are run by the command locust")
        return cls(parsed.num_users, parsed.spawn_rate, parsed.run_time)


def secret_for(host: str, state_dir: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret that a gateway's tokens are signed with.

    Raises:
        UsageError: The URL is none, or there is no secret for it.
    """
    name = host_of(host, option="--host", example="http://127.0.0.1:4000")
    if secret := named_secret(environment) or development_secret(name, Path(state_dir)):
        return secret
    raise UsageError(f"participants cannot get in: set {SECRET_VARIABLES[0]} to the JWT_SECRET of {host}")


def _ratio(text: str) -> float:
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; write 0.02 or 2%")
    return value


def _slo(text: str) -> str:
    try:
        return str(Slo.parse(text))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
