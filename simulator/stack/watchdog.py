"""The watchdog: a small process that cleans up when a run is killed by a signal that it cannot catch.

It waits on a pipe whose other end only the run holds. When the run ends in order it says so and the watchdog goes;
when the pipe breaks without that, it ends the children that were named and removes the half-written directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self


class Watchdog:
    """The run's side: names what must not outlive it. Use as a context manager; leaving it dismisses it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulator.stack.watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and hang-ups of the terminal are not for it
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dismiss()

    def watch_directory(self, path: Path) -> None:
        """Remove this directory if the run is killed."""
        self._send(f"directory {path.absolute()}")

    def watch_process(self, pid: int) -> None:
        """End this process if the run is killed."""
        self._send(f"process {pid} {_start_time(pid)}")

    def dismiss(self) -> None:
        """Say that the run ended in order. Idempotent."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._send("done")
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # The watchdog was killed; the run goes on without it.
            return


def _start_time(pid: int) -> str:
    """Return when a process began, in ticks, so that a later process with its number is not mistaken for it."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "0"


def main() -> None:
    """Wait for the run to end, and clean up if it was killed."""
    directories: list[str] = []
    processes: list[tuple[int, str]] = []
    for line in sys.stdin:
        what, _, value = line.rstrip("\n").partition(" ")
        if what == "done":
            return
        if what == "directory":
            directories.append(value)
        elif what == "process":
            pid, _, started = value.partition(" ")
            processes.append((int(pid), started))
    for pid, started in processes:
        if started != "0" and _start_time(pid) == started:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
