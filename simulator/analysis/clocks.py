"""Clocks of several machines: how far each is ahead, by the media's own ways there and back.

A stamp has the sender's time, its arrival the receiver's. Of two machines a and b, the shortest delay from a to b is the
shortest true delay plus how far b is ahead, and from b to a minus it. If the shortest delays are alike in both directions,
half of the difference is the offset; if they are not, it is wrong by half of what they differ, so by half of their sum at
most. Pure.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

BLOCK_NS = 10_000_000_000
"""Clocks drift: an offset is that of so long a time."""
_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Offset:
    """How far one clock is ahead of another."""

    blocks: _Ints
    """Numbers of the times of :data:`BLOCK_NS` in which it was estimated, in order."""
    ahead_ns: _Ints
    """In each of them."""
    error_ns: int
    """It is off by no more than this, in either direction."""

    def at(self, unix_ns: _Ints) -> _Ints:
        """Return the offset at these times: of the nearest block."""
        numbers = unix_ns // BLOCK_NS
        after = np.searchsorted(self.blocks, numbers).clip(0, len(self.blocks) - 1)
        before = (after - 1).clip(0)
        nearer = np.abs(numbers - self.blocks[before]) < np.abs(self.blocks[after] - numbers)
        found: _Ints = self.ahead_ns[np.where(nearer, before, after)]
        return found

    def reversed(self) -> Offset:
        """Return how far the other clock is ahead."""
        return Offset(self.blocks, -self.ahead_ns, self.error_ns)

    def and_then(self, further: Offset) -> Offset:
        """Return how far a third clock is ahead, by how far it is ahead of this one."""
        own = self.at(further.blocks * BLOCK_NS)
        return Offset(further.blocks, own + further.ahead_ns, self.error_ns + further.error_ns)


@dataclass(frozen=True, slots=True)
class ClockOffsets:
    """The clocks of a run, by the first of them."""

    first: str
    ahead: Mapping[str, Offset]
    """Of those that are known, the first one excluded."""
    names: tuple[str, ...]
    clock_of: Mapping[int, str]
    unknown: tuple[str, ...] = ()
    """Those whose media came from the others or went to them, and not both."""

    @property
    def error_ns(self) -> int:
        """How far a delay between two machines may be off at most."""
        worst = sorted((offset.error_ns for offset in self.ahead.values()), reverse=True)
        return sum(worst[:2])

    def across(self, samples: pd.DataFrame) -> NDArray[np.bool_]:
        """Return which samples are of media that went from one machine to another."""
        found: NDArray[np.bool_] = self._named(samples, "sender") != self._named(samples, "receiver")
        return found

    def ahead_ns(self, bots: pd.Series[int], unix_ns: _Ints) -> _Ints:
        """Return how far the clock of each bot's machine was ahead at a time by that clock."""
        found = np.zeros(len(bots), np.int64)
        names = bots.map(self.clock_of).to_numpy()
        for name, offset in self.ahead.items():
            mine = names == name
            found[mine] = offset.at(unix_ns[mine])
        return found

    def _named(self, samples: pd.DataFrame, column: str) -> NDArray[np.object_]:
        names: NDArray[np.object_] = samples[column].map(self.clock_of).to_numpy(dtype=object)
        return names


def estimate(tables: Mapping[str, pd.DataFrame]) -> ClockOffsets | None:
    """Estimate the offsets of all clocks of a run; None if there is one."""
    rows = tables["clocks"]
    clock_of = {int(bot): str(clock) for bot, clock in rows[["bot", "clock"]].itertuples(index=False)}
    counts = rows["clock"].value_counts()
    if len(counts) < 2:
        return None
    # That of the most bots, and of several such the first by name.
    first = min(counts.index, key=lambda name: (-int(counts[name]), str(name)))
    pairs, one_way = _pairs(tables["latency"], clock_of)
    ahead = _from(str(first), pairs)
    known = {str(first), *ahead}
    return ClockOffsets(
        first=str(first),
        ahead=ahead,
        names=tuple(sorted(map(str, counts.index))),
        clock_of=clock_of,
        unknown=tuple(sorted({name for names in one_way for name in names} - known)),
    )


def on_one_clock(tables: Mapping[str, pd.DataFrame], offsets: ClockOffsets) -> dict[str, pd.DataFrame]:
    """Return the tables with all times of participants by the first clock."""
    changed = dict(tables)
    latency = tables["latency"]
    received = latency["recv_unix_ns"].to_numpy(dtype=np.int64)
    sent = received - latency["owd_ns"].to_numpy(dtype=np.int64)
    received = received - offsets.ahead_ns(latency["receiver"], received)
    sent = sent - offsets.ahead_ns(latency["sender"], sent)
    changed["latency"] = latency.assign(recv_unix_ns=received.astype(np.uint64), owd_ns=received - sent)
    for table, bot, columns in (
        ("sent", "sender", ("sent_unix_ns",)),
        ("arrivals", "bot", ("started_ns", "flowing_ns", "left_ns")),
        ("muted", "bot", ("began_ns", "ended_ns")),
        ("paused", "bot", ("asked_ns", "began_ns", "ended_ns")),
    ):
        rows = tables[table]
        for column in columns:
            times = rows[column].to_numpy(dtype=np.int64)
            # 0 is no time
            moved = np.where(times > 0, times - offsets.ahead_ns(rows[bot], times), times)
            rows = rows.assign(**{column: moved.astype(rows[column].to_numpy().dtype)})
        changed[table] = rows
    return changed


def _pairs(
    latency: pd.DataFrame, clock_of: Mapping[int, str]
) -> tuple[dict[tuple[str, str], Offset], set[tuple[str, str]]]:
    """Return the offsets of machines with media both ways, and the pairs with media one way alone."""
    table = pd.DataFrame(
        {
            "a": latency["sender"].map(clock_of),
            "b": latency["receiver"].map(clock_of),
            "block": latency["recv_unix_ns"].astype("int64") // BLOCK_NS,
            "ns": latency["owd_ns"].astype("int64"),
        }
    ).dropna()
    shortest = table[table["a"] != table["b"]].groupby(["a", "b", "block"])["ns"].min()
    ways: dict[tuple[str, str], dict[int, int]] = {}
    for a, b, block, ns in shortest.reset_index().itertuples(index=False):
        ways.setdefault((str(a), str(b)), {})[int(block)] = int(ns)
    found: dict[tuple[str, str], Offset] = {}
    for (a, b), there in ways.items():
        back = ways.get((b, a))
        if back is not None and (b, a) not in found:
            found[a, b] = _offset(there, back)
    return found, {pair for pair in ways if pair[::-1] not in ways}


def _offset(there: Mapping[int, int], back: Mapping[int, int]) -> Offset:
    """Estimate how far the clock of those who receive on the way there is ahead."""
    # Offsets of seconds shift the numbers of blocks: where none is common to both, all are one.
    common = sorted(there.keys() & back.keys())
    if not common:
        there, back = ({0: min(way.values())} for way in (there, back))
        common = [0]
    forth, home = (np.array([way[block] for block in common], np.int64) for way in (there, back))
    ahead = (forth - home) // 2
    # A clock that drifts is off by what it moves within a block.
    drift = int(np.abs(np.diff(ahead)).max(initial=0))
    return Offset(np.array(common, np.int64), ahead, int((forth + home).max()) // 2 + 1 + drift)


def _from(first: str, pairs: Mapping[tuple[str, str], Offset]) -> dict[str, Offset]:
    """Return the offsets of all clocks that can be reached from the first, by the way with the smallest error."""
    found: dict[str, Offset] = {}
    open_ways: list[tuple[int, str]] = [(0, first)]
    best: dict[str, Offset | None] = {first: None}
    while open_ways:
        _, here = heapq.heappop(open_ways)
        if here in found or (here == first and found):
            continue
        so_far = best[here]
        if so_far is not None:
            found[here] = so_far
        for (a, b), offset in pairs.items():
            if here not in (a, b):
                continue
            there, step = (b, offset) if here == a else (a, offset.reversed())
            way = step if so_far is None else so_far.and_then(step)
            known = best.get(there)
            if there != first and (known is None or way.error_ns < known.error_ns):
                best[there] = way
                heapq.heappush(open_ways, (way.error_ns, there))
    return found
