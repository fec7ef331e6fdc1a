"""Figures: everything a verdict rests on, computed by pandas from the raw Parquet files of one run.

Reads a run directory and computes; trusts no figure that was computed while the run went on. Comparing with
SLOs and writing reports is done in report/write.py.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from simulator.errors import RunDirectoryError
from simulator.samples.end_state import EndState
from simulator.samples.schema import KINDS, SAMPLE_FOREIGN, TABLES
from simulator.scenario import Scenario
from simulator.summary import (
    Decoded,
    Generator,
    Loss,
    LossOf,
    Machine,
    Percentiles,
    PerKind,
    Server,
    Streams,
)

SILENCE_NS = 2_000_000_000
"""A stream without a packet for longer than this does not flow."""
AUDIBLE_ENERGY_PER_S = 1e-5
"""Mean square over a second above which a stream counts as sound (about -50 dB of full scale)."""

STREAM = ["receiver", "sender", "kind"]
_COUNTERS = [
    "packets",
    "bytes",
    "expected",
    "missing_first",
    "missing",
    "duplicates",
    "out_of_order",
    "foreign",
    "frames_decoded",
    "freezes",
    "audio_energy",
]


class RunContext(BaseModel):
    """run.json: what happened to the run as a whole, written by the runner."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["meeshy.run/1"] = "meeshy.run/1"
    started_ns: int
    """When the run began."""
    window_start_ns: int | None = None
    """Begin of the measured time, which is tick 0; None when it was never reached."""
    window_end_ns: int | None = None
    """Its end, which is the last tick."""
    aborted: list[str] = []
    """Why the run broke off; empty when it did not."""
    dropped_calls: int | None = None
    """Calls the server ended before the run did."""
    machine: Machine | None = None


@dataclass(frozen=True)
class RawRun:
    """A run directory, read back."""

    scenario: Scenario
    context: RunContext
    tables: dict[str, pd.DataFrame]
    events: tuple[dict[str, Any], ...] = ()
    """What happened, in order."""
    end_state: EndState | None = None
    """What was there when everybody had left; None if nobody looked."""

    @classmethod
    def read(cls, directory: Path) -> RawRun:
        """Read the raw data of a run.

        Raises:
            RunDirectoryError: It is no complete run directory, or was written by another version.
        """
        try:
            context = _read_context(directory / "run.json")
            scenario = Scenario.from_values(
                tomllib.loads((directory / "scenario.toml").read_text(encoding="utf-8")),
                source=str(directory / "scenario.toml"),
            )
            lines = (directory / "events.jsonl").read_text(encoding="utf-8").splitlines()
            events = tuple(json.loads(line) for line in lines)
            end_state = EndState.read(directory)
            tables = {name: _read_table(directory / f"{name}.parquet") for name in TABLES}
        except FileNotFoundError as error:
            name = Path(error.filename).name if error.filename else "a file"
            raise RunDirectoryError(f"{directory} is no run directory: {name} is missing") from error
        except (
            ValidationError,
            json.JSONDecodeError,
            tomllib.TOMLDecodeError,
            UnicodeDecodeError,
            OSError,
        ) as error:
            raise RunDirectoryError(f"{directory} cannot be read: {error}") from error
        return cls(scenario, context, tables, events, end_state)

    @property
    def duration_s(self) -> float | None:
        """Length of the measured time; None when there was none."""
        start, end = self.context.window_start_ns, self.context.window_end_ns
        return None if start is None or end is None or end <= start else (end - start) / 1e9

    def samples(self) -> pd.DataFrame:
        """Give the latency samples of the measured time, without foreign ones."""
        frame = self.tables["latency"]
        start, end = self.context.window_start_ns, self.context.window_end_ns
        if start is None or end is None:
            return frame.iloc[0:0]
        inside = (frame["recv_unix_ns"] >= start) & (frame["recv_unix_ns"] <= end)
        return frame[inside & (frame["flags"] & SAMPLE_FOREIGN == 0)]

    def stream_deltas(self) -> pd.DataFrame:
        """Give what each expected stream did in the measured time; one row a stream, indexed by it.

        Columns are the differences of the counters, and `flowing`. A stream that never appeared has zeros.
        """
        expected = self.tables["expected"]
        index = pd.MultiIndex.from_frame(expected[STREAM].astype("int64"))
        rows = self.tables["streams"]
        rows = rows[rows["tick"] >= 0].astype(dict.fromkeys(STREAM, "int64")).sort_values("tick")
        grouped = rows.groupby(STREAM)
        first, last = grouped[_COUNTERS].first(), grouped[_COUNTERS].last()
        deltas = (last - first).reindex(index)
        ticks = int(rows["tick"].nunique())
        age = rows["unix_ns"] - rows["last_packet_ns"]
        lively = (rows["first_packet_ns"] > 0) & (age <= SILENCE_NS)
        alive = rows.assign(lively=lively).groupby(STREAM)["lively"].agg(["sum", "size"]).reindex(index)
        deltas["flowing"] = (alive["sum"] == ticks) & (alive["size"] == ticks) & (deltas["packets"] > 0)
        decoded = ["frames_decoded", "freezes", "audio_energy"]
        plain = [name for name in _COUNTERS if name not in decoded]
        deltas[plain] = deltas[plain].fillna(0).astype("int64")
        return deltas


def percentiles(values: pd.Series[Any]) -> Percentiles:
    """Shorten a distribution; all null when there are no samples. No sample is ever left out."""
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
    deltas = raw.stream_deltas().reset_index()
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


def loss(deltas: pd.DataFrame, kinds: tuple[str, ...]) -> Loss:
    """Compute loss over all streams, and by kind."""
    total = _loss_of(deltas)
    number = deltas.index.get_level_values("kind")
    by_kind = {kind: _loss_of(deltas[number == KINDS.index(kind)]) for kind in KINDS if kind in kinds}
    return Loss(
        ratio=total.ratio,
        before_repair=total.before_repair,
        audio=by_kind.get("audio"),
        video=by_kind.get("video"),
    )


def streams(deltas: pd.DataFrame) -> Streams:
    """Count the streams that should flow and that do."""
    return Streams(expected=len(deltas), flowing=int(deltas["flowing"].sum()))


def foreign_frames(raw: RawRun, deltas: pd.DataFrame) -> int:
    """Count stamps of somebody else than the announced sender, by samples or counters, whichever is more."""
    flagged = int((raw.tables["latency"]["flags"] & SAMPLE_FOREIGN != 0).sum())
    rows = raw.tables["streams"]
    counted = int(rows.groupby(STREAM)["foreign"].max().sum()) if len(rows) else 0
    return max(flagged, counted, int(deltas["foreign"].sum()))


def joins(raw: RawRun) -> Percentiles:
    """Compute join times: each stream counts for whoever of its two ends came last."""
    started = raw.tables["joins"].set_index("bot")["started_ns"]
    rows = raw.tables["streams"]
    first = rows[rows["first_packet_ns"] > 0].groupby(STREAM)["first_packet_ns"].min()
    expected = pd.MultiIndex.from_frame(raw.tables["expected"][STREAM])
    frame = first.reindex(expected).reset_index()
    if frame.empty or started.empty:
        return Percentiles()
    of_receiver, of_sender = frame["receiver"].map(started), frame["sender"].map(started)
    frame["start"] = np.maximum(of_receiver, of_sender)
    frame["bot"] = np.where(of_receiver >= of_sender, frame["receiver"], frame["sender"])
    # A participant whose streams did not all come has no join time; streams.flowing tells of it.
    frame["wait_ms"] = (frame["first_packet_ns"] - frame["start"]) / 1e6
    complete = frame.groupby("bot")["wait_ms"].agg(lambda waits: waits.max(skipna=False))
    return percentiles(complete.dropna().clip(lower=0))


def decoded(raw: RawRun, deltas: pd.DataFrame) -> Decoded | None:
    """Compute what decoding bots saw and heard; None when no bot decodes."""
    mine = deltas[deltas["frames_decoded"].notna()]
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


def server(raw: RawRun) -> Server:
    """Compute what the media server used, all null when it could not be watched."""
    rows = _window(raw.tables["server"])
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


def generator(raw: RawRun) -> Generator:
    """Compute how well the generator kept up; `valid` is decided by analysis/generator_check.py."""
    rows = _window(raw.tables["generator"])
    if rows.empty:
        return Generator(valid=False)
    grouped = rows.groupby("generator")
    first, last = grouped.first(), grouped.last()
    wall_ns = (last["unix_ns"] - first["unix_ns"]).clip(lower=1)
    share = (last["cpu_ns"] - first["cpu_ns"]) / wall_ns * 100
    sends = float((last["sends"] - first["sends"]).sum())
    late = float((last["late_sends"] - first["late_sends"]).sum())
    # The lag of tick 0 was before the measured time.
    lag = rows.loc[rows["tick"] > 0, "lag_max_us"]
    return Generator(
        valid=True,
        lag_ms=percentiles(lag / 1e3),
        cpu_core_percent=_round(float(share.sum())),
        busiest_core_percent=_round(float(share.max())),
        socket_drops=int((last["socket_drops"] - first["socket_drops"]).sum()),
        late_send_ratio=round(late / sends, 6) if sends else None,
    )


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


def _read_context(path: Path) -> RunContext:
    try:
        return RunContext.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        field = ".".join(map(str, found["loc"]))
        text = f"{found['msg'][:1].lower()}{found['msg'][1:]}"
        raise RunDirectoryError(f"{path} cannot be read: {field}{': ' if field else ''}{text}") from None


def _read_table(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        try:
            table = pd.read_parquet(file)
        except (ValueError, OSError) as error:  # what Arrow says of other bytes; it knows no file name
            raise RunDirectoryError(f"{path} cannot be read: it is no intact Parquet file") from error
    missing = [name for name in TABLES[path.stem].names if name not in table.columns]
    if missing:
        raise RunDirectoryError(
            f"{path} cannot be read: it has no column {', '.join(missing)}; was it written by another version?"
        )
    return table


def _window(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["tick"] >= 0].sort_values("unix_ns")


def _increase(counter: pd.Series) -> float | None:
    """Give how much a counter grew; where it steps back its server was started anew, and counts from zero."""
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
    )


def _share(part: pd.Series[Any], whole: pd.Series[Any]) -> pd.Series[Any]:
    return (part / whole.where(whole > 0)).clip(lower=0).round(6)


def _round(value: float) -> float:
    return round(float(value), 3)
