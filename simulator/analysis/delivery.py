"""What became of each frame that was sent: the senders' record joined with what receivers found in stamps.

Frames are selected by the time they were sent, so one under way at the end of the measured time counts like any other: the
run goes on until it has come, or 5 s have passed. Nothing here trusts the server: neither its counters nor the RTP
sequence numbers it writes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulator.analysis.call_streams import due_spans
from simulator.analysis.figures import computes
from simulator.analysis.intervals import share
from simulator.analysis.raw_run import DELIVERED_WITHIN_NS, STREAM, RawRun
from simulator.analysis.sending import Sending
from simulator.figure_types import Share, SharePerKind
from simulator.samples.schema import KINDS, SAMPLE_CORRUPT, SAMPLE_FOREIGN, SAMPLE_KEY
from simulator.summary import Frames

LATE_NS = 400_000_000
"""A frame that is older is of no use in a conversation (ITU-T G.114)."""

Key = tuple[int, int, int]
"""Receiver, sender and number of the kind."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a receiver found in the stamps of one stream, sorted by sequence; one item for each arrival of a stamp."""

    seq: NDArray[np.int64]
    after_ns: NDArray[np.int64]
    """From sending until all of the frame was there; negative if a packet never came."""
    corrupt: NDArray[np.bool_]

    def within(self, sent: Sent) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the place of each arrival among the sent frames, and which of them were sent at all."""
        places = np.searchsorted(sent.seq, self.seq)
        places = np.minimum(places, len(sent.seq) - 1)
        return places, sent.seq[places] == self.seq


@dataclass(frozen=True, slots=True)
class Sent:
    """The stamped frames of one sender and kind, sorted by sequence; each once, by whatever legs it left."""

    seq: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    key: NDArray[np.bool_]
    """Which of them are key frames, as far as the sender knew."""


@dataclass(slots=True)
class StreamAccount:
    """What became of the frames of one stream."""

    receiver: int
    sender: int
    kind: int
    due: int = 0
    delivered: int = 0
    late: int = 0
    incomplete: int = 0
    corrupt: int = 0
    duplicated: int = 0
    missing_key_frames: int = 0
    decodable: int | None = None
    """Of the frames due; None where it is not known which frames are key frames."""


@dataclass(slots=True)
class Reach:
    """For each frame of one sender and kind: when it was sent, at how many receivers it was due, how many it reached."""

    kind: int
    sent_ns: NDArray[np.int64]
    due: NDArray[np.int64]
    reached: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What became of all frames of a run."""

    streams: tuple[StreamAccount, ...]
    reaches: tuple[Reach, ...]
    sent: int
    """Frames due at two receivers or more."""
    lost_to_all: int
    reached_some: int
    """Receivers at which such frames were due, of frames that reached at least one."""
    lost_to_some: int


def account(raw: RawRun) -> Accounts:
    """Join what was sent with what arrived, stream by stream."""
    sent, arrived = sent_frames(raw), _arrivals(raw)
    reaches: dict[tuple[int, int], Reach] = {}
    streams: list[StreamAccount] = []
    for (receiver, sender, kind), spans in _due_spans(raw).items():
        frames = sent.get((sender, kind))
        if frames is None:
            continue
        due = np.zeros(len(frames.seq), np.bool_)
        for start, end in spans:
            due |= (frames.sent_ns >= start) & (frames.sent_ns <= end)
        entry = StreamAccount(receiver, sender, kind)
        got = _enter(entry, frames, due, arrived.get((receiver, sender, kind)))
        streams.append(entry)
        reach = reaches.setdefault(
            (sender, kind),
            Reach(kind, frames.sent_ns, np.zeros(len(due), np.int64), np.zeros(len(due), np.int64)),
        )
        reach.due += due
        reach.reached += got & due
    several = [(r.due[r.due > 1], r.reached[r.due > 1]) for r in reaches.values()]
    return Accounts(
        streams=tuple(streams),
        reaches=tuple(reaches.values()),
        sent=sum(len(due) for due, _ in several),
        lost_to_all=sum(int((reached == 0).sum()) for _, reached in several),
        reached_some=sum(int(due[reached > 0].sum()) for due, reached in several),
        lost_to_some=sum(int((due - reached)[reached > 0].sum()) for due, reached in several),
    )


def accounts_of(raw: RawRun) -> Accounts:
    """Return the accounts of a run, which are computed once."""
    return _CACHE(raw)


@computes("frames", needs=["sent"])
def frames(raw: RawRun) -> Frames:
    """Count the frames that were due, and what became of them."""
    streams = accounts_of(raw).streams
    total = {
        name: sum(getattr(s, name) for s in streams) for name in ("due", "delivered", "late", "incomplete")
    }
    return Frames(
        **total,
        missing=total["due"] - total["delivered"],
        missing_key_frames=sum(s.missing_key_frames for s in streams),
        # In calls that switch the same frame comes by two legs.
        duplicated=sum(s.duplicated for s in streams) if raw.announces_streams else None,
    )


@computes("delivered_ratio", needs=["sent"])
def delivered(raw: RawRun) -> SharePerKind:
    """Compute the share of due frames that arrived, by kind."""
    found = SharePerKind()
    for number, kind in enumerate(KINDS):
        if kind in raw.scenario.media.kinds:
            streams = [s for s in accounts_of(raw).streams if s.kind == number]
            setattr(found, kind, share(sum(s.delivered for s in streams), sum(s.due for s in streams)))
    return found


@computes("late_ratio", needs=["sent"])
def late(raw: RawRun) -> Share:
    """Compute the share of delivered frames that came too late to be of use."""
    streams = accounts_of(raw).streams
    return share(sum(s.late for s in streams), sum(s.delivered for s in streams))


@computes("decodable_ratio", needs=["sent"])
def decodable(raw: RawRun) -> Share | None:
    """Compute the share of due video frames that a decoder could show; None when no sender knew its key frames."""
    streams = [s for s in accounts_of(raw).streams if s.decodable is not None]
    return share(sum(s.decodable or 0 for s in streams), sum(s.due for s in streams)) if streams else None


@computes("uplink_loss", needs=["sent"])
def uplink(raw: RawRun) -> Share | None:
    """Compute the share of frames that reached no receiver; None when no frame was due at two."""
    accounts = accounts_of(raw)
    return share(accounts.lost_to_all, accounts.sent) if accounts.sent else None


@computes("downlink_loss", needs=["sent"])
def downlink(raw: RawRun) -> Share | None:
    """Compute the share of frames that were missing where another receiver got them; None when none was due at two."""
    accounts = accounts_of(raw)
    return share(accounts.lost_to_some, accounts.reached_some) if accounts.sent else None


@computes("corrupted_frames", needs=["sent"])
def corrupted(raw: RawRun) -> int:
    """Count the frames whose payload is not what was sent."""
    return int((raw.samples(misrouted=True)["flags"] & SAMPLE_CORRUPT != 0).sum())


def by_stream(raw: RawRun) -> pd.DataFrame:
    """Return what became of the frames of each stream; one row a stream."""
    columns = ["due", "delivered", "late", "incomplete", "corrupt", "duplicated"]
    rows = [
        {"sender": s.sender, "receiver": s.receiver, "kind": KINDS[s.kind]}
        | {name: getattr(s, name) for name in columns}
        for s in accounts_of(raw).streams
    ]
    return pd.DataFrame(rows, columns=["sender", "receiver", "kind", *columns]).rename(
        columns={name: f"frames_{name}" for name in columns}
    )


def sent_frames(raw: RawRun) -> dict[tuple[int, int], Sent]:
    """Return what each sender sent of each kind, each frame once."""
    table = raw.tables["sent"]
    found: dict[tuple[int, int], Sent] = {}
    for (sender, kind), part in _groups(table, ["sender", "kind"]):
        seq, first = np.unique(part["seq"].to_numpy(dtype=np.int64), return_index=True)
        key = part["flags"].to_numpy(dtype=np.int64)[first] & SAMPLE_KEY != 0
        found[sender, kind] = Sent(seq, part["sent_unix_ns"].to_numpy(dtype=np.int64)[first], key)
    return found


def _enter(
    entry: StreamAccount, sent: Sent, due: NDArray[np.bool_], arrived: Arrived | None
) -> NDArray[np.bool_]:
    """Write one stream's account; return which of the sent frames arrived."""
    entry.due = int(due.sum())
    got = np.zeros(len(due), np.bool_)
    if arrived is None or not len(sent.seq):
        _enter_decodable(entry, sent, due, got)
        return got
    places, known = arrived.within(sent)
    places = places[known]
    after_ns, corrupt = arrived.after_ns[known], arrived.corrupt[known]
    whole = (after_ns >= 0) & (after_ns <= DELIVERED_WITHIN_NS) & ~corrupt
    got[places[whole]] = True
    punctual = np.zeros(len(due), np.bool_)
    punctual[places[whole & (after_ns <= LATE_NS)]] = True
    partly = np.zeros(len(due), np.bool_)
    partly[places[after_ns < 0]] = True
    entry.delivered = int((got & due).sum())
    entry.late = int((got & ~punctual & due).sum())
    entry.incomplete = int((partly & ~got & due).sum())
    entry.corrupt = int((corrupt & due[places]).sum())
    times = np.bincount(places, minlength=len(due))
    entry.duplicated = int((times[due] - 1).clip(min=0).sum())
    _enter_decodable(entry, sent, due, got)
    return got


def _enter_decodable(
    entry: StreamAccount, sent: Sent, due: NDArray[np.bool_], got: NDArray[np.bool_]
) -> None:
    """Write which frames a decoder could show: those that arrived, as did all before them since a key frame."""
    if not sent.key.any():
        return
    entry.missing_key_frames = int((sent.key & due & ~got).sum())
    missing = np.cumsum(~got)
    before_key = np.maximum.accumulate(np.where(sent.key, missing - ~got, 0))
    # Before the first key frame nothing is known of what a frame builds on.
    unknown = np.cumsum(sent.key) == 0
    whole: NDArray[np.bool_] = (missing == before_key) | (unknown & got)
    entry.decodable = int((whole & due).sum())


def _arrivals(raw: RawRun) -> dict[Key, Arrived]:
    rows = raw.tables["latency"]
    rows = rows[rows["flags"] & SAMPLE_FOREIGN == 0]
    found: dict[Key, Arrived] = {}
    for (receiver, sender, kind), part in _groups(rows, STREAM):
        whole_ns = part["whole_ns"].to_numpy(dtype=np.int64)
        after_ns = np.where(whole_ns < 0, -1, part["owd_ns"].to_numpy(dtype=np.int64) + whole_ns)
        found[receiver, sender, kind] = Arrived(
            seq=part["seq"].to_numpy(dtype=np.int64),
            # Clocks of one host: a frame is never whole before it was sent.
            after_ns=np.where(whole_ns < 0, -1, after_ns.clip(min=0)),
            corrupt=part["flags"].to_numpy() & SAMPLE_CORRUPT != 0,
        )
    return found


def _due_spans(raw: RawRun) -> dict[Key, list[tuple[int, int]]]:
    """Return for each stream the spans of time in which what was sent should have arrived."""
    start, end = raw.context.window_start_ns, raw.context.window_end_ns
    if start is None or end is None:
        return {}
    if raw.announces_streams:
        rows = raw.tables["expected"][STREAM].itertuples(index=False)
        sending = Sending(raw)
        return {(int(r), int(s), int(k)): list(sending.spans(int(s), int(k), start, end)) for r, s, k in rows}
    return due_spans(raw)


def _groups(table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[tuple[int, ...], pd.DataFrame]]:
    for key, part in table.groupby(list(names), sort=True):
        parts: Any = key
        yield tuple(int(value) for value in parts), part


_CACHE = functools.lru_cache(maxsize=1)(account)
