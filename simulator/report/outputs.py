"""Files beside the report, for programs: JUnit XML, the summary of a job, OpenMetrics. Checked before a run, written after it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meeshy_sfu.private_files import make_users_directory, open_to_users_umask
from simulator.errors import OutputError, UsageError
from simulator.report.job_summary import to_job_summary
from simulator.report.judgement import Judgement, broken_off, judgement_of
from simulator.report.junit import to_junit
from simulator.report.openmetrics import to_openmetrics
from simulator.summary import Summary

JOB_SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file whose Markdown GitHub, Gitea and Forgejo show beside a job."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where files for programs go; None is nowhere."""

    junit: Path | None = None
    openmetrics: Path | None = None
    job_summary: Path | None = None
    """Appended to, not replaced."""

    @classmethod
    def checked(
        cls,
        *,
        junit: Path | None,
        openmetrics: Path | None,
        job_summary: bool,
        environment: Mapping[str, str] = os.environ,
    ) -> Outputs:
        """Check that every file can be written, so that a run is not in vain; folders that are missing are made.

        Raises:
            UsageError: One cannot be written, two are the same, or there is no job that takes a summary.
        """
        summary = environment.get(JOB_SUMMARY_VARIABLE) if job_summary else None
        if job_summary and not summary:
            raise UsageError(
                f"--job-summary: {JOB_SUMMARY_VARIABLE} is not set, as it is in jobs of GitHub, Gitea and Forgejo; "
                f"elsewhere set it to the file that the summary is appended to"
            )
        found = cls(junit, openmetrics, None if summary is None else Path(summary))
        named = {"--junit": junit, "--openmetrics": openmetrics, "--job-summary": found.job_summary}
        seen: dict[Path, str] = {}
        for option, path in named.items():
            if path is None:
                continue
            _check(option, path)
            if other := seen.get(path.resolve()):
                raise UsageError(f"{other} and {option} name the same file, {path}; name two")
            seen[path.resolve()] = option
        return found

    def write(self, runs: Sequence[tuple[str, str | None, Summary]], report: Path) -> None:
        """Write the files of a run, or of the parts of a suite.

        Args:
            runs: Folder (empty for a run of its own), title (None for the scenario's name) and summary of each.
            report: The page on all of them.

        Raises:
            OutputError: A file cannot be written.
        """
        self.write_judgements([judgement_of(one, report=report, name=title) for _, title, one in runs])
        if self.openmetrics is not None:
            _write(self.openmetrics, to_openmetrics([(folder, one) for folder, _, one in runs]))

    def write_judgements(self, runs: Sequence[Judgement]) -> None:
        """Write JUnit file and job summary.

        Raises:
            OutputError: A file cannot be written.
        """
        if self.junit is not None:
            _write(self.junit, to_junit(runs))
        if self.job_summary is not None:
            _write(self.job_summary, to_job_summary(runs), append=True)

    def write_error(self, name: str, reason: str) -> None:
        """Write that a run ended before it could be judged, so that a CI service finds an error and not nothing.

        Raises:
            OutputError: A file cannot be written.
        """
        self.write_judgements([broken_off(name, reason)])


def _check(option: str, path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a directory; name a file")
    try:
        make_users_directory(path.parent)
        if path.exists():
            with path.open("ab"):
                pass
        else:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}") from error


def _write(path: Path, text: str, *, append: bool = False) -> None:
    try:
        is_new = not path.exists()
        with path.open("a" if append else "w", encoding="utf-8") as file:
            if is_new:  # for a CI service that is perhaps another user
                open_to_users_umask(path)
            if append and file.seekable() and file.tell() > 0:
                file.write("\n")
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
