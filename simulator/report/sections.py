"""What a report says, section by section, in words that need no other page.

Words only; figures come from the summary and the raw data, and report/render.py lays them out.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from simulator.analysis.leaks import jobs
from simulator.analysis.metrics import RawRun
from simulator.report.charts import changes_drawing
from simulator.report.render import Section
from simulator.slo import meaning
from simulator.summary import Percentiles, Summary

_WORST = 10
_GROUP_TROUBLES = frozenset(
    {
        "closed",
        "disconnected",
        "error",
        "freeze",
        "leave-failed",
        "producer-closed",
        "ramp-timeout",
        "room-closed",
    }
)
_CALL_TROUBLES = frozenset(
    {
        "aborted",
        "broken",
        "consume-failed",
        "error",
        "event-failed",
        "gateway-error",
        "leave-failed",
        "prewarm-failed",
        "switch-failed",
        "tell-failed",
        "trouble",
    }
)
"""In calls that switch, legs close whenever the other path is in use: that is no trouble."""
_ASKED_AGAIN = "TARGET_NOT_FOUND"
"""Whose socket is on its way in, or back, is asked again at once."""
_DEATHS = {
    "client": "a person vanished without a word",
    "worker": "a worker thread of the media server was made to crash",
    "media": "the media server was killed, and started again",
    "gateway": "the gateway was killed, and started again",
}


def sections(summary: Summary, raw: RawRun, pairs: pd.DataFrame) -> list[Section]:
    """Lay out a report."""
    return [
        _verdict(summary, raw),
        _changes(summary, raw),
        _deaths(summary, raw),
        _objectives(summary),
        _latency(summary),
        _streams(summary, pairs),
        _decoded(summary),
        _leaks(summary, raw),
        _server(summary),
        _generator(summary),
        _troubles(raw),
        _worst(pairs),
        _machine(summary),
    ]


def what_happens(raw: RawRun) -> str:
    """Say in a sentence what a run is about."""
    scenario = raw.scenario
    match scenario.pattern:
        case "switch":
            times = scenario.switching.transitions
            how = "prepared in advance" if scenario.switching.prewarm else "built when it is needed"
            return (
                f"Two people talk directly, peer to peer. A third joins, so the call moves to the media server, "
                f"and leaves, so it moves back: {times} times each way. The way through the server is {how}."
            )
        case "churn":
            churn = scenario.churn
            deaths = f"; {churn.chaos:.0%} of what happens is a death" if churn.chaos else ""
            return (
                f"People come and go at random in {churn.calls} calls of 2 to {churn.people}, "
                f"each call every {churn.pause_s:g} s on average{deaths}."
            )
        case "storm":
            return (
                f"{scenario.participants.count} people join one call within {scenario.ramp.over_s:g} s, "
                "while it moves from peer to peer to the media server."
            )
        case _:
            return (
                f"{scenario.participants.count} people in one call on the media server, "
                "each of whom sends to the others."
            )


def _verdict(summary: Summary, raw: RawRun) -> Section:
    bots = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.bots.items()))
    network = raw.scenario.network
    lines = [
        what_happens(raw),
        f"Scenario {summary.scenario}, seed {summary.seed}, started {summary.started_at}: "
        f"{summary.participants} participants ({bots}), measured for {_number(summary.duration_s, ' s')}.",
    ]
    for name, link in (("to the server", network.up), ("from the server", network.down)):
        if not link.is_clean:
            lines.append(
                f"Emulated network {name}: {link.delay_ms:g} ms delay, {link.jitter_ms:g} ms jitter, "
                f"{link.loss:.3g} loss, {link.rate_bps or 'unlimited'} bit/s."
            )
    return Section("What was run", lines + [f"- {reason}" for reason in summary.reasons])


def _objectives(summary: Summary) -> Section:
    words = {True: "holds", False: "BROKEN", None: "not measured"}
    judged = [r for r in summary.slo if r.passed is not None]
    rows = [
        [meaning(r.expression), r.expression, _number(r.value), _number(r.limit), words[r.passed]]
        for r in judged
    ]
    left_out = len(summary.slo) - len(judged)
    lines = [f"{left_out} more are about figures that this kind of run does not have."] if left_out else []
    return Section("Objectives", lines, ["what", "objective", "measured", "limit", "outcome"], rows)


def _latency(summary: Summary) -> Section:
    rows = [
        _percentile_row(f"latency, {kind}", getattr(summary.latency_ms, kind))
        for kind in ("audio", "video")
        if getattr(summary.latency_ms, kind) is not None
    ]
    if summary.join_ms is not None:
        rows.append(_percentile_row("join", summary.join_ms))
    if summary.decoded is not None and summary.decoded.playout_ms is not None:
        for kind in ("audio", "video"):
            playout = getattr(summary.decoded.playout_ms, kind)
            if playout is not None:
                rows.append(_percentile_row(f"stamp to decoded {kind}", playout))
    lines = [
        "Latency is one way, from leaving the sending bot to reaching the receiving one; a join lasts until "
        "all streams to and from those already there flow."
    ]
    return Section("Latency and joins, ms", lines, ["figure", "p50", "p95", "p99", "max", "samples"], rows)


def _changes(summary: Summary, raw: RawRun) -> Section:
    t = summary.transition_ms
    figures: list[tuple[str, Percentiles | None]] = []
    if summary.gap_ms is not None:
        names = {"audio": "pause in sound around a change", "video": "pause in pictures around a change"}
        figures += [(names[kind], getattr(summary.gap_ms, kind)) for kind in ("audio", "video")]
    if t is not None:
        figures += [
            ("to the media server: until all are there", t.to_sfu),
            ("to peer to peer: until both are there", t.to_p2p),
            ("until a person is told", t.told),
            ("until all media comes by the new path", t.media),
            ("until a person confirms", t.confirmed),
        ]
    rows = [_percentile_row(name, p) for name, p in figures if p is not None and p.samples]
    lines = []
    if t is not None:
        lines.append(
            "Times count from the gateway's decision, for each person. A pause is the longest time between two frames "
            "shown around a change, minus the usual time between frames: what somebody would have noticed."
        )
        lines.append(
            f"{_number(t.failed)} changes failed, {_number(t.interrupted)} were rolled back because something was killed "
            "meanwhile (both counted per person). The new path runs before the old one ends: "
            f"{_number(t.surplus_frames)} frames came by both, and were shown once."
        )
    drawing = changes_drawing(raw)
    head = ["figure", "p50", "p95", "p99", "max", "samples"]
    return Section("Changes between peer to peer and media server, ms", lines, head, rows, drawing)


def _deaths(summary: Summary, raw: RawRun) -> Section:
    table = raw.tables["deaths"]
    if table.empty:
        return Section("What was killed")
    times: dict[str, list[float]] = {}
    for unix_ns, what in table[["unix_ns", "what"]].itertuples(index=False):
        times.setdefault(str(what), []).append((int(unix_ns) - raw.context.started_ns) / 1e9)
    rows = [
        [_DEATHS.get(what, what), str(len(at)), ", ".join(f"{s:.0f} s" for s in at[:_WORST])]
        for what, at in times.items()
    ]
    lines = []
    p = summary.recovery_ms
    if p is not None and p.samples:
        lines.append(
            f"{p.samples} streams stood still afterwards, for {_number(p.p50)} ms (median), {_number(p.p95)} ms "
            f"(p95) and {_number(p.max)} ms (longest)."
        )
    elif p is not None:
        lines.append("No stream of people who stayed stood still afterwards.")
    return Section("What was killed", lines, ["what", "times", "when"], rows)


def _streams(summary: Summary, pairs: pd.DataFrame) -> Section:
    counts: list[tuple[float | None, str]] = [
        (summary.foreign_frames, "frames that reached the wrong person"),
        (summary.duplicates, "duplicates"),
        (summary.out_of_order, "out of order"),
        (summary.dropped_calls, "dropped calls"),
    ]
    lines = [
        f"{summary.streams.flowing} of {summary.streams.expected} streams flowing, "
        + ", ".join(f"{_number(number)} {what}" for number, what in counts if number is not None)
        + "."
    ]
    silent = pairs[~pairs["flowing"].astype(bool)]
    lines += [
        f"- not flowing: {row['kind']} from bot {row['sender']} to bot {row['receiver']}, {_received(row)}"
        for row in silent.head(_WORST).to_dict("records")
    ]
    if len(silent) > _WORST:
        lines.append(f"- and {len(silent) - _WORST} more; see pairs.csv")
    loss = summary.loss
    rows = []
    if loss.ratio is not None:
        rows.append(["all", _ratio(loss.ratio), _ratio(loss.before_repair)])
        for kind in ("audio", "video"):
            part = getattr(loss, kind)
            if part is not None:
                rows.append([kind, _ratio(part.ratio), _ratio(part.before_repair)])
    title = "Streams and loss" if rows else "Streams"
    return Section(title, lines, ["media", "lost", "lost before repair"], rows)


def _received(row: dict[Any, Any]) -> str:
    if pd.isna(row["packets"]):
        return f"{row['samples']} frames"
    return f"{row['packets']} packets"


def _decoded(summary: Summary) -> Section:
    d = summary.decoded
    if d is None:
        return Section("Decoded")
    return Section(
        "Decoded",
        [
            f"{d.streams} streams decoded by aiortc: {d.frames} pictures, {d.freezes} freezes over 500 ms, "
            f"sound in {d.audible} of {d.audio_streams} audio streams."
        ],
    )


def _leaks(summary: Summary, raw: RawRun) -> Section:
    left, found = summary.leftovers, raw.end_state
    if left is None or found is None:
        return Section("What was left behind")
    lines = [
        f"When everybody had left there were {left.rooms} rooms on the media server; in the database {left.calls} of "
        f"{len(found.calls)} calls were not over and {left.people} of {len(found.participants)} people not gone. "
        f"{len(found.changes)} changes of mode stand there, and {left.contradictions} rows contradict what people "
        "lived through.",
        *(f"- {finding}" for finding in left.findings),
    ]
    names = {"media": "media server", "gateway": "gateway"}
    rows = [
        [
            names.get(service.name, service.name),
            f"{service.before.sockets} → {service.after.sockets}",
            f"{service.before.files} → {service.after.files}",
            f"{jobs(service.before)} → {jobs(service.after)}",
            f"{service.before.rss_bytes / 1e6:.0f} → {service.after.rss_bytes / 1e6:.0f}",
        ]
        for service in found.services
    ]
    head = ["service, before → after", "sockets", "other files", "jobs", "memory, MB"]
    return Section("What was left behind", lines, head, rows)


def _server(summary: Summary) -> Section:
    s = summary.server
    rows = [
        ["CPU of the process, % of a core", _number(s.cpu_core_percent)],
        ["busiest thread, % of a core", _number(s.busiest_thread_percent)],
        ["CPU per packet out, ns", _number(s.cpu_ns_per_packet)],
        ["packets out", _number(s.packets_out)],
        ["packets in", _number(s.packets_in)],
        ["resident memory, MB", _number(None if s.rss_bytes is None else s.rss_bytes / 1e6)],
    ]
    return Section("Media server", head=["figure", "value"], rows=rows)


def _generator(summary: Summary) -> Section:
    g = summary.generator
    lag = g.lag_ms or Percentiles()
    rows = [
        ["CPU of all bots, % of a core", _number(g.cpu_core_percent)],
        ["busiest thread or process, % of a core", _number(g.busiest_core_percent)],
        ["worst lag of each second, p95 ms", _number(lag.p95)],
        ["worst lag, ms", _number(lag.max)],
        ["datagrams dropped in own sockets", _number(g.socket_drops)],
        ["sent late", _ratio(g.late_send_ratio)],
    ]
    verdict = "kept up" if g.valid else "did NOT keep up, so the run is void"
    return Section("Load generator", [f"The generator {verdict}."], ["figure", "value"], rows)


def _troubles(raw: RawRun) -> Section:
    """List what went wrong on the way, whether or not it changed a figure."""
    end = raw.context.window_end_ns
    troubles = _GROUP_TROUBLES if raw.scenario.pattern == "group" else _CALL_TROUBLES
    seen = [
        event
        for event in raw.events
        if event.get("event") in troubles
        and (end is None or event.get("unix_ns", 0) <= end)
        and event.get("code") != _ASKED_AGAIN
    ]
    lines = []
    for event in seen[:_WORST]:
        at_s = (event.get("unix_ns", 0) - raw.context.started_ns) / 1e9
        details = ", ".join(f"{k} {v}" for k, v in event.items() if k not in ("event", "unix_ns"))
        lines.append(f"- {at_s:.1f} s: {event['event']}" + (f": {details}" if details else ""))
    if len(seen) > _WORST:
        kinds = Counter(str(event["event"]) for event in seen)
        total = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        lines.append(f"- and {len(seen) - _WORST} more; in all {total}; see events.jsonl")
    if lines and len(raw.tables["deaths"]):
        lines.insert(0, "While things are dead, requests fail; what counts is whether calls live on.")
    return Section("What went wrong on the way", lines)


def _worst(pairs: pd.DataFrame) -> Section:
    worst = pairs[pairs["samples"] > 0].sort_values("p95_ms", ascending=False).head(_WORST)
    counted = bool(worst["loss"].notna().any())
    rows = [
        [
            f"{row['sender']} → {row['receiver']}",
            str(row["kind"]),
            _number(row["p50_ms"]),
            _number(row["p95_ms"]),
            _number(row["max_ms"]),
        ]
        + ([_ratio(row["loss"])] if counted else [])
        for row in worst.to_dict("records")
    ]
    head = ["from → to", "kind", "p50 ms", "p95 ms", "max ms"] + (["lost"] if counted else [])
    return Section("Slowest streams", ["All are in pairs.csv."] if rows else [], head, rows)


def _machine(summary: Summary) -> Section:
    m = summary.machine
    if m is None:
        return Section("Machine")
    return Section(
        "Machine",
        [
            f"{m.cores} cores, {m.cpu}, Linux {m.kernel}, Python {m.python}, "
            f"meeshy-sfu {m.version} ({m.build_profile or 'no native module'} build)."
        ],
    )


def _percentile_row(name: str, p: Percentiles) -> list[str]:
    return [name, _number(p.p50), _number(p.p95), _number(p.p99), _number(p.max), f"{p.samples:,}"]


def _number(value: float | None, unit: str = "") -> str:
    if value is None or pd.isna(value):
        return "–"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return text + unit


def _ratio(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value * 100:.3f} %"
