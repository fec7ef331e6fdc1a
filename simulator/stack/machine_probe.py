"""What the machine gives the processes of a run: CPU time, waits for a CPU, and what other programs and guests take.

Reads the kernel's counters in /proc; what follows from them is up to analysis/machine_check.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")

Rows = list[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """All CPUs of the machine since it started, in nanoseconds."""

    cores: int
    busy_ns: int
    """Spent on programs and in the kernel."""
    steal_ns: int
    """Given to other guests by the hypervisor while something was ready to run."""


def read_cpu_times(stat: str) -> CpuTimes:
    """Read /proc/stat (proc(5))."""
    lines = [line.split() for line in stat.splitlines() if line.startswith("cpu")]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(value) for value in lines[0][1:9])
    return CpuTimes(
        cores=len(lines) - 1,
        busy_ns=_nanoseconds(user + nice + system + irq + softirq),
        steal_ns=_nanoseconds(steal),
    )


def read_pressure(pressure: str) -> int:
    """Read from /proc/pressure/cpu how long some task waited for a CPU, in microseconds since the start."""
    some = next(line for line in pressure.splitlines() if line.startswith("some"))
    return int(some.rpartition("total=")[2])


def read_process_time(stat: str) -> int:
    """Read from /proc/PID/stat the CPU time of a process with all its threads, past ones too, in nanoseconds."""
    fields = stat.rpartition(")")[2].split()
    return _nanoseconds(int(fields[11]) + int(fields[12]))


class MachineProbe:
    """Watches the machine, the server's processes and those of the load generator."""

    def __init__(self, root: int | None = None) -> None:
        """Begin.

        Args:
            root: The process that, with its children, is the load generator; None for this one.
        """
        self._root = os.getpid() if root is None else root
        self._times: dict[int, int] = {}
        """CPU time of each process of the run when it was last seen."""

    def read(self, tick: int, now_ns: int, server: Iterable[int]) -> Mapping[str, Rows]:
        """Return the rows of the tables `machine` and `threads`.

        Args:
            tick: Second of the measured time.
            now_ns: Unix time.
            server: Processes of the server; their children are the server's too.
        """
        of_server = {pid for root in server for pid in _family(root)}
        of_generator = set(_family(self._root)) - of_server
        for pid in of_server | of_generator:
            if (text := _text(_PROC / str(pid) / "stat")) is not None:
                self._times[pid] = read_process_time(text)
        cpu = read_cpu_times((_PROC / "stat").read_text())
        pressure = _text(_PROC / "pressure" / "cpu")
        row = (
            tick,
            now_ns,
            cpu.cores,
            cpu.busy_ns,
            cpu.steal_ns,
            sum(self._times.values()),
            None if pressure is None else read_pressure(pressure),
        )
        threads: Rows = []
        for role, pids in (("server", of_server), ("generator", of_generator)):
            for pid in sorted(pids):
                threads += [(tick, now_ns, role, pid, *thread) for thread in _threads(pid)]
        return {"machine": [row], "threads": threads}


def _threads(pid: int) -> Iterator[tuple[int, str, int, int, int]]:
    """Return number, name, CPU time, time waiting for a CPU and turns on a CPU of each thread of a process."""
    for directory in _entries(_PROC / str(pid) / "task"):
        times, name = _text(directory / "schedstat"), _text(directory / "comm")
        if times is not None and name is not None:
            cpu_ns, wait_ns, turns = (int(value) for value in times.split())
            yield int(directory.name), name.strip(), cpu_ns, wait_ns, turns


def _family(pid: int) -> Iterator[int]:
    """Return a process and all its descendants."""
    yield pid
    for directory in _entries(_PROC / str(pid) / "task"):
        for child in (_text(directory / "children") or "").split():
            yield from _family(int(child))


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:  # it ended
        return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:  # it ended, or the kernel has no such file
        return None


def _nanoseconds(ticks: int) -> int:
    return ticks * 1_000_000_000 // _TICKS_PER_S
