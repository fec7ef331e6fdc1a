"""The summary's schema and the committed copy of it."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from simulator.summary import Summary, figure_paths, json_schema


def test_the_committed_schema_is_the_models() -> None:
    committed = json.loads((resources.files("simulator") / "summary.schema.json").read_text())
    assert committed == json_schema()


def test_a_summary_is_valid_by_the_committed_schema(run: Any, tmp_path: Path) -> None:
    written = json.loads(run.summary(tmp_path).to_json())
    jsonschema.Draft202012Validator(json_schema()).validate(written)
    assert written["schema"] == "meeshy.summary/1"


def test_a_summary_is_read_back_as_it_was_written(run: Any, tmp_path: Path) -> None:
    summary = run.summary(tmp_path)
    assert Summary.model_validate_json(summary.to_json()) == summary


def test_the_figures_of_the_plan_have_paths() -> None:
    for path in (
        "latency_ms.audio.p95",
        "loss.before_repair",
        "foreign_frames",
        "transition_ms.to_sfu.p95",
        "gap_ms.video.max",
        "dropped_calls",
        "server.cpu_core_percent",
        "server.cpu_ns_per_packet",
        "generator.lag_ms.p95",
    ):
        assert path in figure_paths()
