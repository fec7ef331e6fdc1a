"""Files for programs: with the rights of the user's umask, refused before a run if they cannot be written, none written twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from meeshy_sfu import private_files
from meeshy_sfu.cli import main
from simulator.errors import OutputError, UsageError
from simulator.report.outputs import JOB_SUMMARY_VARIABLE, Outputs


def checked(
    junit: Path | None = None,
    openmetrics: Path | None = None,
    *,
    job_summary: bool = False,
    environment: dict[str, str] | None = None,
) -> Outputs:
    return Outputs.checked(
        junit=junit, openmetrics=openmetrics, job_summary=job_summary, environment=environment or {}
    )


def test_two_options_with_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--junit and --openmetrics name the same file"):
        checked(tmp_path / "x", tmp_path / "y" / ".." / "x")
    environment = {JOB_SUMMARY_VARIABLE: str(tmp_path / "x")}
    with pytest.raises(UsageError, match=r"--junit and --job-summary name the same file"):
        checked(tmp_path / "x", job_summary=True, environment=environment)


def test_a_file_that_cannot_be_written_is_refused_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--junit .*/file/x\.xml: cannot be written"):
        checked(tmp_path / "file" / "x.xml")
    with pytest.raises(UsageError, match=r"--openmetrics .*: is a directory; name a file"):
        checked(None, tmp_path)


def test_missing_folders_are_made_and_a_check_leaves_no_file(tmp_path: Path) -> None:
    checked(tmp_path / "a" / "b" / "x.xml")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_job_summary_without_a_job_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"GITHUB_STEP_SUMMARY is not set.*set it to the file"):
        checked(job_summary=True)


def test_a_job_summary_is_appended_and_a_junit_file_replaced(tmp_path: Path) -> None:
    environment = {JOB_SUMMARY_VARIABLE: str(tmp_path / "s.md")}
    (tmp_path / "s.md").write_text("before")
    outputs = checked(tmp_path / "j.xml", job_summary=True, environment=environment)
    outputs.write_error("one", "first")
    outputs.write_error("two", "second")
    text = (tmp_path / "s.md").read_text()
    assert text.startswith("before\n## one: ERROR")
    assert "\n\n## two: ERROR" in text
    assert [suite.attrib["name"] for suite in fromstring((tmp_path / "j.xml").read_text())] == ["two"]


def test_a_file_that_can_no_longer_be_written_after_the_run_is_an_error(tmp_path: Path) -> None:
    outputs = checked(tmp_path / "a" / "j.xml")
    (tmp_path / "a").rmdir()
    with pytest.raises(OutputError, match=r"j\.xml cannot be written"):
        outputs.write_error("one", "first")


def test_report_writes_the_files_and_keeps_the_exit_code_of_the_verdict(
    make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = make_run(scenario={"slo": ["latency_ms.video.p50<40"]}).write(tmp_path / "run")
    monkeypatch.setenv(JOB_SUMMARY_VARIABLE, str(tmp_path / "s.md"))
    files = ["--junit", str(tmp_path / "j.xml"), "--openmetrics", str(tmp_path / "m.txt"), "--job-summary"]
    assert main(["report", str(directory), *files]) == 3
    capsys.readouterr()
    assert fromstring((tmp_path / "j.xml").read_text()).attrib["failures"] == "1"
    assert (tmp_path / "m.txt").read_text().endswith("# EOF\n")
    assert "## synthetic: FAIL" in (tmp_path / "s.md").read_text()


def test_report_of_what_is_no_run_leaves_a_junit_file_with_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "none"), "--junit", str(tmp_path / "j.xml")]) == 2
    assert "none" in capsys.readouterr().err
    assert fromstring((tmp_path / "j.xml").read_text()).attrib["errors"] == "1"


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077], ids=lambda umask: f"{umask:03o}")
def umask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The umask of a user who starts a command in a new process; the command narrows that of the process."""
    monkeypatch.setattr(private_files, "_users_umask", None)
    former = os.umask(request.param)
    yield request.param
    os.umask(former)


def modes(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)): path.stat().st_mode & 0o777 for path in sorted(directory.rglob("*"))
    }


def test_files_that_a_user_asks_for_have_the_rights_of_their_umask(
    umask: int, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_run().write(tmp_path / "run")
    monkeypatch.setenv(JOB_SUMMARY_VARIABLE, str(tmp_path / "ci" / "s.md"))
    files = [
        "--junit",
        str(tmp_path / "ci" / "new" / "j.xml"),
        "--openmetrics",
        str(tmp_path / "ci" / "m.txt"),
    ]
    for _ in range(2):  # the second replaces them, in a process whose umask is narrow by now
        assert main(["report", str(directory), *files, "--job-summary"]) == 0
        assert modes(tmp_path / "ci") == {
            "new": 0o777 & ~umask,
            "new/j.xml": 0o666 & ~umask,
            "m.txt": 0o666 & ~umask,
            "s.md": 0o666 & ~umask,
        }


def test_a_file_that_is_there_keeps_its_rights(make_run: Any, tmp_path: Path) -> None:
    directory = make_run().write(tmp_path / "run")
    (tmp_path / "j.xml").touch(0o640)
    (tmp_path / "j.xml").chmod(0o640)
    assert main(["report", str(directory), "--junit", str(tmp_path / "j.xml")]) == 0
    assert (tmp_path / "j.xml").stat().st_mode & 0o777 == 0o640


def test_the_self_test_refuses_what_it_does_not_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "selftest", "--junit", str(tmp_path / "j.xml")]) == 2
    assert "--junit is for scenarios" in capsys.readouterr().err
