"""`meeshy report RUN RUN`: several runs on one page, each judged anew, their figures side by side."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from meeshy_sfu.cli import main
from simulator.report.comparison_page import write_comparison

from .test_diff import slowed
from .test_plots import churning

Found = dict[str, Any]


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    """Compare runs without plots; returns comparison.json and the directory of the page."""

    def run(*runs: Path) -> tuple[Found, Path]:
        page, found, _ = write_comparison(runs, state=tmp_path / "state", out=None, plots="none")
        assert json.loads((page / "comparison.json").read_text()) == json.loads(found.to_json())
        return json.loads(found.to_json()), page

    return run


def figure(found: Found, path: str) -> Found:
    (one,) = [one for one in found["figures"] if one["path"] == path]
    return dict(one)


def row(page: Path, *cells: str) -> str:
    """Return the first row of the Markdown page that begins with these cells."""
    begin = re.compile(r"\| " + r" +\| ".join(re.escape(cell) for cell in cells) + r"\b")
    return next(line for line in (page / "report.md").read_text().splitlines() if begin.match(line))


def test_every_figure_has_a_column_for_each_run_with_its_interval(
    make_run: Any, tmp_path: Path, compare: Any
) -> None:
    a, b = make_run().write(tmp_path / "before"), slowed(make_run(), 3).write(tmp_path / "after")
    found, page = compare(a, b)
    assert found["verdict"] == "fail", "the worst of the runs"
    assert [(one["name"], one["verdict"]) for one in found["runs"]] == [
        ("1 before", "pass"),
        ("2 after", "fail"),
    ]
    median = figure(found, "latency_ms.video.p50")
    assert median["values"] == [50.5, pytest.approx(151.5)]
    assert all(bounds["low"] < value < bounds["high"] for bounds, value in _bounded(median))
    assert median["moved"] == [{"earlier": 0, "later": 1, "change": "worse"}]
    text = (page / "report.md").read_text()
    assert text.startswith("# 2 runs: PASS, FAIL\n")
    assert "| 1 before | PASS: every objective holds" in text
    assert re.search(
        r"\| 50\.5 ms \([\d.]+ to [\d.]+\) +\| 151\.5 ms \([\d.]+ to [\d.]+ · worse\) +\|",
        row(page, "video latency p50"),
    )
    assert row(page, "latency_ms.video.p95<100", "holds: 95.05", "BROKEN: 285.15")


def _bounded(one: Found) -> list[tuple[dict[str, float], float]]:
    return list(zip(one["intervals"], one["values"], strict=True))


def test_a_change_within_the_intervals_is_not_among_what_moved(
    make_run: Any, tmp_path: Path, compare: Any
) -> None:
    a, b = make_run().write(tmp_path / "a"), slowed(make_run(), 1.01).write(tmp_path / "b")
    found, page = compare(a, b)
    assert figure(found, "latency_ms.video.p50")["values"] == [50.5, pytest.approx(51.005)]
    assert not [one["path"] for one in found["figures"] if one["moved"]]
    assert "No figure moved by more than its intervals." in (page / "report.md").read_text()


def test_runs_that_differ_from_each_other_and_not_from_the_first_are_named(
    make_run: Any, tmp_path: Path, compare: Any
) -> None:
    # the latency of the first grows from 1 to 100 ms, so its interval is wide; the others have nearly constant ones
    runs = []
    for name, delay_ms in (("wide", None), ("slow", 60), ("fast", 40)):
        run = make_run()
        for place, one in enumerate(run.latency):
            owd_ns = (1 + place % 100 if delay_ms is None else delay_ms) * 1_000_000 + place % 7
            one["recv_unix_ns"] += owd_ns - one["owd_ns"]
            one["owd_ns"] = owd_ns
        runs.append(run.write(tmp_path / name))
    found, page = compare(*runs)
    assert figure(found, "latency_ms.video.p50")["moved"] == [{"earlier": 1, "later": 2, "change": "better"}]
    assert row(page, "video latency p50").endswith("| 2 from 3    |")


def test_runs_of_different_patterns_are_compared_in_what_they_share(
    make_run: Any, tmp_path: Path, compare: Any
) -> None:
    a, b = make_run().write(tmp_path / "group"), churning(make_run).write(tmp_path / "churn")
    found, page = compare(a, b)
    assert None not in figure(found, "latency_ms.video.p95")["values"]
    assert figure(found, "transition_ms.to_sfu.p95")["values"] == [None, 90.0]
    assert found["differences"]["pattern"] == ["group", "churn"]
    text = (page / "report.md").read_text()
    assert re.search(r"- Changes between .*, not in 1 group: .*change to the SFU", text)
    assert "- Loss and misrouted frames, not in 2 churn: packets lost" in text
    assert re.search(r"Not the same test as 1 group: 2 churn \(.*pattern", text)
    assert re.search(r"\| – +\| 90 ms", row(page, "change to the SFU p95"))
    assert re.search(r"\| –", row(page, "transition_ms.to_sfu.p95<2000"))


def test_what_was_run_otherwise_is_named(make_run: Any, tmp_path: Path, compare: Any) -> None:
    network = {"network": {"down": {"delay_ms": 150}}}
    a, b = make_run().write(tmp_path / "a"), make_run(scenario=network).write(tmp_path / "b")
    found, page = compare(a, b)
    assert found["differences"]["network.down.delay_ms"] == ["0.0", "150.0"]
    assert re.search(r"\| 0\.0 +\| 150\.0", row(page, "network.down.delay_ms"))


def test_a_run_that_cannot_be_judged_is_compared_with_a_warning(
    make_run: Any, tmp_path: Path, compare: Any
) -> None:
    void, broken = make_run(), make_run()
    for one in void.generator:
        one["lag_max_us"] = 400_000
    broken.context.aborted = ["the server ended"]
    a, b = void.write(tmp_path / "a"), broken.write(tmp_path / "b")
    found, page = compare(a, b)
    assert found["verdict"] == "error", "an error is worse than void"
    text = (page / "report.md").read_text()
    assert "1 a is void, so its figures say little" in text
    assert "2 b is error, so its figures say little: the server ended" in text


def test_the_runs_themselves_are_left_as_they_are(make_run: Any, tmp_path: Path, compare: Any) -> None:
    runs = [make_run().write(tmp_path / name) for name in "ab"]
    before = [(path, path.stat().st_mtime_ns) for run in runs for path in sorted(run.iterdir())]
    _, page = compare(*runs)
    assert [(path, path.stat().st_mtime_ns) for run in runs for path in sorted(run.iterdir())] == before
    assert sorted(path.name for path in page.iterdir()) == ["comparison.json", "report.html", "report.md"]


@pytest.mark.slow(reason="draws every plot of four runs, twice: for the page and as pictures")
@pytest.mark.timeout(120)
def test_the_page_needs_nothing_from_elsewhere_and_has_every_run_in_its_drawings(
    make_run: Any, tmp_path: Path, compare: Any
) -> None:
    shapes = [make_run(), slowed(make_run(), 2), churning(make_run), make_run()]
    shapes[3].latency, shapes[3].expected, shapes[3].streams = [], [], []
    runs = [run.write(tmp_path / f"r{n}") for n, run in enumerate(shapes)]
    page, _, _ = write_comparison(runs, state=tmp_path, out=None, plots="files")
    text = (page / "report.html").read_text()
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)|url\((?!#|"data:)|@import|<script|<link""", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "nan" not in re.sub(r"<[^>]*>", "", text).lower()
    pictures = {path.stem: path.read_bytes()[:4] for path in (page / "plots").iterdir()}
    assert set(pictures.values()) == {b"\x89PNG"}
    wanted = {"relative", "events", "latency-over-time", "latency-distribution", "joins", "delivered"}
    assert wanted | {"changes", "gaps", "heat-maps", "server", "generator"} == set(pictures)
    drawings = re.findall(r'<svg class="plot".*?</svg>', text, re.S)
    assert len(drawings) == len(pictures)
    (latency,) = [one for one in drawings if 'aria-label="Latency over time"' in one]
    assert all(f"{n + 1} r{n}" in latency for n in range(3))


@pytest.mark.slow(reason="draws the page of two runs twice")
@pytest.mark.timeout(120)
def test_the_command_ends_with_the_worst_verdict_and_writes_what_was_asked_for(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        str(run.write(tmp_path / name)) for run, name in ((make_run(), "a"), (slowed(make_run(), 3), "b"))
    ]
    files = ["--junit", str(tmp_path / "j.xml"), "--openmetrics", str(tmp_path / "m.txt")]
    assert main(["report", *runs, "--json", "--state-dir", str(tmp_path / "state"), *files]) == 3
    (page,) = (tmp_path / "state" / "runs").iterdir()
    assert page.name.endswith("-comparison")
    assert json.loads(capsys.readouterr().out) == json.loads((page / "comparison.json").read_text())
    suites = fromstring((tmp_path / "j.xml").read_text())
    assert [(one.attrib["name"], one.attrib["failures"] != "0") for one in suites] == [
        ("1 a", False),
        ("2 b", True),
    ]
    families = {one.name: one for one in text_string_to_metric_families((tmp_path / "m.txt").read_text())}
    assert len(families["meeshy_run_streams_flowing"].samples) == 2
    assert main(["report", *runs, "--out", str(tmp_path / "page")]) == 3
    told = capsys.readouterr().out
    assert re.search(r"latency_ms\.video\.p50 *│ 50\.5 ms *│ 151\.5 ms worse", told)
    assert f"report: {tmp_path / 'page' / 'report.html'}" in told.replace("\n", "")


def test_a_run_that_is_named_twice_is_refused(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (make_run().write(tmp_path / name) for name in "ab")
    (tmp_path / "link").symlink_to(a)
    for again in (a, a / ".." / "a", tmp_path / "link"):
        assert main(["report", str(a), str(b), str(again)]) == 2
        assert f"{again} is named twice" in capsys.readouterr().err.replace("\n", "")
    assert main(["diff", str(a), str(tmp_path / "link")]) == 2
    assert "is named twice" in capsys.readouterr().err


def test_what_is_no_finished_run_is_refused_by_name(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = make_run().write(tmp_path / "a")
    going_on = make_run().write(tmp_path / ".b.partial-1")
    begun = make_run().write(tmp_path / "begun")
    (begun / "run.json").unlink()
    several = tmp_path / "search"
    shutil.copytree(a, several / "01-8")
    (several / "report.html").write_text("")
    wrong = {
        tmp_path / "none": "there is no such run directory",
        going_on: "belongs to a run that has not ended",
        begun: "is no run directory: run.json is missing",
        several: f"holds several runs; name the directory of one of them, such as {several / '01-8'}",
    }
    for directory, reason in wrong.items():
        for command in ("report", "diff"):
            assert main([command, str(directory), str(a)]) == 2
            error = capsys.readouterr().err.replace("\n", "")
            assert str(directory) in error
            assert reason in error, command
    assert not (tmp_path / ".meeshy").exists()


def test_more_runs_than_can_be_told_apart_are_refused(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(tmp_path / str(n)) for n in range(9)]
    assert main(["report", *runs]) == 2
    assert "9 runs cannot be told apart on one page; name at most 8" in capsys.readouterr().err


def test_out_is_refused_for_one_run(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = make_run().write(tmp_path / "a")
    assert main(["report", str(a), "--out", str(tmp_path / "page")]) == 2
    assert "--out is for several runs" in capsys.readouterr().err


def test_a_hostile_name_of_a_run_stays_text(make_run: Any, tmp_path: Path, compare: Any) -> None:
    a, b = make_run().write(tmp_path / "<img src=x>"), make_run().write(tmp_path / "b|c")
    _, page = compare(a, b)
    assert "<img" not in (page / "report.html").read_text()
    assert "<img" not in (page / "report.md").read_text()
