"""Reports: complete, readable, recomputed from raw data alone."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator.errors import RunDirectoryError
from simulator.report.write import EXIT_CODES, write_report

NS_PER_S = 1_000_000_000


def test_a_report_says_verdict_objectives_and_figures(run: Any, tmp_path: Path) -> None:
    write_report(run.write(tmp_path), plots="none")
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# PASS")
    assert "12 of 12 streams flowing" in text
    assert "| latency_ms.video.p95<100" in text
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "12 of 12 streams flowing" in page
    assert len((tmp_path / "pairs.csv").read_text().splitlines()) == 13


def test_the_report_names_streams_that_do_not_flow(run: Any, tmp_path: Path) -> None:
    run.streams = [row for row in run.streams if row["receiver"] != 2]
    write_report(run.write(tmp_path), plots="none")
    text = (tmp_path / "report.md").read_text()
    assert "- not flowing: audio from bot 0 to bot 2, 0 packets" in text
    assert text.startswith("# FAIL")


def test_a_summary_is_recomputed_from_the_raw_data_and_not_from_itself(run: Any, tmp_path: Path) -> None:
    first = write_report(run.write(tmp_path), plots="none")
    (tmp_path / "summary.json").write_text(json.dumps({"verdict": "fail"}))
    assert write_report(tmp_path, plots="none") == first


def test_errors_during_the_run_are_listed_but_not_those_of_leaving(run: Any, tmp_path: Path) -> None:
    run.write(tmp_path)
    lines = [
        {"unix_ns": run.start_ns, "event": "closed", "bot": 3, "reason": "ICE failed"},
        {"unix_ns": run.start_ns, "event": "joined", "bot": 4},
        {"unix_ns": run.start_ns + 60 * NS_PER_S, "event": "closed", "bot": 5},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report(tmp_path, plots="none")
    text = (tmp_path / "report.md").read_text()
    assert "- 5.0 s: closed: bot 3, reason ICE failed" in text
    assert "bot 5" not in text
    assert "joined" not in text


def test_hostile_text_does_not_reach_the_page(run: Any, tmp_path: Path) -> None:
    run.context.aborted = ["<script>alert(1)</sequence>"]
    write_report(run.write(tmp_path), plots="none")
    assert "<script>" not in (tmp_path / "report.html").read_text()


def test_every_verdict_has_its_own_exit_code() -> None:
    assert EXIT_CODES == {"pass": 0, "error": 1, "fail": 3, "void": 4}


def test_the_emulated_network_is_part_of_the_report(tmp_path: Path, make_run: Any) -> None:
    run = make_run(scenario={"network": {"down": {"delay_ms": 150, "loss": 0.05}}})
    write_report(run.write(tmp_path), plots="none")
    assert "Emulated network from the server: 150 ms delay" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("missing", ["run.json", "scenario.toml", "latency.parquet"])
def test_a_directory_that_is_no_run_is_refused_by_name(run: Any, tmp_path: Path, missing: str) -> None:
    run.write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(RunDirectoryError, match=missing):
        write_report(tmp_path, plots="none")


@pytest.mark.parametrize("name", ["run.json", "scenario.toml", "latency.parquet"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"PAR1....PAR1"])
def test_a_broken_file_is_refused_and_not_a_crash(
    run: Any, tmp_path: Path, name: str, content: bytes
) -> None:
    run.write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        write_report(tmp_path, plots="none")


def test_a_run_of_another_version_is_refused_by_file_and_field(run: Any, tmp_path: Path) -> None:
    run.write(tmp_path)
    context = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(json.dumps(json.loads(context) | {"started_ns": "noon"}))
    with pytest.raises(
        RunDirectoryError, match=r"run\.json cannot be read: started_ns: input should be"
    ) as caught:
        write_report(tmp_path, plots="none")
    assert "pydantic" not in str(caught.value)
    (tmp_path / "run.json").write_text(context)
    table = tmp_path / "latency.parquet"
    pd.read_parquet(table).drop(columns=["owd_ns"]).to_parquet(table)
    with pytest.raises(
        RunDirectoryError, match=r"latency\.parquet cannot be read: .* no column owd_ns; .*version"
    ):
        write_report(tmp_path, plots="none")


def test_seconds_without_samples_are_dashes_and_not_nan(run: Any, tmp_path: Path) -> None:
    run.latency = [s | {"recv_unix_ns": s["recv_unix_ns"] + 100 * NS_PER_S} for s in run.latency]
    write_report(run.write(tmp_path), plots="none")
    text = (tmp_path / "report.md").read_text()
    assert "nan" not in text.lower().replace("measured", "")


def test_objectives_are_said_in_words_and_what_was_not_measured_is_left_out(run: Any, tmp_path: Path) -> None:
    write_report(run.write(tmp_path), plots="none")
    text = (tmp_path / "report.md").read_text()
    assert "| streams flowing " in text
    assert "gap_ms" not in text
    assert "more are about figures that this kind of run does not have" in text


def test_legs_that_close_in_a_call_that_switches_are_no_error(make_run: Any, tmp_path: Path) -> None:
    run = make_run(bots=2, scenario={"pattern": "switch"})
    run.expected, run.streams = [], []
    run.write(tmp_path)
    lines = [
        {"unix_ns": run.start_ns, "event": "closed", "bot": 1, "reason": "peer closed"},
        {"unix_ns": run.start_ns, "event": "gateway-error", "code": "TARGET_NOT_FOUND"},
        {"unix_ns": run.start_ns, "event": "switch-failed", "bot": 2, "error": "no media"},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_report(tmp_path, plots="none")
    text = (tmp_path / "report.md").read_text()
    assert "switch-failed: bot 2, error no media" in text
    assert "peer closed" not in text
    assert "TARGET_NOT_FOUND" not in text


def test_injected_faults_are_listed_with_their_times(make_run: Any, tmp_path: Path) -> None:
    run = make_run(bots=2, scenario={"pattern": "churn"})
    run.expected, run.streams = [], []
    run.deaths = [{"unix_ns": run.start_ns + 2 * NS_PER_S, "what": "gateway"}]
    write_report(run.write(tmp_path), plots="none")
    assert "| the gateway was killed and restarted | 1     | 7 s" in (tmp_path / "report.md").read_text()


def test_a_run_that_broke_off_before_its_measured_time_claims_nothing_of_streams(
    run: Any, tmp_path: Path
) -> None:
    run.context.window_start_ns = run.context.window_end_ns = None
    run.context.aborted = ["participant 2 did not receive video of 1 within 60 s"]
    for row in run.generator:
        row["lag_max_us"] = 400_000
    write_report(run.write(tmp_path), plots="none")
    text = (tmp_path / "report.md").read_text()
    assert "nothing measured" in text
    assert re.search(r"\d+ more are about figures that were not measured\.", text)
    assert "The run ended before its measured time." in text
    assert "not flowing" not in text
    assert "## Receivers" not in text
    assert "None" not in text
