"""Figures of calls that switch: how long mode changes, joins and recoveries take, and the gaps around mode changes.

Computed by pandas from the raw samples of one run. Only frames that were shown count, so a gap is one that a user would
notice.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.analysis.comfort import comfort_of
from simulator.analysis.figures import computes
from simulator.analysis.metrics import percentiles
from simulator.analysis.raw_run import RawRun
from simulator.analysis.sending import Sending
from simulator.samples.schema import KINDS, SAMPLE_SHOWN, SAMPLE_SURPLUS
from simulator.summary import Percentiles, PerKind, Transitions

BEFORE_NS = 500_000_000
AFTER_NS = 1_000_000_000
"""How long before and after a change a gap counts as caused by it."""
RECOVERY_NS = 8_000_000_000
"""How long after a fault a gap counts as caused by it."""
AFFECTED_NS = 200_000_000
"""A track with no longer gap was not affected."""
_NS_PER_MS = 1e6
UNNOTICED_NS = 1_000_000_000
"""How long a fault may go unnoticed: a change that begins meanwhile cannot complete."""
DEADLINE_NS = 10_000_000_000
"""The longest a change may last: the gateway's deadline."""
SUPERSEDED = "superseded"
"""The gateway's reason for a change that is not needed any more, because participants joined or left meanwhile."""
_EVER = 2**63 - 1


def changes(raw: RawRun) -> pd.DataFrame:
    """Return the changes between peer to peer and SFU, one row for each participant who was notified of one."""
    rows = raw.tables["transitions"]
    return rows[rows["old"] != rows["new"]]


@computes("transition_ms", needs=["transitions"])
def transitions(raw: RawRun) -> Transitions | None:
    """Compute how long mode changes took, per participant; None when there were none."""
    rows = changes(raw)
    if rows.empty:
        return None
    succeeded = rows["success"].fillna(False).astype(bool) & (rows["completed_ns"] > 0)
    # If one participant is notified of it, it holds for all: another may report that its leg was closed meanwhile.
    changed = pd.MultiIndex.from_frame(rows[["call_id", "epoch"]])
    superseded = changed.isin(changed[(rows["error"] == SUPERSEDED).to_numpy()])
    done, rest = rows[succeeded], rows[~succeeded & ~superseded]
    interrupted = sum(_interrupted(row, raw.tables["deaths"]) for row in rest.to_dict("records"))
    return Transitions(
        to_sfu=_since_decision(done[done["new"] == "sfu"], "completed_ns"),
        to_p2p=_since_decision(done[done["new"] == "p2p"], "completed_ns"),
        told=_since_decision(done, "told_ns"),
        media=_since_decision(done, "media_ns"),
        confirmed=_since_decision(done, "confirmed_ns"),
        failed=len(rest) - interrupted,
        interrupted=interrupted,
        surplus_frames=int((raw.tables["latency"]["flags"] & SAMPLE_SURPLUS != 0).sum()),
    )


def _interrupted(change: Mapping[Hashable, Any], faults: pd.DataFrame) -> bool:
    """Return whether a fault was injected during a change, or so shortly before that it was not noticed yet."""
    begun = int(change["decided_ns"] or change["told_ns"])
    ended = int(change["completed_ns"]) or begun + DEADLINE_NS
    return bool(((faults["unix_ns"] >= begun - UNNOTICED_NS) & (faults["unix_ns"] <= ended)).any())


def gaps(raw: RawRun) -> pd.DataFrame:
    """Compute the gap in every track that went on through a change: one row a change, participant, peer and kind.

    A gap is the longest time between two shown frames around the change, minus the usual time between frames.
    """
    rows = changes(raw)
    rows = rows[rows["success"].fillna(False).astype(bool) & (rows["completed_ns"] > 0)]
    tracks, stays, sending = shown(raw), _stays(raw), Sending(raw)
    faults = raw.tables["deaths"]["unix_ns"].to_numpy(dtype=np.int64)
    found: list[dict[str, Any]] = []
    for row in rows.to_dict("records"):
        lateness = int(row["completed_ns"]) + AFTER_NS - faults
        # A gap that begins with the last frame that counts may be caused by a fault shortly after it.
        if bool(((lateness > -AFFECTED_NS) & (lateness < RECOVERY_NS)).any()):
            continue  # gaps after a fault are counted by recoveries()
        for peer in (int(number) for number in str(row["peers"]).split()):
            for kind, name in enumerate(KINDS):
                if name not in raw.scenario.media.kinds:
                    continue
                times, usual = tracks.get((int(row["bot"]), peer, kind), (np.array([], np.int64), 0.0))
                if len(times) and times[0] > row["told_ns"]:
                    continue  # the call had just begun: nothing was interrupted
                together = _overlap(stays, (int(row["bot"]), peer), int(row["told_ns"]))
                if together is None:
                    continue  # one of the two joined or left: what the other missed is no gap
                start = max(int(row["told_ns"]) - BEFORE_NS, int(times[0]) if len(times) else 0, together[0])
                end = min(
                    int(row["completed_ns"]) + AFTER_NS, raw.context.window_end_ns or _EVER, together[1]
                )
                if end <= start:
                    continue
                if not sending.all_through(peer, kind, start, end):
                    continue  # it was silent because nothing was sent
                # What was missed before both had joined, or after one had left, is no gap.
                here = times[(times >= together[0]) & (times <= together[1])]
                found.append(
                    {
                        "bot": int(row["bot"]),
                        "epoch": int(row["epoch"]),
                        "new": row["new"],
                        "sender": peer,
                        "kind": name,
                        "gap_ms": _longest(here, start, end, usual) / _NS_PER_MS,
                    }
                )
    columns = ["bot", "epoch", "new", "sender", "kind", "gap_ms"]
    return pd.DataFrame(found, columns=columns)


@computes("gap_ms", needs=["transitions"])
def gap_figures(raw: RawRun) -> PerKind | None:
    """Compute the distribution of gaps of each kind; None when nothing changed."""
    table = gaps(raw)
    if table.empty:
        return None
    return PerKind(
        **{
            kind: percentiles(table.loc[table["kind"] == kind, "gap_ms"])
            for kind in KINDS
            if kind in raw.scenario.media.kinds
        }
    )


@computes("recovery_ms", needs=["deaths"])
def recoveries(raw: RawRun) -> Percentiles | None:
    """Compute how long each affected track took to recover from a fault, while both participants stayed.

    None when no fault was injected.
    """
    faults = raw.tables["deaths"]
    if faults.empty:
        return None
    tracks, stays, sending = shown(raw), _stays(raw), Sending(raw)
    found: list[float] = []
    for fault in faults["unix_ns"].astype("int64"):
        end = int(fault) + RECOVERY_NS
        # Streams of participants who joined or left meanwhile stopped for another reason.
        here = {
            bot: (flowing, left)
            for bot, spans in stays.items()
            for flowing, left in spans
            if 0 < flowing < fault and left > end
        }
        for (receiver, sender, kind), (times, usual) in tracks.items():
            sends = sending.all_through(sender, kind, int(fault), end)
            if receiver in here and sender in here and sends and len(times) and times[0] < fault:
                # What was missed before both had joined, or after one had left, does not count: they may be in the
                # same call again later. A track that stays silent has not recovered until then.
                came = max(here[receiver][0], here[sender][0])
                left = min(here[receiver][1], here[sender][1])
                together = np.append(times[(times >= came) & (times <= left)], left)
                gap_ns = _longest(together, int(fault), end, usual)
                if gap_ns > AFFECTED_NS:
                    found.append(gap_ns / _NS_PER_MS)
    return percentiles(pd.Series(found, dtype="float64"))


@computes("join_ms", needs=["arrivals"])
def arrivals(raw: RawRun) -> Percentiles | None:
    """Compute the time from a join until all streams of those already there are shown; None without joins."""
    rows = raw.tables["arrivals"]
    if rows.empty:
        return None
    done = rows[rows["flowing_ns"] > 0]
    return percentiles(((done["flowing_ns"] - done["started_ns"]) / _NS_PER_MS).clip(lower=0))


def shown(raw: RawRun) -> dict[tuple[int, int, int], tuple[NDArray[np.int64], float]]:
    """Return for each (receiver, sender, kind) the sorted times of shown frames, and the usual time between them.

    Frames that were left out because the sender was silent count as shown when they would have been.
    """
    comfort = comfort_of(raw)
    samples = raw.tables["latency"]
    samples = samples[samples["flags"] & SAMPLE_SHOWN != 0]
    tracks: dict[tuple[int, int, int], tuple[NDArray[np.int64], float]] = {}
    for key, part in samples.groupby(["receiver", "sender", "kind"]):
        receiver, sender, kind = (int(str(value)) for value in tuple(key))
        left_out = comfort.of(receiver, sender, kind).left_out()
        times = np.sort(np.concatenate([part["recv_unix_ns"].to_numpy(dtype=np.int64), left_out]))
        usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        tracks[receiver, sender, kind] = (times, usual)
    return tracks


def _stays(raw: RawRun) -> dict[int, list[tuple[int, int]]]:
    """Return for each bot the spans of time in which it was in a call and received all others."""
    stays: dict[int, list[tuple[int, int]]] = {}
    rows = raw.tables["arrivals"]
    for bot, flowing_ns, left_ns in rows[["bot", "flowing_ns", "left_ns"]].itertuples(index=False):
        if flowing_ns > 0:
            stays.setdefault(int(bot), []).append((int(flowing_ns), int(left_ns)))
    return stays


def _overlap(
    stays: dict[int, list[tuple[int, int]]], bots: tuple[int, int], at_ns: int
) -> tuple[int, int] | None:
    """Return the span around a moment in which both were in the call; a bot without stays began the call."""
    start, end = 0, _EVER
    for bot in bots:
        spans = stays.get(bot)
        if spans is None:
            continue
        here = next(((a, b) for a, b in spans if a <= at_ns < b), None)
        if here is None:
            return None
        start, end = max(start, here[0]), min(end, here[1])
    return start, end


def _longest(times: NDArray[np.int64], start: int, end: int, usual: float) -> float:
    """Return the longest time between frames that touches the time from start to end, minus what is usual."""
    first, last = int(np.searchsorted(times, start)), int(np.searchsorted(times, end, side="right"))
    around = times[max(0, first - 1) : last + 1]
    if len(around) == 0:
        return float(end - start)
    gaps_ns = np.diff(around).astype(float).tolist()
    # A track that begins or ends within the window is silent from or until the window's edge.
    if first == 0:
        gaps_ns.append(float(around[0] - start))
    if last == len(times):
        gaps_ns.append(float(end - around[-1]))
    return max(0.0, max(gaps_ns, default=0.0) - usual)


def _since_decision(rows: pd.DataFrame, name: str) -> Percentiles:
    known = rows[(rows["decided_ns"] > 0) & (rows[name] > 0)]
    return percentiles((known[name] - known["decided_ns"]) / _NS_PER_MS)
