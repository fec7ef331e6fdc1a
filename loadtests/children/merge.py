"""Raw samples of several processes as those of one run.

Copies rows and makes names unique; computes nothing. Each process numbers its generator threads from 0, the run has them by
the name of the process as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loadtests.messages import PART_FILE, Part
from simulator.samples.recorder import Recorder
from simulator.samples.schema import TABLES

EVENTS = "events.jsonl"
_GENERATOR = "generator"
"""The column that names a thread or process of bots."""


def read_part(directory: Path) -> Part:
    """Read what a process said at its end."""
    return Part.model_validate_json((directory / PART_FILE).read_text(encoding="utf-8"))


def merge_tables(parts: Sequence[Path], recorder: Recorder) -> None:
    """Add all rows of these processes to a run's tables; the name of a directory is that of its process."""
    for part in parts:
        for table in TABLES:
            file = part / f"{table}.parquet"
            if not file.is_file():
                continue
            with pq.ParquetFile(file) as rows:
                for batch in rows.iter_batches():
                    recorder.add_batch(table, _named(batch, part.name).cast(TABLES[table]))


def merge_events(parts: Sequence[Path], directory: Path) -> None:
    """Put the events of these processes among those of a run, in the order of time; the run's file is complete."""
    lines: list[str] = []
    for file in [directory / EVENTS, *(part / EVENTS for part in parts)]:
        if file.is_file():
            lines += file.read_text(encoding="utf-8").splitlines()
    lines.sort(key=lambda line: int(json.loads(line)["unix_ns"]))
    (directory / EVENTS).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _named(batch: pa.RecordBatch, process: str) -> pa.RecordBatch:
    if _GENERATOR not in batch.schema.names:
        return batch
    place = batch.schema.get_field_index(_GENERATOR)
    names = pc.binary_join_element_wise(process, batch.column(place), "/")
    return batch.set_column(place, batch.schema.field(place), names)
