"""The registry of figures: each has a function, and the samples decide which one computes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.analysis import figures
from simulator.analysis.raw_run import RawRun
from simulator.report import write
from simulator.summary import Summary, figure_at, figure_paths
from simulator.summary import figures as declared


def test_every_declared_figure_has_a_function_that_computes_it(run: Any, tmp_path: Path) -> None:
    assert write.FIGURES
    names = {figure.path.partition(".")[0] for figure in declared()}
    assert set(figures._COMPUTATIONS) == names
    # of a call on the media server, all that need no call of the gateway, no fault and no second machine
    computed = figures.compute(RawRun.read(run.write(tmp_path)))
    assert names - set(computed) == {"transition_ms", "gap_ms", "recovery_ms", "clocks", "paused_packets"}


def test_a_figure_that_is_not_declared_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^speed is computed, but summary\.py does not declare it"):
        figures.computes("speed")


def test_a_table_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^join_ms needs the table rides, but"):
        figures.computes("join_ms", needs=["joins", "rides"])


def test_the_first_function_whose_samples_are_there_computes_a_figure(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_COMPUTATIONS", {})
    figures.computes("duplicates", needs=["joins", "arrivals"])(lambda raw: 1)
    figures.computes("duplicates", needs=["joins"])(lambda raw: 2)
    figures.computes("duplicates")(lambda raw: 3)
    figures.computes("out_of_order", needs=["deaths"])(lambda raw: 4)
    assert figures.compute(RawRun.read(run.write(tmp_path / "all"))) == {"duplicates": 2}
    run.joins = []
    assert figures.compute(RawRun.read(run.write(tmp_path / "none"))) == {"duplicates": 3}


def test_a_path_belongs_to_the_figure_it_leads_into() -> None:
    found = {
        path: figure_at(path) for path in ("join_ms.p95", "loss.audio.ratio", "gap_ms.video.max", "seed")
    }
    assert {path: one and one.label for path, one in found.items()} == {
        "join_ms.p95": "join time",
        "loss.audio.ratio": "audio packets lost",
        "gap_ms.video.max": "video gap",
        "seed": None,
    }


def test_every_figure_that_is_a_number_or_a_distribution_has_words_a_section_and_paths_for_objectives() -> (
    None
):
    for figure in declared():
        assert figure.label, figure
        assert figure.meaning.endswith("."), figure
        if not figure.is_group:
            assert any(path == figure.path or path.startswith(f"{figure.path}.") for path in figure_paths())


def test_a_summary_without_computed_figures_says_that_nothing_was_measured() -> None:
    summary = Summary(
        scenario="none",
        seed=1,
        verdict="error",
        reasons=[],
        started_at="",
        duration_s=None,
        participants=0,
        bots={},
        slo=[],
        machine=None,
    )
    assert (summary.streams.expected, summary.generator.valid) == (None, False)
    assert {summary.duplicates, summary.foreign_frames, summary.loss.ratio, summary.latency_ms.audio} == {
        None
    }
