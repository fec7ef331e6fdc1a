"""Samples of several processes as those of one run."""

import json
from pathlib import Path

import pandas as pd

from loadtests.children.merge import merge_events, merge_tables
from simulator.samples.recorder import Recorder
from simulator.samples.schema import TABLES

_TOTALS = (0,) * (len(TABLES["generator"]) - 3)


def _part(folder: Path, bot: int, unix_ns: int) -> Path:
    folder.mkdir(parents=True)
    recorder = Recorder(folder)
    recorder.add("participants", [(bot, f"person-{bot}", "", "native", "native", False)])
    recorder.add("generator", [(0, unix_ns, "native-0", *_TOTALS), (0, unix_ns, "native-1", *_TOTALS)])
    recorder.event("joined", unix_ns, bot=bot)
    recorder.close()
    return folder


def test_rows_of_all_processes_are_in_the_run_and_threads_are_told_apart(tmp_path: Path) -> None:
    parts = [_part(tmp_path / "parts" / f"worker-{i}", i + 1, 10 - i) for i in range(2)]
    run = tmp_path / "run"
    run.mkdir()
    recorder = Recorder(run)
    merge_tables(parts, recorder)
    recorder.close()
    participants = pd.read_parquet(run / "participants.parquet")
    assert participants["bot"].tolist() == [1, 2]
    assert participants["generator"].tolist() == ["worker-0/native", "worker-1/native"]
    generator = pd.read_parquet(run / "generator.parquet")["generator"].tolist()
    assert generator == ["worker-0/native-0", "worker-0/native-1", "worker-1/native-0", "worker-1/native-1"]
    for table, schema in TABLES.items():
        assert pd.read_parquet(run / f"{table}.parquet").columns.tolist() == schema.names


def test_events_of_all_processes_are_in_the_order_of_time(tmp_path: Path) -> None:
    parts = [_part(tmp_path / f"worker-{i}", i + 1, 10 - i) for i in range(2)]
    run = tmp_path / "run"
    run.mkdir()
    recorder = Recorder(run)
    recorder.event("begun", 1)
    recorder.close()
    merge_events(parts, run)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["unix_ns"] for event in events] == [1, 9, 10]
    assert [event.get("bot") for event in events] == [None, 2, 1]
