"""The check of the machine: did other programs or guests take the CPU time that server and bots needed?

Pure: computes from the tables `machine` and `threads`, and judges. A server that waits for a CPU which others use is
slow for a reason that is not its own, so the run is void. What the run itself takes, server and bots together, is not held
against the machine: whether the bots kept up is judged in generator_check.py.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from simulator.analysis.figures import computes
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import RawRun
from simulator.host_figures import Host
from simulator.scenario import Limits

MIN_TURNS = 20
"""A thread that had fewer turns on a CPU in a second carries no media, and its mean says nothing."""
MIN_STEP_NS = 500_000_000
"""The kernel counts in steps of 10 ms: the rest of a second at the end of a run says too little."""
_COUNTERS = ["cpu_ns", "wait_ns", "turns"]


@computes("host", needs=["machine"])
def host(raw: RawRun) -> Host:
    """Compute what the machine gave the run, and whether it was enough."""
    seconds = per_second(raw.tables["machine"], raw.tables["threads"])
    found = _host(seconds, raw.scenario.limits)
    found.valid = not complaints(found, raw.scenario.limits)
    return found


def per_second(machine: pd.DataFrame, threads: pd.DataFrame) -> pd.DataFrame:
    """Compute what happened from each tick of the measured time to the next; one row a tick but the first.

    Columns: `others`, `steal` and `pressure` as shares of the machine's time, `server_wait_ms` and `generator_wait_ms`: the
    mean wait of a thread that is due for a CPU, as far as others caused it.
    """
    rows = machine[machine["tick"] >= 0].sort_values("tick").set_index("tick")
    steps = rows.astype("float64").diff().iloc[1:]
    steps = steps[steps["unix_ns"] >= MIN_STEP_NS]
    room_ns = steps["unix_ns"] * rows["cores"].reindex(steps.index)
    others_ns = (steps["busy_ns"] - steps["ours_ns"]).clip(lower=0)
    taken_ns = others_ns + steps["steal_ns"]
    table = pd.DataFrame(
        {
            "others": (others_ns / room_ns).clip(0, 1),
            "steal": (steps["steal_ns"] / room_ns).clip(0, 1),
            "pressure": (steps["pressure_us"] * 1000 / steps["unix_ns"]).clip(0, 1),
        }
    )
    # Who waits, waits for whoever runs: other programs and guests have their share of that.
    blame = (taken_ns / (taken_ns + steps["ours_ns"]).where(lambda busy: busy > 0)).fillna(0)
    waits = _waits(threads)
    for role in ("server", "generator"):
        mean_ms = waits.get(role, pd.Series(dtype="float64"))
        table[f"{role}_wait_ms"] = mean_ms.reindex(table.index) * blame
    return table


def _waits(threads: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Compute the mean wait for a turn on a CPU by role, in milliseconds by tick, of all threads that carry media."""
    rows = threads[threads["tick"] >= 0].sort_values("tick")
    steps = rows.groupby(["pid", "tid"])[_COUNTERS].diff()
    steps = steps.assign(role=rows["role"], tick=rows["tick"]).dropna()
    steps = steps[steps["turns"] >= MIN_TURNS]
    sums = steps.groupby(["role", "tick"])[_COUNTERS].sum()
    mean_ms = sums["wait_ns"] / sums["turns"] / 1e6
    return {str(role): one.droplevel("role") for role, one in mean_ms.groupby("role")}


def _host(seconds: pd.DataFrame, limits: Limits) -> Host:
    disturbed = (seconds["server_wait_ms"] > limits.wait_ms) | (seconds["steal"] > limits.steal_ratio)

    def mean(name: str) -> float | None:
        known = seconds[name].dropna()
        return round(float(known.mean()), 4) if len(known) else None

    return Host(
        others_ratio=mean("others"),
        steal_ratio=mean("steal"),
        pressure_ratio=mean("pressure"),
        server_wait_ms=percentiles(seconds["server_wait_ms"].dropna()),
        generator_wait_ms=percentiles(seconds["generator_wait_ms"].dropna()),
        disturbed_ratio=round(float(disturbed.mean()), 4) if len(disturbed) else None,
    )


def complaints(host: Host | None, limits: Limits) -> list[str]:
    """List what makes a run void; empty when the machine was the run's own as far as it matters, or was not watched."""
    disturbed = None if host is None else host.disturbed_ratio
    if host is None or disturbed is None or disturbed <= limits.disturbed_ratio:
        return []
    wait, others, steal = host.server_wait_ms, host.others_ratio or 0.0, host.steal_ratio or 0.0
    waited = "" if wait is None or wait.max is None else f", up to {wait.max:.2g} ms a turn"
    return [
        f"the machine was not the run's own: in {disturbed:.0%} of the seconds the media server waited for a CPU that others "
        f"used{waited}, or the hypervisor took CPU time away (limits {limits.wait_ms:g} ms and {limits.steal_ratio:.0%}, in "
        f"{limits.disturbed_ratio:.0%} of the seconds); other programs used {others:.0%} of all CPU time, other guests "
        f"{steal:.1%}"
    ]
