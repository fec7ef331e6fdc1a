"""Databases for tests: SQLite files, and a PostgreSQL server of the distribution that the tests start themselves."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def postgres_programs() -> Path | None:
    """Where initdb and postgres are; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return candidates[-1].parent if candidates else None


class PostgresServer:
    """A throw-away server below a temporary directory; refuses to run as root, so it takes another user then."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs, self._directory = programs, directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._user = None
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._user = "postgres" if "postgres" in names else "nobody"
            shutil.chown(directory, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data = self._directory / "data"
        subprocess.run(
            [self._programs / "initdb", "-D", data, "-U", "meeshy", "-A", "trust", "--no-sync", "-E", "UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self._directory,
        )
        self.run()

    def run(self) -> None:
        """Start it, on the data that is there."""
        data = self._directory / "data"
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}", "-c", "fsync=off"]
        options += ["-c", f"unix_socket_directories={self._directory}"]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", data, *options],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._directory,
            )
        deadline = time.monotonic() + 20
        while subprocess.run(self._psql("select 1"), capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, (self._directory / "log").read_text()
            time.sleep(0.05)

    def _psql(self, statement: str) -> list[str]:
        psql = shutil.which("psql") or str(self._programs / "psql")
        return [
            psql,
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "meeshy",
            "-d",
            "postgres",
            "-c",
            statement,
        ]

    def new_database(self) -> str:
        """Make an empty database and give its URL."""
        name = f"test_{secrets.token_hex(4)}"
        subprocess.run(self._psql(f"create database {name}"), check=True, capture_output=True)
        return f"postgresql://meeshy@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """End it at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)

    def pids(self) -> list[int]:
        """Its processes: the first one and one for each connection, among others."""
        assert self._process is not None
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii")
        return [first, *map(int, children.split())]


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    programs = postgres_programs()
    assert programs is not None
    # Not below pytest's directory: its parents are closed to the server's user.
    with tempfile.TemporaryDirectory(prefix="meeshy-postgres-") as directory:
        server = PostgresServer(programs, Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()
