"""What happened over time in a run, and between whom: the tables that plots are drawn from.

Computed by pandas from the raw samples; drawing is in report/plots/. `at_s` counts seconds from the begin of the run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.analysis.delivery import accounts_of
from simulator.analysis.metrics import join_times
from simulator.analysis.raw_run import RawRun
from simulator.analysis.transitions import changes
from simulator.samples.schema import KINDS, SAMPLE_SHOWN

MOST_STEPS = 240
"""A longer run is shown in steps of several seconds."""


def since_start_s(raw: RawRun, unix_ns: Any) -> NDArray[np.float64]:
    """Return times as seconds from the begin of the run."""
    return (np.asarray(unix_ns, dtype=np.int64) - raw.context.started_ns) / 1e9


def step_s(duration_s: float) -> float:
    """Return the length of a step in which samples are taken together: whole seconds, at most 240 of them."""
    return float(max(1, -(-duration_s // MOST_STEPS)))


def latency_over_time(raw: RawRun) -> pd.DataFrame:
    """Compute percentiles of one-way latency in each second, by kind: kind, at_s, p50, p95, p99, max, samples."""
    columns = ["kind", "at_s", "p50", "p95", "p99", "max", "samples"]
    found: list[tuple[Any, ...]] = []
    samples = raw.samples()
    step = step_s(raw.duration_s or 1.0)
    for number, kind in enumerate(KINDS):
        mine = samples[samples["kind"] == number]
        steps = (since_start_s(raw, mine["recv_unix_ns"]) // step).astype(np.int64)
        order = np.argsort(steps, kind="stable")
        delays = mine["owd_ns"].to_numpy(dtype=np.float64)[order] / 1e6
        places, starts = np.unique(steps[order], return_index=True)
        for place, part in zip(places.tolist(), np.split(delays, starts[1:]), strict=False):
            p50, p95, p99 = np.percentile(part, [50, 95, 99]).tolist()
            found.append((kind, (place + 0.5) * step, p50, p95, p99, float(part.max()), len(part)))
    return pd.DataFrame(found, columns=columns)


def latency_tail(raw: RawRun) -> pd.DataFrame:
    """Compute which share of all samples took longer than what: kind, rest, ms, samples.

    `rest` falls from 1 to that of the single worst sample, in steps that are even on a logarithmic axis.
    """
    samples = raw.samples()
    found = []
    for number, kind in enumerate(KINDS):
        delays = np.sort(samples.loc[samples["kind"] == number, "owd_ns"].to_numpy(dtype=np.float64)) / 1e6
        if not len(delays):
            continue
        rest = np.append(np.geomspace(1, 1 / len(delays), 240), 1 / len(delays))
        places = np.minimum(np.ceil((1 - rest) * len(delays)).astype(int), len(delays) - 1)
        places[-1] = len(delays) - 1
        found.append(pd.DataFrame({"kind": kind, "rest": rest, "ms": delays[places], "samples": len(delays)}))
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=["kind", "rest", "ms", "samples"])
    )


def accounts_over_time(raw: RawRun) -> pd.DataFrame:
    """Count the frames due at receivers, and those of them that arrived, by the second they were sent in.

    Columns: kind, at_s, sent, delivered; rates a second, over all streams. Empty where no sender kept a record.
    """
    step = step_s(raw.duration_s or 1.0)
    found: dict[tuple[int, int], list[int]] = {}
    for reach in accounts_of(raw).reaches:
        inside = reach.due > 0
        steps = (since_start_s(raw, reach.sent_ns[inside]) // step).astype(np.int64)
        if not len(steps):
            continue
        first = int(steps.min())
        due, reached = (
            np.bincount(steps - first, weights=counts[inside]).astype(np.int64)
            for counts in (reach.due, reach.reached)
        )
        for place, (sent, delivered) in enumerate(zip(due.tolist(), reached.tolist(), strict=True)):
            total = found.setdefault((reach.kind, first + place), [0, 0])
            total[0] += sent
            total[1] += delivered
    rows = [
        (KINDS[kind], (place + 0.5) * step, sent / step, delivered / step)
        for (kind, place), (sent, delivered) in sorted(found.items())
    ]
    return pd.DataFrame(rows, columns=["kind", "at_s", "sent", "delivered"])


def packets_over_time(raw: RawRun) -> pd.DataFrame:
    """Compute packets sent to receivers, and received by them, in each second by kind: kind, at_s, sent, delivered.

    Both are rates a second. `sent` is what the numbers of the packets say.
    """
    rows = raw.tables["streams"]
    rows = rows[rows["tick"] >= 0]
    columns = ["kind", "at_s", "sent", "delivered"]
    if rows.empty:
        return pd.DataFrame(columns=columns)
    totals = rows.groupby(["kind", "tick"])[["expected", "packets"]].sum()
    times = rows.groupby(["kind", "tick"])["unix_ns"].median()
    found = []
    for number, kind in enumerate(KINDS):
        if number not in totals.index.get_level_values(0):
            continue
        counted, at_s = totals.loc[number], since_start_s(raw, times.loc[number])
        spans = np.diff(at_s)
        steps = counted.diff().iloc[1:].div(spans, axis=0)
        found.append(
            pd.DataFrame(
                {
                    "kind": kind,
                    "at_s": at_s[:-1] + spans / 2,
                    "sent": steps["expected"].to_numpy(),
                    "delivered": steps["packets"].to_numpy(),
                }
            )
        )
    return pd.concat(found, ignore_index=True)


def frames_over_time(raw: RawRun) -> pd.DataFrame:
    """Count stamped frames that arrived, or were shown in calls that switch, in each second: kind, at_s, delivered."""
    samples = _frames(raw)
    step = step_s(raw.duration_s or 1.0)
    steps = (since_start_s(raw, samples["recv_unix_ns"]) // step).astype(np.int64)
    counted = samples.groupby([samples["kind"].to_numpy(), steps]).size()
    rows = [
        (KINDS[int(kind)], (place + 0.5) * step, number / step)
        for (kind, place), number in zip(counted.index.tolist(), counted.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["kind", "at_s", "delivered"])


def frame_gaps(raw: RawRun) -> dict[str, NDArray[np.float64]]:
    """Return the times between one frame of a stream and the next, in milliseconds, by kind.

    In group calls one audio packet in ten is stamped, and these are counted. The time between leaving a call and joining it
    again is no gap.
    """
    samples = _frames(raw)
    times = samples["recv_unix_ns"].to_numpy(dtype=np.int64)
    receiver, sender = (samples[name].to_numpy(dtype=np.int64) for name in ("receiver", "sender"))
    kind = samples["kind"].to_numpy(dtype=np.int64)
    stay = _stay(raw, receiver, times) << 16 | _stay(raw, sender, times)
    stream = receiver << 17 | sender << 1 | kind
    order = np.lexsort((times, stay, stream) if stay.any() else (times, stream))
    stream, stay = stream[order], stay[order]
    same = (stream[1:] == stream[:-1]) & (stay[1:] == stay[:-1])
    gaps_ms = np.diff(times[order]) / 1e6
    return {name: gaps_ms[same & (stream[1:] & 1 == number)] for number, name in enumerate(KINDS)}


def busy_over_time(rows: pd.DataFrame, raw: RawRun, by: str) -> pd.DataFrame:
    """Compute the CPU time of each thread or process as percent of a core, between one collection and the next.

    Args:
        rows: The table, with `cpu_ns` counted since each one began.
        raw: The run.
        by: The column that tells them apart.
    """
    found = []
    for who, mine in rows[rows["tick"] >= 0].sort_values("unix_ns").groupby(by):
        at_s = since_start_s(raw, mine["unix_ns"])
        spans = np.diff(at_s)
        busy = mine["cpu_ns"].diff().iloc[1:].to_numpy(dtype=np.float64)
        share = np.divide(busy, spans * 1e7, out=np.full(len(spans), np.nan), where=spans > 0)
        # A counter that steps back is that of a server that was restarted.
        share[share < 0] = np.nan
        found.append(pd.DataFrame({by: who, "at_s": at_s[:-1] + spans / 2, "percent": share}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=[by, "at_s", "percent"])


def receivers(pairs: pd.DataFrame, raw: RawRun) -> pd.DataFrame:
    """Compute what each participant received, over all streams to it: one row a receiver."""
    rows = []
    samples = raw.samples()
    delays = samples["owd_ns"].to_numpy(dtype=np.float64) / 1e6
    spread = pd.Series(delays).groupby([samples["receiver"].to_numpy(), samples["kind"].to_numpy()])
    levels: dict[Any, list[float]] = {
        key: np.percentile(part.to_numpy(), [50, 95]).tolist() for key, part in spread
    }
    for receiver, mine in ((int(str(bot)), rows) for bot, rows in pairs.groupby("receiver")):
        row: dict[str, Any] = {
            "receiver": receiver,
            "streams": len(mine),
            "flowing": int(mine["flowing"].astype(bool).sum()),
        }
        for number, kind in enumerate(KINDS):
            if (receiver, number) in levels:
                row[f"{kind}_p50_ms"], row[f"{kind}_p95_ms"] = levels[receiver, number]
        row["max_ms"] = mine["max_ms"].max()
        expected = mine["expected"].sum()
        row["loss"] = max(0.0, (mine["loss"] * mine["expected"]).sum() / expected) if expected else None
        rows.append(row)
    columns = ["receiver", "streams", "flowing", "audio_p50_ms", "audio_p95_ms"]
    columns += ["video_p50_ms", "video_p95_ms", "max_ms", "loss"]
    return pd.DataFrame(rows, columns=columns)


def joins(raw: RawRun) -> pd.DataFrame:
    """List the joins of participants who had streams to wait for: bot, started_ns, signalled_ns, flowing_ns; 0 is never."""
    arrivals = raw.tables["arrivals"].sort_values("started_ns")
    if arrivals.empty:
        return join_times(raw)
    # The first participant of a call has no streams to wait for.
    waiting = arrivals[(arrivals["flowing_ns"] > 0) | arrivals.duplicated("call_id")]
    return waiting.assign(signalled_ns=0)[["bot", "started_ns", "signalled_ns", "flowing_ns"]]


def ended_changes(raw: RawRun) -> pd.DataFrame:
    """List the changes between peer to peer and SFU that succeeded, a row a participant, from decision to end."""
    rows = changes(raw)
    rows = rows[(rows["decided_ns"] > 0) & (rows["completed_ns"] > 0)]
    return rows[rows["success"].fillna(False).astype(bool)]


def _frames(raw: RawRun) -> pd.DataFrame:
    samples = raw.samples()
    shown = samples["flags"] & SAMPLE_SHOWN != 0
    return samples if raw.announces_streams else samples[shown]


def _stay(raw: RawRun, bots: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each bot and time the number of its joins until then."""
    stays = np.zeros(len(bots), dtype=np.int64)
    rows = raw.tables["arrivals"]
    for bot, mine in rows.groupby("bot"):
        chosen = bots == int(str(bot))
        joins = np.sort(mine["started_ns"].to_numpy(dtype=np.int64))
        stays[chosen] = np.searchsorted(joins, times[chosen], side="right")
    return stays
