"""python -m loadtests.peers --peer janus: see README.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from loadtests.peers.adapter import PeerServer
from loadtests.peers.janus import Janus
from loadtests.peers.mediasoup import Mediasoup
from loadtests.peers.run import PeerRun
from loadtests.peers.whip import Endpoints, Whip
from simulator.errors import SimulatorError, UsageError
from simulator.report.write import EXIT_CODES
from simulator.scenario import Scenario

BEARER_FROM = "MEESHY_PEER_TOKEN"
"""Environment variable with the bearer token of WHIP and WHEP; an argument would show in the list of processes."""


def parser() -> argparse.ArgumentParser:
    """Return the options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m loadtests.peers", description="The same bots against another media server."
    )
    options.add_argument("--peer", choices=["janus", "mediasoup", "whip"], required=True)
    options.add_argument(
        "--server",
        help="janus: its WebSocket address; mediasoup: the host's address; without it one is started",
    )
    options.add_argument(
        "--whip", help="whip: address to publish to; {stream} stands for a participant's stream"
    )
    options.add_argument("--whep", help="whip: address to receive from, likewise")
    options.add_argument(
        "--stream-prefix", default="bot-", help="whip: the participant's number after it is the stream's name"
    )
    options.add_argument("--participants", type=int, default=3)
    options.add_argument("--senders", type=int, help="how many of them send; the others only receive")
    options.add_argument("--audio-only", action="store_true")
    options.add_argument("--duration-s", type=float, default=10.0)
    options.add_argument("--slo", action="append", default=[])
    options.add_argument("--out", type=Path)
    options.add_argument("--state-dir", type=Path, default=Path(".meeshy"))
    return options


def peer_of(given: argparse.Namespace) -> PeerServer:
    """Return the server that the options name.

    Raises:
        UsageError: An option is missing, or belongs to another kind of server.
    """
    if given.peer == "whip":
        if given.server:
            raise UsageError("--peer whip has no --server; set --whip and --whep")
        if not (given.whip and given.whep):
            raise UsageError(
                "--peer whip needs --whip and --whep, the addresses to publish to and to receive from"
            )
        endpoints = Endpoints(given.whip, given.whep, os.environ.get(BEARER_FROM))
        endpoints.check(given.senders or given.participants)
        return Whip(endpoints, prefix=given.stream_prefix)
    for option in ("whip", "whep"):
        if getattr(given, option):
            raise UsageError(f"--{option} belongs to --peer whip, not to {given.peer}")
    return Mediasoup(given.server) if given.peer == "mediasoup" else Janus(given.server)


def main(arguments: list[str] | None = None) -> int:
    """Run and print the verdict; returns the exit code."""
    given = parser().parse_args(arguments)
    try:
        peer = peer_of(given)
        scenario = Scenario.load("group").with_values(
            {
                "participants": {"count": given.participants, "bots": "native"},
                "media": {"video": False} if given.audio_only else {},
                "hold": {"duration_s": given.duration_s},
                "slo": given.slo,
            }
        )
        run = PeerRun(peer, scenario, state=given.state_dir, out=given.out, senders=given.senders)
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
