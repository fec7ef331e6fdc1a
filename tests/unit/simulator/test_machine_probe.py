"""What the kernel says of CPUs, pressure and processes, read from its own texts."""

import os

from simulator.samples.schema import MACHINE, THREADS
from simulator.stack.machine_probe import MachineProbe, read_cpu_times, read_pressure, read_process_time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
STAT = """cpu  100 20 30 4000 50 6 7 80 90 0
cpu0 50 10 15 2000 25 3 3 40 45 0
cpu1 50 10 15 2000 25 3 4 40 45 0
intr 12345
ctxt 1
"""


def test_busy_is_all_but_idle_waiting_and_stolen_and_guests_are_not_counted_twice() -> None:
    times = read_cpu_times(STAT)
    assert times.cores == 2
    assert times.busy_ns == (100 + 20 + 30 + 6 + 7) * TICK_NS
    assert times.steal_ns == 80 * TICK_NS


def test_pressure_is_the_total_of_some() -> None:
    text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=9\n"
    assert read_pressure(text) == 123456


def test_a_process_may_have_any_name() -> None:
    fields = " ".join(["S", "1"] + ["0"] * 9 + ["7", "5"] + ["0"] * 30)
    assert read_process_time(f"42 (a) b (c) {fields}") == 12 * TICK_NS


def test_this_process_is_seen_with_its_threads() -> None:
    tables = MachineProbe().read(3, 5, server=[])
    (row,) = tables["machine"]
    machine = dict(zip(MACHINE.names, row, strict=True))
    assert machine["tick"] == 3
    assert 0 < machine["ours_ns"] <= machine["busy_ns"]
    threads = [dict(zip(THREADS.names, row, strict=True)) for row in tables["threads"]]
    own = next(one for one in threads if one["tid"] == os.getpid())
    assert own["role"] == "generator"
    assert own["cpu_ns"] > 0
    assert own["turns"] > 0


def test_processes_of_the_server_are_not_the_generators_and_one_that_is_gone_is_passed_over() -> None:
    tables = MachineProbe().read(0, 5, server=[os.getpid(), 2**22 - 1])
    assert {row[2] for row in tables["threads"]} == {"server"}
