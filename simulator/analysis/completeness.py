"""Whether a run measured what it promised: a figure that is missing, or lacks samples, must not pass for one that holds.

Compares the tables with each other. What a server did not deliver is no gap here: bots count what they record, so a frame
that never came and a sample that was lost differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simulator.analysis.delivery import sent_frames
from simulator.analysis.pauses import PAUSE_NS
from simulator.analysis.raw_run import STREAM, RawRun
from simulator.figure_types import value_at

_ROUNDING_NS = 1_000_000
"""Of the times that bots note."""


def gaps(raw: RawRun, values: Mapping[str, Any], promised: Iterable[str]) -> list[str]:
    """List what is missing of what a run promised, as sentences.

    Args:
        raw: The run.
        values: Its summary, as plain values.
        promised: The paths of figures that its pattern always measures.
    """
    missing = sorted(path for path in promised if not _is_measured(values, path))
    found = [f"{path} was not measured, and every run of this kind must" for path in missing]
    found += _lost_samples(raw) + _unknown_streams(raw) + _unsent_frames(raw)
    return found + _lost_joins(raw) + _lost_pauses(raw) + _unknown_clocks(raw)


def _is_measured(values: Mapping[str, Any], path: str) -> bool:
    value = value_at(values, path)
    if isinstance(value, Mapping):  # a distribution or a share
        return bool(value.get("samples") or value.get("of"))
    return value is not None


def _lost_samples(raw: RawRun) -> list[str]:
    """Compare the samples with the receivers' own counts of them."""
    counted = raw.tables["receivers"].groupby("receiver")["stamps"].max()
    there = raw.tables["latency"].groupby("receiver").size().reindex(counted.index).fillna(0)
    short = counted > there
    if not short.any():
        return []
    return [
        f"latency.parquet has {int(there[short].sum()):,} of the {int(counted[short].sum()):,} samples that "
        f"{int(short.sum())} receivers counted"
    ]


def _unknown_streams(raw: RawRun) -> list[str]:
    """Look for streams that were received and not expected.

    Only bots that one media server told their streams list them; in calls of the gateway they note who arrived instead.
    """
    if raw.tables["streams"].empty or not raw.tables["arrivals"].empty:
        return []
    received = raw.tables["streams"][STREAM].drop_duplicates()
    expected = raw.tables["expected"][STREAM]
    strange = received.merge(expected, how="left", on=STREAM, indicator=True)["_merge"] == "left_only"
    if not strange.any():
        return []
    return [f"expected.parquet lacks {int(strange.sum())} streams that bots received"]


def _unsent_frames(raw: RawRun) -> list[str]:
    """Look for frames that arrived and that no sender recorded."""
    sent = sent_frames(raw)
    rows = (
        raw.samples()
    )  # of the measured time: what was sent at the very end may be recorded on one side alone
    strange = 0
    for key, part in rows.groupby(["sender", "kind"]):
        pair: Any = key
        frames = sent.get((int(pair[0]), int(pair[1])))
        seq = part["seq"].to_numpy(dtype=np.int64)
        strange += len(seq) if frames is None else int((~np.isin(seq, frames.seq)).sum())
    return [f"sent.parquet lacks {strange:,} frames that arrived"] if strange else []


def _unknown_clocks(raw: RawRun) -> list[str]:
    """Look for machines whose delays to others cannot be known."""
    if raw.clocks is None or not raw.clocks.unknown:
        return []
    return [
        f"the clocks of {len(raw.clocks.unknown)} machines are not known ({', '.join(raw.clocks.unknown)}): media went "
        "from them or to them, and not both; let participants on each machine send and receive"
    ]


def _lost_joins(raw: RawRun) -> list[str]:
    """Look for participants whose streams were expected, and whose join was not recorded."""
    expected = raw.tables["expected"]
    strange = {*expected["receiver"], *expected["sender"]} - {*raw.tables["joins"]["bot"]}
    return [f"joins.parquet lacks {len(strange)} participants with streams"] if strange else []


def _lost_pauses(raw: RawRun) -> list[str]:
    """Look for streams that had brought nothing for long when they were looked at, and went on, without a pause of that time."""
    rows = raw.tables["streams"]
    rows = rows[(rows["tick"] >= 0) & rows["last_frame_ns"].notna() & (rows["last_frame_ns"] > 0)]
    last = rows.groupby(STREAM)["last_frame_ns"].transform("max")
    silent = rows[
        (rows["unix_ns"] - rows["last_frame_ns"] > PAUSE_NS + _ROUNDING_NS) & (rows["last_frame_ns"] < last)
    ]
    if silent.empty:
        return []
    noted: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for receiver, sender, kind, began, ended in raw.tables["pauses"].itertuples(index=False):
        noted.setdefault((int(receiver), int(sender), int(kind)), []).append((int(began), int(ended)))
    lost = sum(
        not any(
            began <= at + _ROUNDING_NS and ended > at
            for began, ended in noted.get((int(receiver), int(sender), int(kind)), ())
        )
        for receiver, sender, kind, at in silent[[*STREAM, "last_frame_ns"]].itertuples(index=False)
    )
    return [f"pauses.parquet lacks {lost} pauses that bots were in when they were looked at"] if lost else []
