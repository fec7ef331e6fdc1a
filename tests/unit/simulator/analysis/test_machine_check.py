"""The check of the machine: a server that waits for a CPU which others use makes the run void."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator.analysis.machine_check import complaints, per_second
from simulator.scenario import Limits

S = 1_000_000_000
BUSY, WAITED = 19 * S // 10, 700 * 900_000


def others_take(run: Any, ticks: range, busy_ns: int = BUSY, wait_ns: int = WAITED) -> None:
    """Let other programs use the CPUs in some seconds, so that the server's worker waits."""
    for row in run.machine:
        row["busy_ns"] += sum(busy_ns for tick in ticks if tick <= row["tick"])
    for row in run.threads:
        if row["name"] == "sfu-worker-0":
            row["wait_ns"] += sum(wait_ns for tick in ticks if tick <= row["tick"])


def test_a_quiet_machine_leaves_the_verdict_alone_and_is_shown(run: Any, tmp_path: Path) -> None:
    summary = run.summary(tmp_path)
    host = summary.host
    assert summary.verdict == "pass"
    assert host is not None
    assert host.valid
    assert (host.disturbed_ratio, host.steal_ratio) == (0, 0)
    assert host.others_ratio == pytest.approx(0.025)
    assert host.pressure_ratio == pytest.approx(0.05)
    assert host.server_wait_ms is not None
    # A tenth of what was used was not ours, so a tenth of 0.01 ms; the idle control thread does not count.
    assert host.server_wait_ms.p50 == pytest.approx(0.001)
    assert host.server_wait_ms.samples == run.seconds


def test_a_server_that_waits_for_cpus_others_use_makes_the_run_void(run: Any, tmp_path: Path) -> None:
    others_take(run, range(1, run.seconds + 1))
    summary = run.summary(tmp_path)
    assert summary.verdict == "void"
    assert summary.host is not None
    assert not summary.host.valid
    assert summary.generator.valid
    assert any("waited for a CPU that others used" in line for line in summary.reasons), summary.reasons


def test_a_second_among_ten_is_borne_and_two_are_not(run: Any, tmp_path: Path) -> None:
    others_take(run, range(4, 5))
    assert run.summary(tmp_path / "one").verdict == "pass"
    others_take(run, range(7, 8))
    assert run.summary(tmp_path / "two").verdict == "void"


def test_what_server_and_bots_take_from_each_other_is_not_held_against_the_machine(
    run: Any, tmp_path: Path
) -> None:
    for row in run.machine:
        row["busy_ns"] += row["tick"] * BUSY
        row["ours_ns"] += row["tick"] * BUSY
    others_take(run, range(1, run.seconds + 1), busy_ns=0)
    assert run.summary(tmp_path).verdict == "pass"


def test_stolen_time_makes_the_run_void_though_no_thread_was_seen_waiting(run: Any, tmp_path: Path) -> None:
    for row in run.machine:
        row["steal_ns"] += row["tick"] * S // 5
    summary = run.summary(tmp_path)
    assert summary.verdict == "void"
    assert any("other guests 10.0%" in line for line in summary.reasons), summary.reasons


def test_the_rest_of_a_second_at_the_end_does_not_count(run: Any, tmp_path: Path) -> None:
    last = dict(run.machine[-1])
    last |= {
        "tick": run.seconds + 1,
        "unix_ns": last["unix_ns"] + S // 50,
        "steal_ns": last["steal_ns"] + S // 100,
    }
    run.machine.append(last)
    others_take(run, range(1, 2))
    host = run.summary(tmp_path).host
    assert host is not None
    assert host.disturbed_ratio == 0.1
    assert host.steal_ratio == 0


def test_a_server_elsewhere_has_no_wait_and_is_judged_by_stolen_time_alone(run: Any, tmp_path: Path) -> None:
    others_take(run, range(1, run.seconds + 1))
    run.threads = [row for row in run.threads if row["role"] == "generator"]
    summary = run.summary(tmp_path)
    assert summary.verdict == "pass"
    assert summary.host is not None
    assert summary.host.server_wait_ms is not None
    assert summary.host.server_wait_ms.p50 is None


def test_a_run_whose_machine_was_not_watched_has_no_figures_of_it(run: Any, tmp_path: Path) -> None:
    run.machine, run.threads = [], []
    summary = run.summary(tmp_path)
    assert summary.host is None
    assert summary.verdict == "pass"
    assert complaints(None, Limits()) == []


def test_a_run_that_broke_off_before_it_was_measured_has_no_seconds_to_judge(
    run: Any, tmp_path: Path
) -> None:
    run.machine = [dict(row, tick=-1) for row in run.machine]
    host = run.summary(tmp_path).host
    assert host is not None
    assert host.disturbed_ratio is None


def test_a_thread_that_began_or_ended_meanwhile_counts_for_the_seconds_it_was_seen(run: Any) -> None:
    rows = [row for row in run.threads if row["name"] == "sfu-worker-0" and 3 <= row["tick"] <= 5]
    seconds = per_second(pd.DataFrame(run.machine), pd.DataFrame(rows))
    assert list(seconds.index[seconds["server_wait_ms"].notna()]) == [4, 5]


def test_a_kernel_without_pressure_figures_leaves_them_out(run: Any, tmp_path: Path) -> None:
    for row in run.machine:
        row["pressure_us"] = None
    host = run.summary(tmp_path).host
    assert host is not None
    assert host.pressure_ratio is None
    assert host.valid
