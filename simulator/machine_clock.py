"""The name of this machine's clock: processes with the same one read the same time."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OTHER_CLOCK = "MEESHY_TEST_CLOCK"
"""For tests: `NAME:MS`, a clock of this name that is so far ahead, as if the process ran on another machine."""


@dataclass(frozen=True, slots=True)
class MachineClock:
    """A clock."""

    name: str
    shift_ms: int = 0
    """How far it is put ahead of the machine's; only tests do that."""


def machine_clock() -> MachineClock:
    """Return the clock of this process: that of the kernel it runs on."""
    if other := os.environ.get(OTHER_CLOCK):
        name, _, shift = other.partition(":")
        return MachineClock(name, int(shift or 0))
    try:
        return MachineClock(_BOOT_ID.read_text(encoding="ascii").strip())
    except OSError:  # no Linux: then a host name must do
        return MachineClock(socket.gethostname())
