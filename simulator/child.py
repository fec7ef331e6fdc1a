"""Child processes that do not outlive this one, even if it is killed.

A child asks the kernel to be killed with its parent before it becomes the wanted program. What the run has on disk
is then removed by the watchdog (stack/watchdog.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; ends it now if that has happened already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def bound_command(command: Sequence[str]) -> list[str]:
    """Wrap a command so that it ends with the calling process."""
    return [sys.executable, "-m", "simulator.child", str(os.getpid()), *command]


def how_it_ended(code: int | None) -> str:
    """Describe how a process ended, by its return code: by a signal, whose name is given, or by itself."""
    if code is None:
        return "has ended"
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"


def main() -> None:
    """Bind this process to its parent and become the command that follows."""
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606


if __name__ == "__main__":
    main()
