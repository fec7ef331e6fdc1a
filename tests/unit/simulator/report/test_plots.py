"""Plots: every kind of run has those that its samples allow, on a page that needs nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from typer.testing import CliRunner

from meeshy_sfu.cli import app
from simulator.report.drawing import COLOURS, plots
from simulator.report.plots.streams import Grid
from simulator.report.write import compose, write_pages, write_plots, write_report
from simulator.samples.schema import SAMPLE_SHOWN

NS_PER_S = 1_000_000_000
GROUP = {
    "delivered",
    "gaps",
    "generator",
    "heat-map",
    "joins",
    "latency-budget",
    "latency-distribution",
    "latency-over-time",
    "server",
    "timeline",
}


def perfect(make_run: Any) -> Any:
    return make_run()


def empty(make_run: Any) -> Any:
    run = make_run()
    for table in (
        "expected",
        "joins",
        "streams",
        "latency",
        "server",
        "server_threads",
        "generator",
        "participants",
    ):
        setattr(run, table, [])
    return run


def without_samples(make_run: Any) -> Any:
    run = make_run()
    run.latency = []
    return run


def alone(make_run: Any) -> Any:
    run = make_run(bots=1, scenario={"participants": {"count": 2}})
    run.latency = []
    return run


def broken_off(make_run: Any) -> Any:
    run = make_run()
    run.context.window_start_ns = run.context.window_end_ns = None
    run.context.aborted = ["the server ended"]
    return run


def of_500(make_run: Any) -> Any:
    """100 calls of 5; each stream has three samples and is counted at begin and end."""
    run = make_run(bots=2, scenario={"participants": {"count": 500}})
    row, sample = run.streams[0], run.latency[0]
    run.participants = [run.participants[0] | {"bot": bot} for bot in range(500)]
    run.joins = [run.joins[0] | {"bot": bot} for bot in range(500)]
    run.expected = [
        {"receiver": r, "sender": s, "kind": k}
        for call in range(0, 500, 5)
        for r in range(call, call + 5)
        for s in range(call, call + 5)
        if r != s
        for k in (0, 1)
    ]
    ticks = [(tick, run.start_ns + tick * NS_PER_S) for tick in (0, 10)]
    run.streams = [
        row
        | e
        | {"tick": tick, "unix_ns": at, "last_packet_ns": at, "packets": 50 * tick, "expected": 50 * tick}
        for tick, at in ticks
        for e in run.expected
    ]
    run.latency = [
        sample
        | e
        | {"seq": n, "recv_unix_ns": run.start_ns + n * NS_PER_S, "owd_ns": 10**6 * (1 + e["sender"] % 7)}
        for e in run.expected
        for n in range(3)
    ]
    return run


def churning(make_run: Any) -> Any:
    run = make_run(bots=3, scenario={"pattern": "churn"})
    run.expected, run.streams, run.joins = [], [], []
    for sample in run.latency:
        sample["flags"] = SAMPLE_SHOWN
    start = run.start_ns
    run.deaths = [
        {"unix_ns": start + n * NS_PER_S, "what": what} for n, what in ((2, "gateway"), (6, "worker"))
    ]
    run.arrivals = [
        {
            "bot": bot,
            "call_id": "c",
            "mode": "sfu",
            "started_ns": start + bot * NS_PER_S // 10,
            "flowing_ns": start + bot * NS_PER_S // 5,
            "left_ns": start + 9 * NS_PER_S,
        }
        for bot in range(3)
    ]
    run.transitions = [
        {
            "bot": bot,
            "call_id": "c",
            "epoch": epoch,
            "old": "p2p" if epoch % 2 else "sfu",
            "new": "sfu" if epoch % 2 else "p2p",
            "reason": "",
            "prewarmed": True,
            "peers": "0 1 2",
            "decided_ns": start + epoch * NS_PER_S,
            "told_ns": start + epoch * NS_PER_S + 5_000_000,
            "media_ns": start + epoch * NS_PER_S + 60_000_000,
            "confirmed_ns": start + epoch * NS_PER_S + 61_000_000,
            "completed_ns": start + epoch * NS_PER_S + 90_000_000,
            "success": True,
            "error": "",
        }
        for bot in range(3)
        for epoch in (1, 2)
    ]
    return run


SHAPES: list[tuple[Callable[[Any], Any], set[str]]] = [
    (perfect, GROUP),
    (empty, set()),
    (without_samples, GROUP - {"latency-over-time", "latency-distribution", "latency-budget", "gaps"}),
    (alone, {"generator", "server", "timeline"}),
    (broken_off, GROUP - {"latency-over-time", "latency-distribution", "latency-budget", "gaps", "heat-map"}),
    (of_500, GROUP),
    (churning, GROUP | {"changes"}),
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("shape", "expected"), SHAPES, ids=[shape.__name__ for shape, _ in SHAPES])
def test_every_run_has_the_plots_that_its_samples_allow(
    shape: Callable[[Any], Any], expected: set[str], make_run: Any, tmp_path: Path
) -> None:
    composed = compose(shape(make_run).write(tmp_path))
    assert {drawing.name for drawing in composed.drawings} == expected
    write_pages(tmp_path, "", [composed.chapter])
    page = (tmp_path / "report.html").read_text()
    assert page.count('<svg class="plot"') == len(expected)
    assert "nan" not in re.sub(r"<[^>]*>", "", page).lower()
    assert len(page) < 700_000
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)|url\((?!#|"data:)|@import|<script|<link""", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)), "drawings share a page, and ids must be unique there"
    for drawing in re.findall(r"<svg .*?</svg>", page, re.S):
        named = drawing.replace('xlink:href="', 'href="')
        root = ElementTree.fromstring(named)
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', named))
        present = {node.get("id") for node in root.iter()}
        assert {a or b for a, b in used} <= present, "what is referred to by id is in the same drawing"


def test_a_drawing_takes_its_colours_from_the_style_sheet(run: Any, tmp_path: Path) -> None:
    composed = compose(run.write(tmp_path))
    css = (Path(__file__).parents[4] / "simulator/report/templates/report.css").read_text()
    for name, colour in COLOURS.items():
        assert css.count(f"--{name}:") == 2, "one for light, one for dark"
        assert f"--{name}:{colour};" in css
    for drawing in composed.drawings:
        text = re.sub(r"var\(--\w+, #\w+\)", "", drawing.svg())
        assert not re.findall(r"#[0-9a-f]{6}\b(?!-)", text.replace("#ffffff", "")), drawing.name


def test_plots_become_pictures_when_they_are_asked_for(run: Any, tmp_path: Path) -> None:
    composed = compose(run.write(tmp_path))
    write_plots(tmp_path, composed.drawings[:2])
    pictures = sorted((tmp_path / "plots").iterdir())
    assert len(pictures) == 2
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert all(path.stat().st_mode & 0o077 == 0 for path in pictures)


def test_a_report_without_plots_draws_nothing(run: Any, tmp_path: Path) -> None:
    write_report(run.write(tmp_path), plots="none")
    assert "<svg" not in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "plots").exists()


def test_a_name_in_a_plot_is_text(run: Any, tmp_path: Path) -> None:
    for row in run.generator:
        row["generator"] = '<img src=x onerror="alert(1)">$x$'
    run.deaths = [{"unix_ns": run.start_ns, "what": "<img src=y>"}]
    composed = compose(run.write(tmp_path))
    svg = "".join(drawing.svg() for drawing in composed.drawings)
    assert "<img" not in svg
    assert "&lt;img src=x" in svg


def test_every_plot_says_what_is_drawn() -> None:
    assert len(plots()) >= len(GROUP)
    assert all(one.title and one.caption.endswith((".", ")")) for one in plots())
    names = [one.name for one in plots()]
    assert len(names) == len(set(names))


def test_the_command_writes_pictures_when_they_are_asked_for(run: Any, tmp_path: Path) -> None:
    command = CliRunner().invoke(app, ["report", str(run.write(tmp_path)), "--plots"])
    assert "report.html" in command.output
    assert (tmp_path / "plots" / "heat-map.png").read_bytes().startswith(b"\x89PNG")


def pairs_of(calls: Sequence[Sequence[int]]) -> pd.DataFrame:
    rows = [(s, r) for call in calls for s in call for r in call if s != r]
    return pd.DataFrame(rows, columns=["sender", "receiver"])


def test_of_many_calls_each_has_a_square_of_its_own_in_the_heat_map() -> None:
    calls = [range(5 * n, 5 * n + 5) for n in range(100)]
    grid = Grid.of(pairs_of(calls))
    assert (grid.calls, grid.size) == (100, 59), "ten by ten squares of five cells, a line between them"
    for call in calls:
        rows, columns = ({place[bot] // 6 for bot in call} for place in (grid.rows, grid.columns))
        assert len(rows) == len(columns) == 1, "a call is in one square"
    used = [(grid.rows[r], grid.columns[s]) for s, r in pairs_of(calls).itertuples(index=False)]
    assert len(set(used)) == len(used), "no two streams share a cell"
    assert max(max(cell) for cell in used) < grid.size


@pytest.mark.parametrize(
    "calls", [[range(50)], [range(3), range(3, 6)], [range(40), *([n, n + 1] for n in range(40, 52, 2))]]
)
def test_one_call_or_few_share_one_square(calls: Sequence[Sequence[int]]) -> None:
    bots = sorted(bot for call in calls for bot in call)
    grid = Grid.of(pairs_of(calls))
    assert (grid.calls, grid.size) == (1, len(bots))
    assert grid.rows == grid.columns == {bot: place for place, bot in enumerate(bots)}
