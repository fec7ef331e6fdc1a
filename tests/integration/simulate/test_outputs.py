"""Files for programs that a real run writes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from meeshy_sfu.cli import main
from simulator.report.junit import JUDGED

from .conftest import Simulate

pytestmark = [
    pytest.mark.slow(reason="a whole run: servers, bots, seconds of media, and the report"),
    pytest.mark.timeout(120),
]


def test_a_run_writes_its_verdict_and_figures_for_programs(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "job.md"))
    files = [
        "--junit",
        str(tmp_path / "ci" / "j.xml"),
        "--openmetrics",
        str(tmp_path / "m.txt"),
        "--job-summary",
    ]
    run = simulate(
        "group", "--participants", "3", "--bots", "native", "--duration", "3", *files, unhurried=True
    )
    assert run.code in {0, 4}, run.stderr
    (suite,) = fromstring((tmp_path / "ci" / "j.xml").read_text())
    names = [case.attrib["name"] for case in suite.iter("testcase")]
    assert names == [JUDGED, *(one["expression"] for one in run.summary["slo"])]
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", str(int(run.code == 4)))
    families = {one.name: one for one in text_string_to_metric_families((tmp_path / "m.txt").read_text())}
    (flowing,) = families["meeshy_run_streams_flowing"].samples
    assert flowing.value == run.summary["streams"]["flowing"] == 12
    text = (tmp_path / "job.md").read_text()
    assert text.startswith(f"## group: {run.summary['verdict'].upper()}")
    assert f"Report: `{run.directory / 'report.html'}`" in text


def test_a_file_that_cannot_be_written_ends_the_command_before_the_run(
    simulate: Simulate, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    run = simulate("group", "--junit", str(tmp_path / "file" / "j.xml"))
    assert run.code == 2
    assert "--junit" in run.stderr
    assert not run.directory.exists()


def test_two_real_runs_can_be_compared(
    simulate: Simulate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("group", "--participants", "3", "--bots", "native", "--duration", "3")
    a, b = (simulate(*options, unhurried=True).directory for _ in range(2))
    assert main(["diff", str(a), str(b), "--json"]) == 0
    figures = {row["path"]: row for row in json.loads(capsys.readouterr().out)["figures"]}
    assert figures["streams.flowing"]["change"] == "same"
    assert figures["streams.flowing"]["second"] == 12
    assert figures["delivered_ratio.video.ratio"]["first_interval"]["low"] > 0.9
    code = main(["report", str(a), str(b), "--json", "--out", str(tmp_path / "page")])
    compared = json.loads(capsys.readouterr().out)
    assert code in {0, 4}
    assert [one["directory"] for one in compared["runs"]] == [str(a), str(b)]
    streams = {one["path"]: one["values"] for one in compared["figures"]}["streams.flowing"]
    assert streams == [12, 12]
    assert (tmp_path / "page" / "report.html").read_text().count('<svg class="plot"') >= 7
