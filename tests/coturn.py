"""The distribution's coturn on loopback, started by the tests that need a real TURN server.

Each has its own ports, secret and files; what a client may do through it is up to the tests.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aioice import stun

from simulator.child import bound_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

READY_S = 15.0
RELAY_PORTS = 200
"""How many relay ports each server has; they are below the kernel's ephemeral range, so that nobody gets one by chance."""


def need_coturn() -> None:
    """Skip without a TURN server, or fail in CI."""
    if shutil.which("turnserver") is None:
        reason = "coturn is missing: sudo apt-get install -y coturn"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True, slots=True)
class Coturn:
    """Where it is, and the secret its credentials are made with."""

    port: int
    tls_port: int
    secret: str
    realm: str
    log: Path

    @property
    def server(self) -> str:
        """Its entry for `turn_servers`: UDP and TCP."""
        return f"127.0.0.1:{self.port}"

    def log_text(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace")

    def allocations(self) -> int:
        """How many relay addresses it has given out since it was started."""
        return len(re.findall(r"ALLOCATE processed, success", self.log_text()))

    async def usages(self, least: int, *, within_s: float = 10.0) -> list[Usage]:
        """What went through allocations that have ended, once at least so many have."""
        deadline = time.monotonic() + within_s
        while True:
            found = _usages(self.log_text())
            if len(found) >= least:
                return found
            assert time.monotonic() < deadline, (
                f"{len(found)} of {least} allocations ended:\n{self.log_text()}"
            )
            await asyncio.sleep(0.1)


@dataclass(slots=True)
class Usage:
    """What was relayed for one allocation, in packets."""

    user: str = ""
    received: int = 0
    """From peers."""
    sent: int = 0
    """To peers."""
    peers: set[str] = field(default_factory=set)


def _usages(text: str) -> list[Usage]:
    """Read the totals that coturn writes for each session that has ended."""
    sessions: dict[str, Usage] = {}
    ended: set[str] = set()
    for line in text.splitlines():
        if match := re.search(
            r"session (\d+): peer usage: realm=<[^>]*>, username=<([^>]*)>, rp=(\d+), rb=\d+, sp=(\d+)", line
        ):
            usage = sessions.setdefault(match[1], Usage())
            usage.user = match[2]
            usage.received += int(match[3])
            usage.sent += int(match[4])
        elif match := re.search(r"session (\d+): peer ([0-9a-f.:\[\]]+) lifetime updated", line):
            sessions.setdefault(match[1], Usage()).peers.add(match[2])
        elif match := re.search(r"session (\d+): closed", line):
            ended.add(match[1])
    return [usage for number, usage in sessions.items() if number in ended]


def _free_port() -> int:
    """A port that is free for UDP and TCP."""
    while True:
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            port = int(stream.getsockname()[1])
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def _answers(port: int) -> bool:
    """Ask for a STUN binding once."""
    loop = asyncio.get_running_loop()
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect(("127.0.0.1", port))
        try:
            await loop.sock_sendall(probe, bytes(request))
            await asyncio.wait_for(loop.sock_recv(probe, 2048), 0.2)
        except (OSError, TimeoutError):
            return False
    return True


@asynccontextmanager
async def coturn(
    directory: Path, *, tls: tuple[Path, Path] | None = None, **options: Any
) -> AsyncIterator[Coturn]:
    """Start one with further options, named as in turnserver.conf with `_` for `-`; ended and waited for on exit.

    An option that is None is left out, also of those given here; a list is written once for each value. With `tls`
    (certificate and key) it also takes TLS.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port, secret = _free_port(), secrets.token_urlsafe(24)
    tls_port = _free_port() if tls else 0
    first = 12_000 + secrets.randbelow(100) * RELAY_PORTS
    log = directory / "coturn.log"
    values: dict[str, Any] = {
        "listening-ip": "127.0.0.1",
        "relay-ip": "127.0.0.1",
        "listening-port": port,
        "min-port": first,
        "max-port": first + RELAY_PORTS - 1,
        "realm": "meeshy.test",
        "use-auth-secret": True,
        "static-auth-secret": secret,
        "fingerprint": True,
        "allow-loopback-peers": True,
        "no-multicast-peers": True,
        "no-cli": True,
        "no-rfc5780": True,
        "no-dtls": True,
        "relay-threads": 1,
        "userdb": directory / "turndb",
        "pidfile": directory / "pid",
        "log-file": "stdout",
        "verbose": True,
    }
    values |= {"tls-listening-port": tls_port, "cert": tls[0], "pkey": tls[1]} if tls else {"no-tls": True}
    # As in the file (with `-`), or as a keyword.
    values |= {name if "-" in name else name.replace("_", "-"): value for name, value in options.items()}
    lines = [
        name if value is True else f"{name}={value}"
        for name, given in values.items()
        if given is not None
        for value in (given if isinstance(given, list) else [given])
    ]
    configuration = directory / "turnserver.conf"
    configuration.write_text("\n".join(lines) + "\n")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *bound_command(["turnserver", "-c", str(configuration)]),
            cwd=directory,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + READY_S
        while not await _answers(port):
            assert process.returncode is None, f"coturn ended at once:\n{log.read_text(errors='replace')}"
            assert time.monotonic() < deadline, (
                f"coturn did not answer within {READY_S:g} s:\n{log.read_text(errors='replace')}"
            )
            await asyncio.sleep(0.05)
        yield Coturn(port, tls_port, secret, str(values["realm"]), log)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
