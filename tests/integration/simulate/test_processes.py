"""Child processes and the watchdog: a killed run leaks nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from simulator.child import bound_command
from simulator.stack.watchdog import Watchdog

PARENT = """
import subprocess, sys, time
from pathlib import Path
from simulator.child import bound_command
from simulator.stack.watchdog import Watchdog

watchdog = Watchdog()
watchdog.watch_directory(Path(sys.argv[1]))
bound = subprocess.Popen(bound_command(["sleep", "60"]), start_new_session=True)
loose = subprocess.Popen(["sleep", "60"], start_new_session=True)
watchdog.watch_process(loose.pid)
print(bound.pid, loose.pid, watchdog._process.pid, flush=True)
time.sleep(60)
"""


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_run_leaks_no_process_and_no_directory(tmp_path: Path) -> None:
    directory = tmp_path / ".run.partial-1"
    directory.mkdir()
    (directory / "file").write_text("x")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(is_running(pid) for pid in pids)
        os.kill(parent.pid, signal.SIGKILL)
    assert eventually(lambda: not any(is_running(pid) for pid in pids))
    assert not directory.exists()


def test_a_dismissed_watchdog_leaves_everything_alone(tmp_path: Path) -> None:
    with Watchdog() as watchdog:
        watchdog.watch_directory(tmp_path)
        watchdog.watch_process(os.getpid())
    watchdog.dismiss()
    assert tmp_path.exists()


def test_a_bound_child_becomes_the_command() -> None:
    done = subprocess.run(
        bound_command(["echo", "here"]), capture_output=True, text=True, timeout=10, check=True
    )
    assert done.stdout == "here\n"
