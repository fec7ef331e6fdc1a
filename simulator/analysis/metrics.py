"""Figures of media, servers and the generator itself, computed by pandas from the raw samples of one run.

Trusts no figure that was computed while the run went on. Calls that change their mode have figures of their own, in
call_streams.py and transitions.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulator.analysis.figures import computes
from simulator.analysis.generator_check import complaints
from simulator.analysis.intervals import share
from simulator.analysis.raw_run import SILENCE_NS, STREAM, RawRun
from simulator.clock_figures import Clocks
from simulator.media_figures import Streams
from simulator.samples.schema import KINDS, SAMPLE_FOREIGN
from simulator.summary import Decoded, Generator, Loss, LossOf, Percentiles, PerKind, Server

AUDIBLE_ENERGY_PER_S = 1e-5
"""Mean square over a second above which a stream counts as sound (about -50 dB of full scale)."""


def percentiles(values: pd.Series[Any]) -> Percentiles:
    """Compute the percentiles of all samples; all null when there are none."""
    if len(values) == 0:
        return Percentiles()
    p50, p95, p99 = np.percentile(values.to_numpy(dtype="float64"), [50, 95, 99])
    return Percentiles(
        p50=_round(p50),
        p95=_round(p95),
        p99=_round(p99),
        max=_round(float(values.max())),
        samples=len(values),
    )


@computes("clocks", needs=["clocks"])
def clocks(raw: RawRun) -> Clocks | None:
    """Compute how far the clocks of several machines were apart; None where all bots read one."""
    offsets = raw.clocks
    if offsets is None:
        return None
    ahead = [int(ns) for offset in offsets.ahead.values() for ns in offset.ahead_ns]
    largest = max(ahead, key=abs, default=None)
    return Clocks(
        machines=len(offsets.names),
        offset_ms=None if largest is None else round(largest / 1e6, 3),
        error_ms=round(offsets.error_ns / 1e6, 3) if ahead else None,
    )


@computes("latency_ms")
def latency(raw: RawRun) -> PerKind:
    """Compute one-way latency by kind."""
    samples = raw.samples()
    return PerKind(
        **{
            kind: percentiles(samples.loc[samples["kind"] == number, "owd_ns"] / 1e6)
            for number, kind in enumerate(KINDS)
            if kind in raw.scenario.media.kinds
        }
    )


def pairs(raw: RawRun) -> pd.DataFrame:
    """Compute latency and loss of each (sender, receiver, kind); one row a stream."""
    samples = raw.samples()
    grouped = samples.assign(owd_ms=samples["owd_ns"] / 1e6).groupby(["sender", "receiver", "kind"])["owd_ms"]
    table = (
        grouped.quantile(np.array([0.5, 0.95, 0.99])).unstack()
        if len(samples)
        else pd.DataFrame(columns=[0.5, 0.95, 0.99])
    )
    table.columns = pd.Index(["p50_ms", "p95_ms", "p99_ms"])
    table["max_ms"], table["samples"] = grouped.max(), grouped.size()
    deltas = raw.stream_deltas.reset_index()
    merged = (
        deltas.merge(table.reset_index(), how="left", on=["sender", "receiver", "kind"])
        if len(table)
        else deltas
    )
    for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"):
        if name not in merged:
            merged[name] = np.nan
    if "samples" not in merged:
        merged["samples"] = 0
    merged["samples"] = merged["samples"].fillna(0).astype("int64")
    merged["loss"] = _share(merged["missing"], merged["expected"])
    merged["loss_before_repair"] = _share(merged["missing_first"], merged["expected"])
    merged["kind"] = merged["kind"].map(dict(enumerate(KINDS)))
    columns = ["sender", "receiver", "kind", "flowing", "packets", "expected", "loss", "loss_before_repair"]
    columns += ["duplicates", "out_of_order", "foreign", "p50_ms", "p95_ms", "p99_ms", "max_ms", "samples"]
    return merged[columns].sort_values(["sender", "receiver", "kind"], ignore_index=True)


@computes("loss")
def loss(raw: RawRun) -> Loss:
    """Compute loss over all streams, and by kind."""
    deltas = raw.stream_deltas
    total = _loss_of(deltas)
    kinds = deltas.index.get_level_values("kind")
    by_kind = {kind: _loss_of(deltas[kinds == KINDS.index(kind)]) for kind in raw.scenario.media.kinds}
    return Loss(
        ratio=total.ratio,
        before_repair=total.before_repair,
        interval=total.interval,
        audio=by_kind.get("audio"),
        video=by_kind.get("video"),
    )


@computes("streams", needs=["expected"], in_window=False)
def streams(raw: RawRun) -> Streams:
    """Count the streams that were announced, and those that flow."""
    end = raw.context.window_end_ns
    if raw.context.window_start_ns is None or end is None:
        return Streams(expected=len(raw.tables["expected"]))
    deltas = raw.stream_deltas
    flowing = deltas["flowing"] & (deltas["last_packet_ns"] >= end - SILENCE_NS)
    return Streams(expected=len(flowing), flowing=int(flowing.sum()))


@computes("duplicates", needs=["expected"])
def duplicates(raw: RawRun) -> int:
    """Count the packets that arrived more than once."""
    return int(raw.stream_deltas["duplicates"].sum())


@computes("out_of_order", needs=["expected"])
def out_of_order(raw: RawRun) -> int:
    """Count the packets that arrived after one sent later."""
    return int(raw.stream_deltas["out_of_order"].sum())


@computes("dropped_calls", in_window=False)
def dropped_calls(raw: RawRun) -> int | None:
    """Return how many calls ended before the run did, as the run noted it."""
    return raw.context.dropped_calls


@computes("foreign_frames", in_window=False)
def misrouted_frames(raw: RawRun) -> int | None:
    """Count stamps of another sender than the announced one, by samples or by counters, whichever is more."""
    if raw.tables["sent"].empty:
        return None
    flagged = int((raw.tables["latency"]["flags"] & SAMPLE_FOREIGN != 0).sum())
    rows = raw.tables["streams"]
    counted = int(rows.groupby(STREAM)["foreign"].max().sum()) if len(rows) else 0
    return max(flagged, counted, int(raw.stream_deltas["foreign"].sum()))


@computes("join_ms", needs=["expected"], in_window=False)
def joins(raw: RawRun) -> Percentiles:
    """Compute join times of the participants whose streams all came; streams.flowing counts the others."""
    rows = join_times(raw)
    done = rows[rows["flowing_ns"] > 0]
    return percentiles(((done["flowing_ns"] - done["started_ns"]) / 1e6).clip(lower=0))


def join_times(raw: RawRun) -> pd.DataFrame:
    """Compute when each participant joined: bot, started_ns, signalled_ns, flowing_ns; 0 is never.

    Each stream counts for whoever of its two ends came last.
    """
    table = raw.tables["joins"][["bot", "started_ns", "signalled_ns"]].set_index("bot").astype("int64")
    started = table["started_ns"]
    rows = raw.tables["streams"]
    first = rows[rows["first_packet_ns"] > 0].groupby(STREAM)["first_packet_ns"].min()
    expected = pd.MultiIndex.from_frame(raw.tables["expected"][STREAM])
    frame = first.reindex(expected).reset_index()
    of_receiver, of_sender = frame["receiver"].map(started), frame["sender"].map(started)
    frame["bot"] = np.where(of_receiver >= of_sender, frame["receiver"], frame["sender"])
    flowing = frame.groupby("bot")["first_packet_ns"].agg(lambda times: times.max(skipna=False))
    joined = table.assign(flowing_ns=flowing.reindex(table.index).fillna(0).astype("int64"))
    return joined[joined.index.isin(frame["bot"])].reset_index()


@computes("decoded")
def decoded(raw: RawRun) -> Decoded | None:
    """Compute what decoding bots received; None when no bot decodes."""
    mine = raw.stream_deltas[raw.stream_deltas["frames_decoded"].notna()]
    if mine.empty:
        return None
    is_video = mine.index.get_level_values("kind") == KINDS.index("video")
    video, audio = mine[is_video], mine[~is_video]
    seconds = raw.duration_s or 1.0
    return Decoded(
        streams=len(mine),
        frames=int(video["frames_decoded"].sum()),
        freezes=int(video["freezes"].sum()),
        audible=int((audio["audio_energy"] / seconds > AUDIBLE_ENERGY_PER_S).sum()),
        audio_streams=len(audio),
        playout_ms=_playout(raw),
    )


@computes("server")
def server(raw: RawRun) -> Server:
    """Compute what the media server used; all null when it was not observed."""
    rows = _window(raw.tables["server"])
    # A row without figures is one without an answer.
    rows = rows[rows[["cpu_ns", "rss_bytes", "packets_in", "packets_out"]].notna().any(axis=1)]
    if len(rows) < 2:
        return Server()
    first, last = rows.iloc[0], rows.iloc[-1]
    wall_ns = float(last["unix_ns"] - first["unix_ns"])
    cpu_ns, packets, packets_in = (_increase(rows[name]) for name in ("cpu_ns", "packets_out", "packets_in"))
    threads = _window(raw.tables["server_threads"]).groupby("thread")["cpu_ns"].agg(_increase).dropna()
    rss = rows["rss_bytes"].max()
    return Server(
        cpu_core_percent=None if cpu_ns is None else _round(cpu_ns / wall_ns * 100),
        busiest_thread_percent=_round(float(threads.max()) / wall_ns * 100) if len(threads) else None,
        cpu_ns_per_packet=_round(cpu_ns / packets) if packets and cpu_ns is not None else None,
        rss_bytes=None if pd.isna(rss) else int(rss),
        packets_out=None if packets is None else int(packets),
        packets_in=None if packets_in is None else int(packets_in),
    )


@computes("generator", in_window=False)
def generator(raw: RawRun) -> Generator:
    """Compute how well the generator kept up."""
    rows = _window(raw.tables["generator"])
    if rows.empty:
        # A run that broke off before it measured: whether the generator was too weak shows in its ramp.
        rows = raw.tables["generator"].sort_values("unix_ns")
    if rows.empty:
        return Generator(valid=False)
    grouped = rows.groupby("generator")
    first, last = grouped.first(), grouped.last()
    wall_ns = (last["unix_ns"] - first["unix_ns"]).clip(lower=1)
    share = (last["cpu_ns"] - first["cpu_ns"]) / wall_ns * 100
    sends = float((last["sends"] - first["sends"]).sum())
    late = float((last["late_sends"] - first["late_sends"]).sum())
    # The lag of tick 0 was before the measured time.
    lag = rows.loc[rows["tick"] != 0, "lag_max_us"]
    stalled = (last["stalled_us"] - first["stalled_us"]) * 1000 / wall_ns
    found = Generator(
        lag_ms=percentiles(lag / 1e3),
        stalled_ratio=round(float(stalled.max()), 6),
        cpu_core_percent=_round(float(share.sum())),
        busiest_core_percent=_round(float(share.max())),
        socket_drops=int((last["socket_drops"] - first["socket_drops"]).sum()),
        late_send_ratio=round(late / sends, 6) if sends else None,
    )
    found.valid = not complaints(found, raw.scenario.limits)
    return found


def _playout(raw: RawRun) -> PerKind | None:
    rows, start, end = raw.tables["playout"], raw.context.window_start_ns, raw.context.window_end_ns
    if start is None or end is None:
        return None
    rows = rows[(rows["unix_ns"] >= start) & (rows["unix_ns"] <= end)]
    return PerKind(
        **{
            kind: percentiles(rows.loc[rows["kind"] == number, "delay_ns"] / 1e6)
            for number, kind in enumerate(KINDS)
            if kind in raw.scenario.media.kinds
        }
    )


def _window(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["tick"] >= 0].sort_values("unix_ns")


def _increase(counter: pd.Series) -> float | None:
    """Return how much a counter grew; where it steps back its server was restarted, and counts from zero."""
    known = counter.dropna()
    if len(known) < 2:
        return None
    steps = known.diff().iloc[1:]
    return float(steps.where(steps >= 0, known.iloc[1:]).sum())


def _loss_of(deltas: pd.DataFrame) -> LossOf:
    expected = int(deltas["expected"].sum())
    if expected <= 0:
        return LossOf()
    # A repair of what was lost before the measured time can make a difference negative.
    return LossOf(
        ratio=round(max(0.0, float(deltas["missing"].sum()) / expected), 6),
        before_repair=round(max(0.0, float(deltas["missing_first"].sum()) / expected), 6),
        interval=share(max(0, int(deltas["missing"].sum())), expected),
    )


def _share(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[Any]:
    return (part / whole.where(whole > 0)).clip(lower=0).round(6)


def _round(value: float) -> float:
    return round(float(value), 3)
