"""The main figures of a run in a few words each, for the terminal and the head of a report.

Which figures those are is declared in summary.py; here is how they are put.
"""

from __future__ import annotations

from simulator.figure_types import Share
from simulator.media_figures import Streams
from simulator.report.figures import number
from simulator.summary import (
    Decoded,
    Leaks,
    Loss,
    Percentiles,
    Server,
    Summary,
    Topic,
    Unit,
    figures_of,
)


def highlights(summary: Summary) -> list[tuple[str, str]]:
    """Return name and value of the headline figures, in the order of the report; what was not measured is left out."""
    found = [
        (figure.label, _in_short(figure.value_in(summary), figure.unit, summary))
        for topic in Topic
        for figure in figures_of(topic)
        if figure.headline
    ]
    return [(label, text) for label, text in found if text]


def _in_short(value: object, unit: Unit, summary: Summary) -> str:
    match value:
        case Percentiles(samples=samples) if samples:
            p50, p95, most = (_rounded(p) for p in (value.p50, value.p95, value.max))
            return f"p50 {p50}, p95 {p95}, max {most} {unit} ({samples:,} measured)"
        case Share(of=of) if of:
            return f"{number(value.ratio, 'ratio')} of {of:,}"
        case Streams(expected=int(expected), flowing=int(flowing)) if expected:
            return f"{flowing} of {expected} flowing"
        case Loss(ratio=float(ratio)):
            return f"{number(ratio, 'ratio')} ({number(value.before_repair, 'ratio')} before repair)"
        case Decoded():
            audible = f"sound in {value.audible} of {value.audio_streams}"
            return f"{value.frames:,} video frames, {value.freezes} freezes, {audible}"
        case Leaks():
            things = f"{value.rooms} rooms, {value.calls} calls, {value.people} participants"
            return f"{things}; {value.contradictions} contradictions"
        case Server(cpu_core_percent=float(percent)):
            return _server(value, percent, summary)
        case int() | float():
            return number(value, unit)
        case _:
            return ""


def _server(server: Server, percent: float, summary: Summary) -> str:
    parts = [f"{percent:.0f} % of a core"]
    # In calls that switch few packets go through the server, so its CPU time is not that of packets.
    if server.cpu_ns_per_packet is not None and summary.transition_ms is None:
        parts.append(f"{server.cpu_ns_per_packet:,.0f} ns a packet")
    if server.rss_bytes is not None:
        parts.append(number(server.rss_bytes, "bytes"))
    return ", ".join(parts)


def _rounded(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"
