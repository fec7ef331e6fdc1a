"""The chart of a mode change: what a participant was shown around it, frame by frame.

Computes where things are; the SVG is templates/changes.svg. Every number in it comes from the raw samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from simulator.analysis.raw_run import RawRun
from simulator.analysis.transitions import changes, gaps
from simulator.report.render import Chart, render
from simulator.samples.schema import KINDS, SAMPLE_SHOWN, SAMPLE_SURPLUS

BEFORE_MS, AFTER_MS = 200.0, 500.0
"""How much time is drawn, from the gateway's decision."""
_LEFT, _WIDTH, _STRIP, _HEAD, _FOOT = 190, 700, 44, 46, 24
_DIRECTIONS = {"sfu": "To the media server", "p2p": "Back to peer to peer"}
_MARKS = (
    ("decided_ns", "decided", "var(--soft, #57606a)"),
    ("media_ns", "all on the new path", "var(--green, #1a7f37)"),
    ("completed_ns", "old path ends", "var(--red, #b42318)"),
)
_ROWS: Final = (
    (SAMPLE_SHOWN, "shown", 0, 16, "var(--blue, #0969da)"),
    (SAMPLE_SURPLUS, "came by both paths", 20, 10, "var(--grey, #8c959f)"),
)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A moment, as a vertical line and a word of the legend."""

    label: str
    at_ms: int
    colour: str
    x: float | None
    """None where it is outside what is drawn."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Frames of one kind, a tick for each."""

    label: str
    top: int
    height: int
    colour: str
    ticks: list[float]


@dataclass(slots=True)
class _Change:
    """The drawing of one change."""

    title: str
    top: int
    bottom: int = 0
    marks: list[_Mark] = field(default_factory=list)
    rows: list[_Row] = field(default_factory=list)


def changes_chart(raw: RawRun) -> list[Chart]:
    """Draw the worst change each way, for the participant with the longest gap; nothing if there was none."""
    table = gaps(raw)
    drawn: list[_Change] = []
    height = 0
    for direction, words in _DIRECTIONS.items():
        here = table[table["new"] == direction]
        if here.empty:
            continue
        change = _change(raw, here.sort_values("gap_ms").iloc[-1], words, height)
        drawn.append(change)
        height += change.bottom + _FOOT
    if not drawn:
        return []
    svg = render("changes.svg", changes=drawn, left=_LEFT, width=_LEFT + _WIDTH + 20, height=height)
    return [
        Chart("Frame by frame", "What one participant was shown around a change; each line is a frame.", svg)
    ]


def _change(raw: RawRun, worst: pd.Series[Any], words: str, top: int) -> _Change:
    rows = changes(raw)
    row = rows[(rows["bot"] == worst["bot"]) & (rows["epoch"] == worst["epoch"])].iloc[0]
    start = int(row["decided_ns"] or row["told_ns"])
    title = (
        f"{words}: the change with the longest gap ({worst['gap_ms']:.0f} ms), "
        f"as participant {worst['bot']} received participant {worst['sender']}"
    )
    change = _Change(title, top)
    moments = [(int(row[name]), label, colour) for name, label, colour in _MARKS if int(row[name]) > 0]
    moments += _departures(raw, (int(worst["bot"]), int(worst["sender"])), start)
    for at_ns, label, colour in moments:
        at_ms = (at_ns - start) / 1e6
        inside = -BEFORE_MS <= at_ms <= AFTER_MS
        change.marks.append(_Mark(label, round(at_ms), colour, _x(at_ms) if inside else None))
    samples = raw.tables["latency"]
    samples = samples[(samples["receiver"] == worst["bot"]) & (samples["sender"] == worst["sender"])]
    strips = [(number, kind) for number, kind in enumerate(KINDS) if kind in raw.scenario.media.kinds]
    for place, (number, kind) in enumerate(strips):
        mine = samples[samples["kind"] == number]
        for flag, label, offset, height, colour in _ROWS:
            ticks = _ticks(mine[mine["flags"] & flag != 0], start)
            change.rows.append(
                _Row(f"{kind}, {label}", _HEAD + _STRIP * place + offset, height, colour, ticks)
            )
    change.bottom = _HEAD + _STRIP * len(strips)
    return change


def _departures(raw: RawRun, bots: tuple[int, int], start: int) -> list[tuple[int, str, str]]:
    """Return a mark for whichever of the two left within what is drawn: what ends there is no gap."""
    left = raw.tables["arrivals"]
    left = left[left["bot"].isin(bots)]
    return [
        (int(left_ns), f"participant {bot} leaves", "var(--violet, #8250df)")
        for bot, left_ns in left[["bot", "left_ns"]].itertuples(index=False)
        if 0 <= (int(left_ns) - start) / 1e6 <= AFTER_MS
    ]


def _ticks(rows: pd.DataFrame, start: int) -> list[float]:
    at_ms = (np.sort(rows["recv_unix_ns"].to_numpy(dtype=np.int64)) - start) / 1e6
    return [_x(float(ms)) for ms in at_ms if -BEFORE_MS <= ms <= AFTER_MS]


def _x(at_ms: float) -> float:
    return round(_LEFT + (at_ms + BEFORE_MS) / (BEFORE_MS + AFTER_MS) * _WIDTH, 1)
