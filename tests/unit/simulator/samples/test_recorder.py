"""Run directories: whole or not there; and the files in them."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from simulator.errors import RunDirectoryError
from simulator.samples.recorder import Recorder, RunDirectory, remove_partial_runs
from simulator.samples.schema import TABLES

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NO_PROCESS = 2**22 + 1


def test_a_run_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run") as directory:
        (directory.partial / "file").write_text("x")
        assert not (tmp_path / "run").exists()
        assert directory.complete() == tmp_path / "run"
    assert (tmp_path / "run" / "file").read_text() == "x"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_run_that_failed_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with RunDirectory(tmp_path / "run") as directory:
            (directory.partial / "file").write_text("x")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_content_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    with pytest.raises(RunDirectoryError, match="not empty"):
        RunDirectory(tmp_path)


def test_an_empty_directory_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with RunDirectory(tmp_path / "run") as directory:
        directory.complete()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirectoryError, match="cannot write to"):
        RunDirectory(tmp_path / "file" / "run")


def test_two_runs_in_the_same_second_get_different_names(tmp_path: Path) -> None:
    for expected in ("20260102T030405Z-group", "20260102T030405Z-group-1"):
        with RunDirectory.in_folder(tmp_path, "group", NOW) as directory:
            assert directory.complete().name == expected


def test_two_runs_that_go_on_at_once_get_two_directories(tmp_path: Path) -> None:
    with (
        RunDirectory.in_folder(tmp_path, "group", NOW) as one,
        RunDirectory.in_folder(tmp_path, "group", NOW) as other,
    ):
        names = {other.complete().name, one.complete().name}
    assert names == {"20260102T030405Z-group", "20260102T030405Z-group-1"}


def test_partial_directories_of_killed_runs_are_removed_and_of_running_ones_kept(tmp_path: Path) -> None:
    killed, running = tmp_path / f".a.partial-{NO_PROCESS}", tmp_path / f".b.partial-{os.getpid()}"
    for path in (killed, running):
        path.mkdir()
    assert remove_partial_runs(tmp_path) == [killed]
    assert running.exists()


def test_every_table_is_written_even_without_rows(tmp_path: Path) -> None:
    Recorder(tmp_path).close()
    for name, schema in TABLES.items():
        frame = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert list(frame.columns) == schema.names
        assert frame.empty


def test_rows_come_back_in_columns_with_nulls_kept(tmp_path: Path) -> None:
    collector = Recorder(tmp_path)
    collector.add("expected", [(1, 2, 0), (2, 1, 1)])
    collector.add("expected", [])
    collector.add("server", [(0, 5, None, 7, None, None)])
    collector.close()
    collector.close()
    assert pd.read_parquet(tmp_path / "expected.parquet").to_dict("list") == {
        "receiver": [1, 2],
        "sender": [2, 1],
        "kind": [0, 1],
    }
    assert pd.read_parquet(tmp_path / "server.parquet")["cpu_ns"].isna().all()
    assert collector.rows["expected"] == 2


def test_events_are_one_json_object_a_line(tmp_path: Path) -> None:
    collector = Recorder(tmp_path)
    collector.event("joined", unix_ns=5, bot=3)
    collector.event("left")
    collector.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert lines[0] == {"unix_ns": 5, "event": "joined", "bot": 3}
    assert lines[1]["unix_ns"] > 10**18


def test_an_event_after_the_end_is_no_error(tmp_path: Path) -> None:
    collector = Recorder(tmp_path)
    collector.close()
    collector.event("late")
    assert (tmp_path / "events.jsonl").read_text() == ""


@pytest.fixture
def an_open_umask() -> Iterator[None]:
    former = os.umask(0o022)
    yield
    os.umask(former)


def made(directory: RunDirectory) -> dict[str, int]:
    """Write reports, raw data and a part into a run directory; returns the mode of each once it is complete."""
    with directory:
        part = directory.partial / "1-group"
        (part / "plots").mkdir(parents=True)
        (part / "certs").mkdir()
        names = ["report.html", "report.md", "summary.json", "pairs.csv", "plots/gaps.png"]
        names += ["events.jsonl", "server.log", "latency.parquet", "certs/key.pem", "run.json"]
        for name in names:
            (part / name).write_text("")
        (directory.partial / "report.html").write_text("")
        (directory.partial / "link.md").symlink_to("/etc/hostname")
        root = directory.complete()
    found = [path for path in (root, *root.rglob("*")) if not path.is_symlink()]
    return {str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in found}


@pytest.mark.usefixtures("an_open_umask")
def test_in_a_directory_that_its_user_named_the_reports_are_readable_and_raw_data_private(
    tmp_path: Path,
) -> None:
    modes = made(RunDirectory.chosen(tmp_path / "ci" / "run", tmp_path, "group"))
    assert (tmp_path / "ci").stat().st_mode & 0o777 == 0o755
    open_to_all = {"report.html", "1-group/report.html", "1-group/report.md", "1-group/summary.json"}
    open_to_all |= {"1-group/pairs.csv", "1-group/plots/gaps.png"}
    assert {name for name, mode in modes.items() if mode == 0o644} == open_to_all
    assert {name for name, mode in modes.items() if mode == 0o755} == {".", "1-group", "1-group/plots"}
    rest = set(modes) - open_to_all - {".", "1-group", "1-group/plots"}
    assert {"1-group/server.log", "1-group/latency.parquet", "1-group/certs/key.pem"} < rest
    assert all(modes[name] & 0o077 == 0 for name in rest)


@pytest.mark.usefixtures("an_open_umask")
def test_a_run_of_the_state_directory_is_private(tmp_path: Path) -> None:
    modes = made(RunDirectory.chosen(None, tmp_path / "state", "group"))
    assert all(mode & 0o077 == 0 for mode in modes.values())
    assert (tmp_path / "state" / "runs").stat().st_mode & 0o077 == 0
