"""Drawings for the HTML report: what a person was shown around a change of mode, frame by frame.

Plain SVG made of strings; every figure in it comes from the raw rows.
"""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd

from simulator.analysis.metrics import RawRun
from simulator.analysis.transitions import changes, gaps
from simulator.samples.schema import KINDS, SAMPLE_SHOWN, SAMPLE_SURPLUS

BEFORE_MS, AFTER_MS = 200.0, 500.0
_LEFT, _WIDTH, _STRIP, _HEAD = 190, 700, 44, 46
_WAYS = {"sfu": "To the media server", "p2p": "Back to peer to peer"}
_MARKS = (
    ("decided_ns", "decided", "#57606a"),
    ("media_ns", "all on the new path", "#1a7f37"),
    ("completed_ns", "old path ends", "#b42318"),
)


def changes_drawing(raw: RawRun) -> str:
    """Draw the worst change each way, as the person with the longest pause saw and heard it; empty without any."""
    table = gaps(raw)
    if table.empty:
        return ""
    parts: list[str] = []
    height = 0
    for way, words in _WAYS.items():
        here = table[table["new"] == way]
        if here.empty:
            continue
        worst = here.sort_values("gap_ms").iloc[-1]
        part, tall = _change(raw, worst, words, height)
        parts.append(part)
        height += tall
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" '
        f'width="{_LEFT + _WIDTH + 20}" height="{height}" font-family="system-ui,sans-serif" font-size="12">'
        f"{''.join(parts)}</svg>"
    )


def _change(raw: RawRun, worst: pd.Series[Any], words: str, top: int) -> tuple[str, int]:
    rows = changes(raw)
    row = rows[(rows["bot"] == worst["bot"]) & (rows["epoch"] == worst["epoch"])].iloc[0]
    start = int(row["decided_ns"] or row["told_ns"])
    title = (
        f"{words}: the change with the longest pause ({worst['gap_ms']:.0f} ms), "
        f"as person {worst['bot']} saw and heard person {worst['sender']}"
    )
    out = [_text(0, top + 16, title, weight="600")]
    strips = [(number, kind) for number, kind in enumerate(KINDS) if kind in raw.scenario.media.kinds]
    bottom = top + _HEAD + _STRIP * len(strips)
    marks = [(int(row[name]), label, colour) for name, label, colour in _MARKS if int(row[name]) > 0]
    marks += _departures(raw, (int(worst["bot"]), int(worst["sender"])), start)
    for at_ns, _, colour in marks:
        at_ms = (at_ns - start) / 1e6
        if -BEFORE_MS <= at_ms <= AFTER_MS:
            x = _x(at_ms)
            out.append(
                f'<line x1="{x:.1f}" y1="{top + 36}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" '
                'stroke-dasharray="3 3"/>'
            )
    legend = " · ".join(
        f'<tspan fill="{colour}">{label} {(at_ns - start) / 1e6:.0f} ms</tspan>'
        for at_ns, label, colour in marks
    )
    out.append(f'<text x="{_LEFT}" y="{top + 32}">{legend}</text>')
    for place, (number, kind) in enumerate(strips):
        y = top + _HEAD + _STRIP * place
        samples = raw.tables["latency"]
        mine = samples[
            (samples["receiver"] == worst["bot"])
            & (samples["sender"] == worst["sender"])
            & (samples["kind"] == number)
        ]
        what = {"audio": "sound", "video": "pictures"}[kind]
        for flag, label, offset, tall, colour in (
            (SAMPLE_SHOWN, f"{what}, shown", 0, 16, "#0969da"),
            (SAMPLE_SURPLUS, "came by both paths", 20, 10, "#8c959f"),
        ):
            out.append(_text(0, y + offset + tall - 3, label))
            out.append(_ticks(mine[mine["flags"] & flag != 0], start, y + offset, tall, colour))
    return "".join(out), _HEAD + _STRIP * len(strips) + 24


def _departures(raw: RawRun, people: tuple[int, int], start: int) -> list[tuple[int, str, str]]:
    """Give a mark for whoever of the two left within what is drawn: what ends there is no pause."""
    left = raw.tables["arrivals"]
    left = left[left["bot"].isin(people)]
    return [
        (int(left_ns), f"person {bot} leaves", "#8250df")
        for bot, left_ns in left[["bot", "left_ns"]].itertuples(index=False)
        if 0 <= (int(left_ns) - start) / 1e6 <= AFTER_MS
    ]


def _ticks(rows: pd.DataFrame, start: int, y: float, height: int, colour: str) -> str:
    at_ms = (np.sort(rows["recv_unix_ns"].to_numpy(dtype=np.int64)) - start) / 1e6
    inside = at_ms[(at_ms >= -BEFORE_MS) & (at_ms <= AFTER_MS)]
    lines = "".join(f"M{_x(float(ms)):.1f} {y}v{height}" for ms in inside)
    return f'<path d="{lines}" stroke="{colour}" stroke-width="1.5"/>' if lines else ""


def _x(at_ms: float) -> float:
    return _LEFT + (at_ms + BEFORE_MS) / (BEFORE_MS + AFTER_MS) * _WIDTH


def _text(x: float, y: float, text: str, *, weight: str = "400") -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}">{html.escape(text)}</text>'
