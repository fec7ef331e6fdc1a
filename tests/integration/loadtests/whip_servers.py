"""Servers with WHIP and WHEP that nobody here wrote: Pion's example `whip-whep`, one process and network namespace a stream.

The example has one stream, one port and asks a public STUN server for its address; in a namespace without a way out each
instance has all ports to itself, and nothing leaves the machine. Run as root of a user namespace
(`unshare --user --map-root-user --net`), with the directory of the run, the
numbers of participants and of senders, and how long is measured.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from loadtests.peers.run import PeerRun
from loadtests.peers.whip import Endpoints, Whip
from simulator.scenario import Scenario

ROOT = Path(__file__).resolve().parents[3]
SERVER = ROOT / ".tools" / "whip" / "whip-whep"
PREFIX = "1"
"""Stream 0 is called 10, which is a part of its server's address."""
_BEGIN = (
    "echo; read _; ip link set lo up; ip address add 10.99.{0}.2/24 dev server; ip link set server up; "
    "ip route add 10.99.0.0/16 via 10.99.{0}.1; echo; exec {1}"
)


def start(stream: str) -> subprocess.Popen[str]:
    """Start the server of a stream in a namespace of its own, at 10.99.STREAM.2."""
    script = _BEGIN.format(stream, SERVER)
    server = subprocess.Popen(
        ["unshare", "--net", "--kill-child", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdout.readline()
    name = f"bots{stream}"
    _ip("link", "add", name, "type", "veth", "peer", "name", "server", "netns", str(server.pid))
    _ip("address", "add", f"10.99.{stream}.1/24", "dev", name)
    _ip("link", "set", name, "up")
    server.stdin.write("\n")
    server.stdin.flush()
    server.stdout.readline()
    return server


def main(directory: Path, participants: int, senders: int, duration_s: float) -> None:
    """Run bots through one server for each sender."""
    _ip("link", "set", "lo", "up")
    servers = [start(f"{PREFIX}{number}") for number in range(senders)]
    try:
        scenario = Scenario.load("group").with_values(
            {
                "participants": {"count": participants, "bots": "native"},
                "media": {"video": False},
                "hold": {"duration_s": duration_s},
            }
        )
        endpoints = Endpoints(
            "http://10.99.{stream}.2:8080/whip", "http://10.99.{stream}.2:8080/whep", "a-token"
        )
        peer = Whip(endpoints, prefix=PREFIX)
        run = PeerRun(peer, scenario, state=directory, out=directory / "run", senders=senders)
        asyncio.run(run.execute())
    finally:
        for server in servers:
            server.kill()
            server.wait()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
