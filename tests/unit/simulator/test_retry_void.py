"""`--retry-void`: a void run is repeated at most so often, and each run keeps its directory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meeshy_sfu.cli.simulate import until_not_void


def attempts(
    verdicts: list[str], *, out: Path | None, retries: int, ended: bool = False
) -> tuple[list[Path | None], Path, str]:
    """Let runs end with these verdicts, one after the other; return where each was to go, and the last one."""
    asked: list[Path | None] = []

    def run(place: Path | None) -> tuple[Path, Any]:
        asked.append(place)
        return place or Path(f"runs/{len(asked)}"), SimpleNamespace(verdict=verdicts[len(asked) - 1])

    directory, summary = until_not_void(run, out=out, retries=retries, ended=lambda: ended)
    return asked, directory, summary.verdict


def test_without_it_a_void_run_stands() -> None:
    assert attempts(["void", "pass"], out=None, retries=0) == ([None], Path("runs/1"), "void")


@pytest.mark.parametrize("verdict", ["pass", "fail", "error"])
def test_it_is_repeated_until_it_can_be_judged(verdict: str) -> None:
    out = Path("a/b")
    asked, directory, last = attempts(["void", "void", verdict, "void"], out=out, retries=5)
    assert asked == [Path("a/b"), Path("a/b-1"), Path("a/b-2")]
    assert (directory, last) == (Path("a/b-2"), verdict)


def test_the_last_void_run_decides(capsys: pytest.CaptureFixture[str]) -> None:
    asked, directory, last = attempts(["void"] * 9, out=None, retries=2)
    assert (len(asked), directory, last) == (3, Path("runs/3"), "void")
    said = capsys.readouterr().err
    assert "void, kept in runs/1; run again, 1 of at most 2" in said
    assert "2 of at most 2" in said


def test_a_run_that_a_signal_ended_is_not_repeated() -> None:
    asked, _, last = attempts(["void", "pass"], out=None, retries=2, ended=True)
    assert (len(asked), last) == (1, "void")
