"""`meeshy capacity` on a stack of its own, as a user would start it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meeshy_sfu.cli import main


@pytest.mark.timeout(180)
def test_a_strict_objective_breaks_early_and_the_search_says_where(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "capacity"
    # 4 participants are 24 streams: the objective breaks from 4 on, on any machine
    options = [
        "--from",
        "3",
        "--to",
        "4",
        "--step-duration",
        "1",
        "--repeats",
        "1",
        "--slo",
        "streams.expected<20",
    ]
    # a slow machine must not decide
    options += [
        "--slo",
        "latency_ms.video.p95<60000",
        "--slo",
        "latency_ms.audio.p95<60000",
        "--retry-void",
        "5",
    ]
    code = main(
        [
            "capacity",
            "--vary",
            "participants",
            *options,
            "--json",
            "--out",
            str(out),
            "--state-dir",
            str(state),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    assert (code, found["verdict"], found["holds"]) == (0, "pass", 3), found["statement"]
    assert found["interval"] == {"low": 3, "high": 4}
    assert [one["expression"] for one in found["first_broken"]["objectives"]] == ["streams.expected<20"]
    assert found["figure"]["value"] > 0
    assert "holds 3 participants at" in found["statement"][0]
    assert "first broken: streams.expected<20, was 24" in found["statement"][0]
    for run in found["runs"]:
        assert (out / run["folder"] / "scenario.toml").is_file()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 3
    assert json.loads((out / "capacity.json").read_text()) == found
