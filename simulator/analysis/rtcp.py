"""RTCP as bots saw it: how long they waited for reports and feedback, and what became of their requests.

Computed from the receivers' own counts. A wait lasts as long as media flows and what reports on it does not come, so a run
shorter than an objective cannot break it.
"""

from __future__ import annotations

import pandas as pd

from simulator.analysis.figures import computes
from simulator.analysis.intervals import share
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import RawRun
from simulator.figure_types import Percentiles, Share
from simulator.media_figures import Rtcp

RECOVERY_NS = 8_000_000_000
"""After a fault was injected, reports may be missing for so long."""


@computes("rtcp", needs=["receivers"])
def rtcp(raw: RawRun) -> Rtcp | None:
    """Compute how long bots waited, and the shares of their requests without an answer; None if no bot counts RTCP."""
    rows = raw.tables["receivers"].sort_values("unix_ns")
    rows = rows[rows["sender_report_wait_ms"].notna()]
    if rows.empty:
        return None
    last = rows.groupby("receiver").last()
    return Rtcp(
        sender_report_wait_ms=_longest(raw, rows, "sender_report_wait_ms"),
        receiver_report_wait_ms=_longest(raw, rows, "receiver_report_wait_ms"),
        feedback_wait_ms=_longest(raw, rows, "feedback_wait_ms"),
        late_key_frames=_of(last["late_key_frames"], last["key_frame_requests"]),
        unrepaired=_of(last["unrepaired"], last["repaired"] + last["unrepaired"]),
    )


def _longest(raw: RawRun, rows: pd.DataFrame, name: str) -> Percentiles:
    """Compute the longest wait of each participant within the measured time, apart from those that a fault may explain."""
    rows = rows[rows["tick"] >= 0]
    began_ns = rows["unix_ns"] - rows[name] * 1_000_000
    faulty = pd.Series(data=False, index=rows.index)
    for at_ns in raw.tables["deaths"]["unix_ns"]:
        faulty |= (began_ns - RECOVERY_NS <= at_ns) & (at_ns <= rows["unix_ns"])
    return percentiles(rows[~faulty].groupby("receiver")[name].max())


def _of(part: pd.Series, whole: pd.Series) -> Share | None:
    return share(int(part.sum()), int(whole.sum())) if whole.sum() else None
