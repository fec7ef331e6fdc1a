"""OpenMetrics text of a run: read by a parser that is not ours, with the units and meanings that the figures declare."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from simulator.report.openmetrics import name_of, to_openmetrics
from simulator.report.write import write_report
from simulator.summary import figures
from tests.prometheus import program


@pytest.fixture
def text(run: Any, tmp_path: Path) -> str:
    return to_openmetrics([("", write_report(run.write(tmp_path), plots="none"))])


def families(text: str) -> dict[str, Metric]:
    return {one.name: one for one in text_string_to_metric_families(text)}


def value(family: Metric, name: str | None = None, **labels: str) -> float:
    found = [
        float(sample.value)
        for sample in family.samples
        if sample.name == (name or family.name) and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1
    return found[0]


def test_it_ends_with_eof_and_has_each_figure_in_base_units(text: str) -> None:
    assert text.endswith("# EOF\n")
    found = families(text)
    latency = found["meeshy_run_latency_seconds"]
    assert (latency.type, latency.unit) == ("summary", "seconds")
    assert (
        latency.documentation
        == "One way, from leaving the sending bot to reaching the receiving bot's socket."
    )
    labels = {"scenario": "synthetic", "kind": "video"}
    assert value(latency, **labels, quantile="0.5") == pytest.approx(0.0505)
    assert value(latency, **labels, quantile="1") == pytest.approx(0.1)
    assert value(latency, "meeshy_run_latency_seconds_count", **labels) == 600
    assert value(found["meeshy_run_server_cpu_cores"]) == pytest.approx(0.25)
    assert value(found["meeshy_run_server_rss_bytes"]) == 90_000_010
    assert value(found["meeshy_run_server_cpu_per_packet_seconds"]) == pytest.approx(0.25 / 540)
    assert value(found["meeshy_run_delivered_ratio"], kind="audio") == 1
    assert value(found["meeshy_run_streams_flowing"]) == 12
    assert value(found["meeshy_run_unexpected_packets"]) == 0
    assert value(found["meeshy_run_measured_seconds"]) == 10


def test_it_has_verdict_and_objectives_and_nothing_that_was_not_measured(text: str) -> None:
    found = families(text)
    verdicts = {sample.labels["verdict"]: sample.value for sample in found["meeshy_run_verdict"].samples}
    assert verdicts == {"pass": 1, "fail": 0, "void": 0, "error": 0}
    met = found["meeshy_run_objective_met"]
    assert value(met, objective="latency_ms.video.p95<100") == 1
    assert not [sample for sample in met.samples if sample.labels["objective"].startswith("transition_ms")]
    assert not [name for name in found if name.startswith("meeshy_run_transition")]


def test_every_figure_has_a_name_of_its_own_and_kinds_share_one() -> None:
    names: dict[tuple[str, str], str] = {}
    for figure in figures():
        if not figure.is_group:
            place = name_of(figure)
            assert place not in names, f"{figure.path} and {names[place]} have one name"
            names[place] = figure.path
    units: dict[str, str] = {}
    for (name, _), path in names.items():
        unit = next(figure.unit for figure in figures() if figure.path == path)
        assert units.setdefault(name, unit) == unit
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_info", "_created"))


def test_parts_of_a_suite_are_told_apart(run: Any, tmp_path: Path) -> None:
    summary = write_report(run.write(tmp_path), plots="none")
    found = families(to_openmetrics([("1-a", summary), ("2-a", summary)]))
    flowing = found["meeshy_run_streams_flowing"].samples
    assert [sample.labels for sample in flowing] == [
        {"scenario": "synthetic", "part": "1-a"},
        {"scenario": "synthetic", "part": "2-a"},
    ]


def test_promtool_takes_it_and_has_nothing_to_say(text: str) -> None:
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, "")
