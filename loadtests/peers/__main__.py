"""python -m loadtests.peers --peer janus: see README.md."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from loadtests.peers.janus import Janus
from loadtests.peers.run import PeerRun
from simulator.errors import SimulatorError
from simulator.report.write import EXIT_CODES
from simulator.scenario import Scenario


def main(arguments: list[str] | None = None) -> int:
    """Run and print the verdict; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.peers", description=__doc__)
    parser.add_argument("--peer", choices=["janus"], required=True)
    parser.add_argument("--server", help="WebSocket address of a Janus that runs; without it one is started")
    parser.add_argument("--participants", type=int, default=3)
    parser.add_argument("--duration-s", type=float, default=10.0)
    parser.add_argument("--slo", action="append", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--state-dir", type=Path, default=Path(".meeshy"))
    given = parser.parse_args(arguments)
    try:
        scenario = Scenario.load("group").with_values(
            {
                "participants": {"count": given.participants, "bots": "native"},
                "hold": {"duration_s": given.duration_s},
                "slo": given.slo,
            }
        )
        run = PeerRun(Janus(given.server), scenario, state=given.state_dir, out=given.out)
        directory, summary = asyncio.run(run.execute())
    except SimulatorError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(
        f"{given.peer}: {summary.verdict}; {'; '.join(summary.reasons) or 'every objective holds'}\n"
    )
    sys.stdout.write(f"report: {directory}/report.html\n")
    return EXIT_CODES[summary.verdict]


if __name__ == "__main__":
    sys.exit(main())
