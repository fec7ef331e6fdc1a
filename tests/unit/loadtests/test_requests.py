"""Runs of users without media: judged by every request."""

from pathlib import Path

import pandas as pd
import pytest

from loadtests.children.requests import (
    COLUMNS,
    FILE,
    RequestLog,
    judge_requests,
    merge_requests,
    requests_text,
)
from loadtests.messages import Measured


def _rows(*requests: tuple[str, float, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [(n, n, "EVENT", name, ms, cause, "") for n, (name, ms, cause) in enumerate(requests)],
        columns=list(COLUMNS),
    )


def test_one_failed_request_fails_the_run_with_its_cause() -> None:
    rows = _rows(*[("call:initiate", 5.0, "")] * 9, ("call:initiate", 5.0, "no answer"))
    verdict, reasons = judge_requests(rows, aborted=[], limit_ms=None)
    assert verdict == "fail"
    assert reasons == ["EVENT call:initiate: 1 of 10 failed: no answer"]


@pytest.mark.parametrize(("limit_ms", "verdict"), [(None, "pass"), (100.0, "pass"), (95.0, "fail")])
def test_the_limit_holds_for_the_95th_percentile_of_each_request(
    limit_ms: float | None, verdict: str
) -> None:
    rows = _rows(*[("connect", float(ms), "") for ms in range(1, 101)], *[("leave", 1.0, "")] * 500)
    assert judge_requests(rows, aborted=[], limit_ms=limit_ms)[0] == verdict


def test_a_run_without_requests_is_no_pass() -> None:
    assert judge_requests(_rows(), aborted=[], limit_ms=None) == ("error", ["nothing was measured"])


def test_a_run_that_broke_off_is_an_error() -> None:
    assert judge_requests(_rows(("connect", 1.0, "")), aborted=["x"], limit_ms=None) == ("error", ["x"])


def test_requests_of_all_processes_are_in_the_order_of_time_and_windows_are_left_out(tmp_path: Path) -> None:
    parts = [tmp_path / f"worker-{i}" for i in range(2)]
    for number, part in enumerate(parts):
        part.mkdir()
        log = RequestLog(part)
        log.add(10 - number, Measured(group="JOIN", name="join", ms=1.5, seat=number))
        log.add(3, Measured(group="MEDIA", name="audio latency, p95 of 1 s", ms=1.5, seat=number))
        log.close()
    rows = merge_requests(parts, tmp_path)
    assert rows["seat"].tolist() == [1, 0]
    assert pd.read_csv(tmp_path / FILE)["unix_ns"].tolist() == [9, 10]
    assert "JOIN  join" in requests_text(rows, "pass", [])
