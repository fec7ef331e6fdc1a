"""Requests of a run: each one a row of requests.csv, and the verdict of a run that has nothing else.

Users without media leave no samples that `summary.json` is made of, so their runs are judged here: by failures, and by the 95th
percentile of each request if a limit was set. Computed by pandas from the rows, not from what locust keeps.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from loadtests.messages import Measured
from simulator.report.criteria import Criterion
from simulator.summary import Verdict

FILE = "requests.csv"
COLUMNS = ("unix_ns", "seat", "group", "name", "ms", "cause", "code")
_WINDOW = "latency, p95 of 1 s"
"""What ends so is computed from samples, which are in the run."""


class RequestLog:
    """Write the requests of one process; :meth:`close` finishes the file."""

    def __init__(self, directory: Path) -> None:
        self._file = (directory / FILE).open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def add(self, unix_ns: int, found: Measured) -> None:
        """Write one request; windows of latency are left out."""
        if not self._file.closed and not found.name.endswith(_WINDOW):
            self._rows.writerow(
                (unix_ns, found.seat, found.group, found.name, found.ms, found.cause or "", found.code)
            )

    def close(self) -> None:
        """Finish the file. Idempotent."""
        self._file.close()


def merge_requests(parts: Iterable[Path], directory: Path) -> pd.DataFrame:
    """Put the requests of these processes into one file, in the order of time; returns them."""
    found = [pd.read_csv(part / FILE, keep_default_na=False) for part in parts if (part / FILE).is_file()]
    rows = pd.concat(found) if found else pd.DataFrame(columns=list(COLUMNS))
    rows = rows.sort_values("unix_ns", kind="stable", ignore_index=True)
    rows.to_csv(directory / FILE, index=False)
    return rows


def judge_requests(
    rows: pd.DataFrame, *, aborted: Sequence[str], limit_ms: float | None
) -> tuple[Verdict, list[str]]:
    """Return the verdict of a run without media, and the reasons.

    Args:
        rows: Its requests.
        aborted: Why it is an error.
        limit_ms: What the 95th percentile of each request must be below; None for no limit.
    """
    if aborted:
        return "error", list(aborted)
    if rows.empty:
        return "error", ["nothing was measured"]
    reasons: list[str] = []
    for (group, name), part in rows.groupby(["group", "name"]):
        failed = part[part["cause"] != ""]
        for cause, count in failed["cause"].value_counts().items():
            reasons.append(f"{group} {name}: {count} of {len(part)} failed: {cause}")
        p95 = part["ms"].quantile(0.95)
        if limit_ms is not None and not p95 < limit_ms:
            reasons.append(f"{group} {name}: p95 is {p95:.1f} ms, limit {limit_ms:g} ms")
    return ("fail", reasons) if reasons else ("pass", [])


def request_criteria(rows: pd.DataFrame, *, limit_ms: float | None) -> list[Criterion]:
    """Return what a run without media is judged by: for each request its failures and, if there is a limit, its percentile."""
    found: list[Criterion] = []
    for (group, name), part in rows.groupby(["group", "name"]):
        failed, request = int((part["cause"] != "").sum()), f"{group} {name}"
        found.append(Criterion(f"{request}: failures==0", "failed requests", failed, 0, None, failed == 0))
        if limit_ms is not None:
            p95 = float(part["ms"].quantile(0.95))
            words = f"{request}: p95<{limit_ms:g}"
            found.append(Criterion(words, "time of a request, ms", p95, limit_ms, None, p95 < limit_ms))
    return found


def requests_text(rows: pd.DataFrame, verdict: Verdict, reasons: Sequence[str]) -> str:
    """Return the verdict and a line for each request, for the terminal."""
    lines = [f"{verdict.upper()}: {len(rows)} requests of users without media"]
    lines += [f"  • {reason}" for reason in reasons]
    for (group, name), part in rows.groupby(["group", "name"]):
        p50, p95 = part["ms"].quantile([0.5, 0.95])
        lines.append(
            f"  {group:6}{name:36} p50 {p50:.1f}, p95 {p95:.1f}, max {part['ms'].max():.1f} ms ({len(part)} measured)"
        )
    return "\n".join(lines)
