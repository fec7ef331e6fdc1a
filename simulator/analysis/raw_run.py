"""A recorded run, read back from its directory: scenario, context, events and the tables of raw samples.

Reads and checks; the figures are computed from it by the other modules of this package.
"""

from __future__ import annotations

import functools
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from simulator.analysis.clocks import ClockOffsets, estimate, on_one_clock
from simulator.errors import RunDirectoryError
from simulator.samples.end_state import EndState
from simulator.samples.recorder import is_partial
from simulator.samples.schema import SAMPLE_FOREIGN, TABLES
from simulator.scenario import Scenario
from simulator.summary import Machine

SILENCE_NS = 2_000_000_000
"""A stream without a packet for longer than this does not flow."""

DELIVERED_WITHIN_NS = 5_000_000_000
"""A frame that comes later after it was sent counts as missing; so long a run waits for what is under way at its end."""

ADDED = frozenset({"muted", "paused", "clocks"})
"""Tables that runs of before do not have; they are empty then."""
ADDED_COLUMNS = {
    "receivers": frozenset(
        {
            "timestamp_jumps",
            "key_frame_requests",
            "late_key_frames",
            "repaired",
            "unrepaired",
            "sender_report_wait_ms",
            "receiver_report_wait_ms",
            "feedback_wait_ms",
        }
    )
}
"""Columns that runs of before do not have; they are null then."""
STREAM = ["receiver", "sender", "kind"]
_COUNTERS = [
    "packets",
    "bytes",
    "expected",
    "missing_first",
    "missing",
    "duplicates",
    "out_of_order",
    "surplus_repairs",
    "unasked_repairs",
    "foreign",
    "frames_decoded",
    "freezes",
    "audio_energy",
]


class RunContext(BaseModel):
    """run.json: what happened to the run as a whole, written when it ends."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["meeshy.run/1"] = "meeshy.run/1"
    description: str = ""
    """What the run does, as its pattern describes it."""
    started_ns: int
    """When the run began."""
    window_start_ns: int | None = None
    """Begin of the measured time, which is tick 0; None when it was never reached."""
    window_end_ns: int | None = None
    """Its end, which is the last tick."""
    aborted: list[str] = []
    """Why the run broke off; empty when it did not."""
    left_out: list[str] = []
    """What it could not do or check because the server was not its own."""
    interrupted: bool = False
    """Whether it broke off because its user wanted it to."""
    server_ended: bool = False
    """Whether it broke off because a server of the run ended on its own."""
    overloaded: bool = False
    """Whether it broke off, or began its measured time, because participants were late or refused for want of room."""
    dropped_calls: int | None = None
    """Calls the server ended before the run did."""
    machine: Machine | None = None


@dataclass(frozen=True, eq=False)
class RawRun:
    """A run directory, read back."""

    scenario: Scenario
    context: RunContext
    tables: dict[str, pd.DataFrame]
    events: tuple[dict[str, Any], ...] = ()
    """The lines of events.jsonl, in order."""
    end_state: EndState | None = None
    """What services and database held after the last leave; None if they were not inspected."""
    clocks: ClockOffsets | None = None
    """How far the clocks of its machines were apart, which is corrected in the tables; None if there was one."""

    @classmethod
    def read(cls, directory: Path) -> RawRun:
        """Read the raw data of a run.

        Raises:
            RunDirectoryError: It is no complete run directory, or was written by another version.
        """
        try:
            context = read_context(directory / "run.json")
            scenario = Scenario.from_record(
                tomllib.loads((directory / "scenario.toml").read_text(encoding="utf-8")),
                source=str(directory / "scenario.toml"),
            )
            lines = (directory / "events.jsonl").read_text(encoding="utf-8").splitlines()
            events = tuple(json.loads(line) for line in lines)
            end_state = EndState.read(directory)
            tables = {
                name: _read_table(directory / f"{name}.parquet")
                if name not in ADDED or (directory / f"{name}.parquet").exists()
                else TABLES[name].empty_table().to_pandas()
                for name in TABLES
            }
        except FileNotFoundError as error:
            name = Path(error.filename).name if error.filename else "a file"
            raise no_run(directory, missing=name) from error
        except (
            ValidationError,
            json.JSONDecodeError,
            tomllib.TOMLDecodeError,
            UnicodeDecodeError,
            OSError,
        ) as error:
            raise RunDirectoryError(f"{directory} cannot be read: {error}") from error
        clocks = estimate(tables)
        if clocks is not None:
            tables = on_one_clock(tables, clocks)
        return cls(scenario, context, tables, events, end_state, clocks)

    @property
    def duration_s(self) -> float | None:
        """Length of the measured time; None when there was none."""
        start, end = self.context.window_start_ns, self.context.window_end_ns
        return None if start is None or end is None or end <= start else (end - start) / 1e9

    @property
    def announces_streams(self) -> bool:
        """Whether the bots knew from the media server which streams they would receive, and counted their packets.

        In calls of the gateway they count frames, and which streams should flow follows from who was in a call with whom.
        """
        return not self.tables["expected"].empty

    def samples(self, *, misrouted: bool = False) -> pd.DataFrame:
        """Return the samples of frames that were sent within the measured time, however late they came.

        Those of misrouted frames are left out unless they are asked for.
        """
        frame = self.tables["latency"]
        start, end = self.context.window_start_ns, self.context.window_end_ns
        if start is None or end is None:
            return frame.iloc[0:0]
        sent_ns = frame["recv_unix_ns"].astype("int64") - frame["owd_ns"]
        inside = (sent_ns >= start) & (sent_ns <= end)
        return frame[inside if misrouted else inside & (frame["flags"] & SAMPLE_FOREIGN == 0)]

    @functools.cached_property
    def stream_deltas(self) -> pd.DataFrame:
        """What each announced stream did in the measured time; one row a stream, indexed by :data:`STREAM`.

        Columns are the differences of the counters, and `flowing`. A stream that never appeared has zeros.
        """
        expected = self.tables["expected"]
        index = pd.MultiIndex.from_frame(expected[STREAM].astype("int64"))
        rows = self.tables["streams"]
        rows = rows[rows["tick"] >= 0].astype(dict.fromkeys(STREAM, "int64")).sort_values("tick")
        grouped = rows.groupby(STREAM)
        first, last = grouped[_COUNTERS].first(), grouped[_COUNTERS].last()
        deltas = (last - first).reindex(index)
        deltas["last_packet_ns"] = grouped["last_packet_ns"].max().reindex(index).fillna(0).astype("int64")
        ticks = int(rows["tick"].nunique())
        age = rows["unix_ns"] - rows["last_packet_ns"]
        lively = (rows["first_packet_ns"] > 0) & (age <= SILENCE_NS)
        alive = rows.assign(lively=lively).groupby(STREAM)["lively"].agg(["sum", "size"]).reindex(index)
        deltas["flowing"] = (alive["sum"] == ticks) & (alive["size"] == ticks) & (deltas["packets"] > 0)
        decoded = ["frames_decoded", "freezes", "audio_energy"]
        plain = [name for name in _COUNTERS if name not in decoded]
        deltas[plain] = deltas[plain].fillna(0).astype("int64")
        return deltas


def no_run(directory: Path, *, missing: str) -> RunDirectoryError:
    """Return the error that says why a directory holds no complete run, and which one was perhaps meant."""
    if not directory.is_dir():
        return RunDirectoryError(f"{directory}: there is no such run directory")
    if is_partial(directory):
        return RunDirectoryError(
            f"{directory} belongs to a run that has not ended; its directory has another name once it has"
        )
    inside = sorted(path.parent for path in directory.glob("*/run.json"))
    if inside and not (directory / "run.json").exists():
        return RunDirectoryError(
            f"{directory} holds several runs; name the directory of one of them, such as {inside[0]}"
        )
    return RunDirectoryError(f"{directory} is no run directory: {missing} is missing")


def read_context(path: Path) -> RunContext:
    """Read the run.json of a run.

    Raises:
        RunDirectoryError: It is damaged.
    """
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
    for name in ADDED_COLUMNS.get(path.stem, frozenset()).intersection(missing):
        table[name] = np.nan
        missing.remove(name)
    if missing:
        raise RunDirectoryError(
            f"{path} cannot be read: it has no column {', '.join(missing)}; was it written by another version?"
        )
    return table
