"""Clocks of several machines: the estimate holds the true offset, and says how far it may be off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from simulator.analysis.clocks import BLOCK_NS, ClockOffsets, estimate, on_one_clock
from simulator.analysis.raw_run import RawRun
from simulator.report.write import summarize
from simulator.samples.schema import TABLES

MS = 1_000_000
START = 1_800_000_000_000 * MS


def tables(
    clock_of: Mapping[int, str],
    ahead_ms: Mapping[str, float],
    delays_ms: Mapping[tuple[str, str], Sequence[float]],
    *,
    streams: Sequence[tuple[int, int]] | None = None,
    seconds: int = 20,
    drift_ppm: float = 0.0,
) -> dict[str, pd.DataFrame]:
    """Samples of streams between bots, with stamps and arrivals by the clocks of their machines."""
    found = {name: schema.empty_table().to_pandas() for name, schema in TABLES.items()}
    found["clocks"] = pd.DataFrame(list(clock_of.items()), columns=["bot", "clock"])
    rows = []
    for sender, receiver in streams or [(a, b) for a in clock_of for b in clock_of if a != b]:
        way = clock_of[sender], clock_of[receiver]
        for n in range(seconds * 10):
            delays = delays_ms.get(way, (0.2, 0.5))
            sent = START + n * 100 * MS
            arrived = sent + int(delays[n % len(delays)] * MS)

            def by(name: str, at: int) -> int:
                drift = int((at - START) * drift_ppm / 1e6) if name != "here" else 0
                return at + int(ahead_ms.get(name, 0) * MS) + drift

            stamp, arrival = by(way[0], sent), by(way[1], arrived)
            rows.append((receiver, sender, 0, 0, n, arrival, arrival - stamp, 0))
    names = ["receiver", "sender", "kind", "flags", "seq", "recv_unix_ns", "owd_ns", "whole_ns"]
    found["latency"] = pd.DataFrame(rows, columns=names)
    return found


def known(found: dict[str, pd.DataFrame]) -> ClockOffsets:
    offsets = estimate(found)
    assert offsets is not None
    return offsets


def test_one_machine_has_no_offset() -> None:
    assert estimate(tables({0: "here", 1: "here"}, {}, {})) is None
    assert estimate({name: schema.empty_table().to_pandas() for name, schema in TABLES.items()}) is None


@pytest.mark.parametrize("ahead_ms", [0, 250, -250, 3_600_000, 0.05])
@pytest.mark.parametrize("back_ms", [(1.0, 9.0), (4.0, 30.0), (21.0,)])
def test_the_offset_is_found_within_its_error_however_unlike_the_ways_are(
    ahead_ms: float, back_ms: tuple[float, ...]
) -> None:
    """There 1 ms at the shortest; back as much, or more: it is wrong by half of the difference."""
    ways = {("here", "there"): (1.0, 5.0), ("there", "here"): back_ms}
    offsets = known(tables({0: "here", 1: "here", 2: "there"}, {"there": ahead_ms}, ways))
    assert offsets.first == "here"
    offset = offsets.ahead["there"]
    off_by = np.abs(offset.ahead_ns - ahead_ms * MS)
    assert off_by.max() <= offset.error_ns
    assert off_by.max() == pytest.approx((min(back_ms) - 1.0) / 2 * MS, abs=2000)
    assert offset.error_ns == pytest.approx((min(back_ms) + 1.0) / 2 * MS, abs=2000)


def test_all_delays_are_true_ones_once_corrected() -> None:
    ways = {("here", "there"): (2.0, 8.0), ("there", "here"): (2.0, 8.0)}
    found = tables({0: "here", 1: "here", 2: "there"}, {"there": 250}, ways)
    corrected = on_one_clock(found, known(found))["latency"]
    delays = corrected.assign(ms=corrected["owd_ns"] / MS).groupby(["sender", "receiver"])["ms"]
    assert delays.min().loc[0, 2] == pytest.approx(2.0, abs=0.01)
    assert delays.max().loc[2, 0] == pytest.approx(8.0, abs=0.01)
    assert delays.max().loc[0, 1] == pytest.approx(0.5, abs=0.01)
    assert int(corrected["recv_unix_ns"].max()) < START + 20_000 * MS


def test_a_clock_that_drifts_is_followed() -> None:
    """50 ppm for two minutes are 6 ms; a delay is never off by more than the error that is said."""
    ways = {("here", "there"): (1.0,), ("there", "here"): (1.0,)}
    found = tables({0: "here", 1: "there"}, {"there": 250}, ways, seconds=120, drift_ppm=50)
    offsets = known(found)
    assert np.ptp(offsets.ahead["there"].ahead_ns) > 4 * MS
    corrected = on_one_clock(found, offsets)["latency"]["owd_ns"].to_numpy()
    assert np.abs(corrected - 1 * MS).max() <= offsets.error_ns < 2 * MS


def test_machines_that_share_no_call_are_joined_over_a_third() -> None:
    clock_of = {0: "a", 1: "a", 2: "b", 3: "c"}
    found = tables(
        clock_of, {"b": 100, "c": -40}, {}, streams=[(0, 2), (2, 0), (2, 3), (3, 2), (0, 1), (1, 0)]
    )
    offsets = known(found)
    assert offsets.ahead["b"].ahead_ns[0] == pytest.approx(100 * MS, abs=offsets.ahead["b"].error_ns)
    assert offsets.ahead["c"].ahead_ns[0] == pytest.approx(-40 * MS, abs=offsets.ahead["c"].error_ns)
    assert offsets.ahead["c"].error_ns > offsets.ahead["b"].error_ns
    assert offsets.unknown == ()


def test_a_clock_with_media_one_way_alone_is_not_known_and_one_without_any_needs_not_be() -> None:
    offsets = known(tables({0: "a", 1: "a", 2: "b"}, {"b": 100}, {}, streams=[(0, 2), (0, 1)]))
    assert (dict(offsets.ahead), offsets.unknown) == ({}, ("b",))
    offsets = known(tables({0: "a", 1: "a", 2: "b", 3: "b"}, {"b": 100}, {}, streams=[(0, 1), (2, 3)]))
    assert (dict(offsets.ahead), offsets.unknown) == ({}, ())


def test_times_before_and_after_are_by_the_nearest_block() -> None:
    found = tables({0: "here", 1: "there"}, {"there": 250}, {}, seconds=20, drift_ppm=100)
    offset = known(found).ahead["there"]
    edges = offset.at(np.array([0, START + 10**6 * BLOCK_NS], np.int64))
    assert edges.tolist() == [offset.ahead_ns[0], offset.ahead_ns[-1]]


def test_a_run_on_two_machines_shows_offset_and_error_and_widens_its_latency(
    run: Any, tmp_path: Path
) -> None:
    """The perfect call with participant 2 on a machine whose clock is 250 ms ahead: the figures are those of one clock."""
    alone = run.summary(tmp_path / "one")
    run.clocks = [{"bot": b, "clock": "there" if b == 2 else "here"} for b in range(3)]
    for row in run.latency:
        ahead = 250 * MS * ((row["receiver"] == 2) - (row["sender"] == 2))
        row["owd_ns"] += ahead
        row["recv_unix_ns"] += 250 * MS * (row["receiver"] == 2)
    for row in run.sent:
        row["sent_unix_ns"] += 250 * MS * (row["sender"] == 2)
    raw = RawRun.read(run.write(tmp_path / "two"))
    summary = summarize(raw)
    assert summary.clocks is not None
    assert summary.clocks.machines == 2
    assert summary.clocks.offset_ms == pytest.approx(250, abs=0.01)
    assert summary.clocks.error_ms == pytest.approx(1, abs=0.01)
    assert summary.latency_ms.video is not None
    assert alone.latency_ms.video is not None
    assert summary.latency_ms.video.p95 == pytest.approx(alone.latency_ms.video.p95, abs=0.01)
    assert alone.clocks is None
    before, after = (s.intervals["latency_ms.video.p95"] for s in (alone, summary))
    assert before.low is not None
    assert before.high is not None
    assert (after.low, after.high) == (
        pytest.approx(before.low - 1, abs=0.05),
        pytest.approx(before.high + 1, abs=0.05),
    )


def test_a_run_whose_clocks_are_not_known_is_an_error(run: Any, tmp_path: Path) -> None:
    run.clocks = [{"bot": b, "clock": "there" if b == 2 else "here"} for b in range(3)]
    run.latency = [row for row in run.latency if row["sender"] != 2]
    summary = run.summary(tmp_path)
    assert summary.verdict == "error"
    assert any("clocks of 1 machines are not known (there)" in reason for reason in summary.reasons)
