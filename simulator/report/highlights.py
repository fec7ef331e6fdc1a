"""The main figures of a run in a few words each, for the terminal and the head of a report.

Chooses and words; the figures are computed in analysis/metrics.py and analysis/transitions.py.
"""

from __future__ import annotations

from simulator.summary import Percentiles, Summary


def highlights(summary: Summary) -> list[tuple[str, str]]:
    """Give name and value of the figures that say most about a run; what was not measured is left out."""
    rows: list[tuple[str, str]] = []
    if summary.streams.expected:
        rows.append(("streams", f"{summary.streams.flowing} of {summary.streams.expected} flowing"))
    t, gaps = summary.transition_ms, summary.gap_ms
    if t is not None:
        rows += _spread("change to the SFU", t.to_sfu)
        rows += _spread("change to peer to peer", t.to_p2p)
        if t.failed:
            rows.append(("changes that failed", f"{t.failed}"))
    if gaps is not None:
        rows += _spread("pause in pictures", gaps.video)
        rows += _spread("pause in sound", gaps.audio)
    rows += _spread("standstill after a death", summary.recovery_ms)
    for kind in ("audio", "video"):
        p = getattr(summary.latency_ms, kind)
        if p is not None and p.p95 is not None:
            rows.append((f"latency {kind}", f"p50 {p.p50:.1f}, p95 {p.p95:.1f}, max {p.max:.1f} ms"))
    loss = summary.loss
    if loss.ratio is not None and loss.before_repair is not None:
        rows.append(("loss", f"{loss.ratio * 100:.3f} % ({loss.before_repair * 100:.3f} % before repair)"))
    if summary.foreign_frames is not None:
        rows.append(("frames at the wrong person", f"{summary.foreign_frames}"))
    rows += _spread("join", summary.join_ms)
    if summary.decoded is not None:
        d = summary.decoded
        heard = f"sound in {d.audible} of {d.audio_streams}"
        rows.append(("decoded", f"{d.frames:,} pictures, {d.freezes} freezes, {heard}"))
    left = summary.leftovers
    if left is not None:
        things = f"{left.rooms} rooms, {left.calls} calls, {left.people} people"
        rows.append(("left behind", f"{things}; {left.contradictions} contradictions"))
    server = summary.server
    if server.cpu_core_percent is not None:
        # Where few packets go through the server, its cost is not that of packets.
        costs = server.cpu_ns_per_packet if t is None else None
        packet = "" if costs is None else f", {costs:,.0f} ns a packet"
        memory = "" if server.rss_bytes is None else f", {server.rss_bytes / 1e6:.0f} MB"
        rows.append(("media server", f"{server.cpu_core_percent:.0f} % of a core{packet}{memory}"))
    return rows


def _spread(name: str, p: Percentiles | None) -> list[tuple[str, str]]:
    if p is None or p.p50 is None or not p.samples:
        return []
    return [(name, f"p50 {p.p50:.0f}, p95 {p.p95:.0f}, max {p.max:.0f} ms ({p.samples} measured)")]
