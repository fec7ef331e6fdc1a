"""`meeshy diff`: what moved between two runs, and whether by more than the intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.cli import main
from simulator.report.write import write_report
from simulator.summary import Machine

Rows = dict[str, dict[str, Any]]


def compare(a: Path, b: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Rows]:
    capsys.readouterr()
    code = main(["diff", str(a), str(b), "--json", *options])
    printed = json.loads(capsys.readouterr().out)
    return code, {row["path"]: row for row in printed.get("figures", [])}


def written(run: Any, directory: Path) -> Path:
    write_report(run.write(directory), plots="none")
    return directory


def slowed(run: Any, by: float) -> Any:
    for row in run.latency:
        more = int(row["owd_ns"] * (by - 1))
        row["owd_ns"], row["recv_unix_ns"] = row["owd_ns"] + more, row["recv_unix_ns"] + more
    return run


def test_a_change_within_the_intervals_is_noise_and_one_beyond_them_is_worse(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = written(make_run(), tmp_path / "a"), written(slowed(make_run(), 1.01), tmp_path / "b")
    code, rows = compare(a, b, capsys, "--fail-on-worse")
    video = rows["latency_ms.video.p50"]
    assert (video["first"], video["second"]) == (50.5, pytest.approx(51.005))
    assert (video["change"], video["worse"], code) == ("within noise", False, 0)
    c = written(slowed(make_run(), 3), tmp_path / "c")
    code, rows = compare(a, c, capsys, "--fail-on-worse")
    assert (rows["latency_ms.video.p50"]["change"], code) == ("worse", 3)
    assert compare(a, c, capsys)[0] == 0
    assert compare(c, a, capsys, "--fail-on-worse")[1]["latency_ms.video.p50"]["change"] == "better"


def test_a_count_that_must_be_zero_is_worse_when_it_is_not(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    for row in run.streams:
        row["foreign"] = 2 * row["tick"]
    code, rows = compare(
        written(make_run(), tmp_path / "a"), written(run, tmp_path / "b"), capsys, "--fail-on-worse"
    )
    assert rows["foreign_frames"]["first"] == 0 < rows["foreign_frames"]["second"]
    assert (rows["foreign_frames"]["change"], code) == ("worse", 3)


def test_runs_that_are_not_alike_are_refused_with_what_differs(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = written(make_run(), tmp_path / "a"), written(make_run(bots=4), tmp_path / "b")
    assert main(["diff", str(a), str(b)]) == 2
    assert "participants differs: 3 and 4" in capsys.readouterr().err
    assert main(["diff", str(a), str(b), "--anyway"]) == 0


def test_wrong_input_is_named(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = written(run, tmp_path / "a")
    assert main(["diff", str(a), str(tmp_path / "none")]) == 2
    assert "none: there is no such run directory" in capsys.readouterr().err
    assert main(["diff", str(a), str(a / ".." / "a")]) == 2
    assert "is named twice" in capsys.readouterr().err
    b = run.write(tmp_path / "b")
    assert main(["diff", str(a), str(b)]) == 2
    assert "summary.json cannot be read" in capsys.readouterr().err
    (b / "summary.json").write_text("{")
    assert main(["diff", str(a), str(b)]) == 2
    assert "summary.json is damaged" in capsys.readouterr().err


def void(run: Any) -> Any:
    for row in run.generator:
        row["lag_max_us"] = 400_000
    return run


def broken_off(run: Any) -> Any:
    run.context.aborted = ["the media server was killed by SIGKILL"]
    return run


def warnings_of(a: Path, b: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    capsys.readouterr()
    main(["diff", str(a), str(b), "--json", *options])
    return list(json.loads(capsys.readouterr().out)["warnings"])


@pytest.mark.parametrize("spoil", [void, broken_off])
def test_with_a_run_that_cannot_be_judged_the_exit_code_is_4(
    spoil: Any, make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = written(make_run(), tmp_path / "good"), written(spoil(make_run()), tmp_path / "bad")
    verdict = "void" if spoil is void else "error"
    for first, second in ((good, bad), (bad, good)):
        assert compare(first, second, capsys, "--fail-on-worse")[0] == 4
        assert compare(first, second, capsys)[0] == 0, "it was not asked to judge"
        assert f"{bad} is {verdict}: its figures say little" in warnings_of(first, second, capsys)


def test_a_void_run_is_4_even_if_a_figure_is_worse(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = written(make_run(), tmp_path / "a"), written(void(slowed(make_run(), 3)), tmp_path / "b")
    code, rows = compare(a, b, capsys, "--fail-on-worse")
    assert (rows["latency_ms.video.p50"]["worse"], code) == (True, 4)


def test_what_else_differs_is_warned_of(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(cores=2, cpu="x", kernel="6", python="3.13", version="0.1.0")
    a, b = make_run(), make_run(scenario={"network": {"down": {"delay_ms": 150}}, "seed": 7})
    a.context.machine, b.context.machine = machine, machine.model_copy(update={"version": "0.2.0"})
    first, second = written(a, tmp_path / "a"), written(b, tmp_path / "b")
    summary = json.loads((second / "summary.json").read_text())
    (second / "summary.json").write_text(json.dumps(summary | {"intervals": {}}))
    found = warnings_of(first, second, capsys)
    assert [text.partition(" differs")[0] for text in found if " differs: " in text] == ["network", "seed"]
    assert "seed differs: 1 and 7" in found
    assert "the machine, or what was installed on it, differs" in found
    assert f"{second} has no intervals; `meeshy report {second}` computes them" in found
    assert len(found) == 4
    assert main(["diff", str(first), str(second)]) == 0
    shown = capsys.readouterr().err.replace("\n", "")
    assert all(f"warning: {text}" in shown for text in found)


def test_runs_that_are_alike_have_no_warning(
    make_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = written(make_run(), tmp_path / "a"), written(make_run(), tmp_path / "b")
    assert warnings_of(a, b, capsys) == []
