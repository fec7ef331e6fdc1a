"""Reports: from the raw data of a run to its verdict, as summary.json, report.md and report.html.

Puts figures, self-check and SLOs together and writes them for people; the figures are computed in figures.py.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from simulator import figures, transitions
from simulator.figures import RawRun
from simulator.health import complaints
from simulator.slo import objectives
from simulator.summary import Percentiles, SloResult, Summary, Verdict

EXIT_CODES: dict[Verdict, int] = {"pass": 0, "error": 1, "fail": 3, "void": 4}
"""What `meeshy simulate` and `meeshy report` end with."""
_WORST = 10
_TROUBLES = frozenset(
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
_TITLES: dict[Verdict, str] = {
    "pass": "PASS: every objective holds",
    "fail": "FAIL: below an objective",
    "void": "VOID: the load generator was not able to judge",
    "error": "ERROR: the run broke off",
}


@dataclass(slots=True)
class Section:
    """One part of a report: sentences, then a table."""

    title: str
    lines: list[str] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def summarize(raw: RawRun) -> Summary:
    """Compute every figure of a run and judge it."""
    deltas = raw.stream_deltas()
    scenario, context = raw.scenario, raw.context
    generator = figures.generator(raw)
    void = complaints(generator, scenario.limits)
    generator.valid = not void
    summary = Summary(
        scenario=scenario.name,
        seed=scenario.seed,
        verdict="pass",
        reasons=[],
        started_at=datetime.fromtimestamp(context.started_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        duration_s=raw.duration_s,
        participants=len(raw.tables["participants"]),
        bots={str(k): int(v) for k, v in raw.tables["participants"]["bot_kind"].value_counts().items()},
        streams=figures.streams(deltas),
        latency_ms=figures.latency(raw),
        loss=figures.loss(deltas, scenario.media.kinds),
        duplicates=int(deltas["duplicates"].sum()),
        out_of_order=int(deltas["out_of_order"].sum()),
        foreign_frames=figures.foreign_frames(raw, deltas),
        join_ms=figures.joins(raw) if scenario.pattern == "group" else transitions.arrivals(raw),
        transition_ms=transitions.transitions(raw),
        gap_ms=transitions.gap_figures(raw),
        recovery_ms=transitions.recoveries(raw),
        decoded=figures.decoded(raw, deltas),
        dropped_calls=context.dropped_calls,
        server=figures.server(raw),
        generator=generator,
        slo=[],
        machine=context.machine,
    )
    values = summary.model_dump(mode="json", by_alias=True)
    outcomes = [slo.judge(values) for slo in objectives(scenario.slo)]
    summary.slo = [
        SloResult(expression=o.expression, value=o.value, limit=o.limit, passed=o.passed) for o in outcomes
    ]
    broken = [outcome.sentence() for outcome in outcomes if outcome.passed is False]
    if context.aborted or raw.duration_s is None:
        summary.verdict = "error"
        summary.reasons = list(context.aborted) or ["the run ended before anything was measured"]
    elif void:
        summary.verdict, summary.reasons = "void", void + broken
    elif broken:
        summary.verdict, summary.reasons = "fail", broken
    return summary


def write_report(directory: Path) -> Summary:
    """Compute a run's figures from its raw data and write summary.json, pairs.csv, report.md and report.html.

    Raises:
        RunDirectoryError: The directory holds no run.
    """
    raw = RawRun.read(directory)
    summary = summarize(raw)
    pairs = figures.pairs(raw)
    parts = sections(summary, raw, pairs)
    pairs.to_csv(directory / "pairs.csv", index=False, float_format="%.3f")
    (directory / "report.md").write_text(to_markdown(summary, parts), encoding="utf-8")
    (directory / "report.html").write_text(to_html(summary, parts), encoding="utf-8")
    (directory / "summary.json").write_text(summary.to_json(), encoding="utf-8")
    return summary


def title(summary: Summary) -> str:
    """Say the verdict in one line."""
    return _TITLES[summary.verdict]


def sections(summary: Summary, raw: RawRun, pairs: pd.DataFrame) -> list[Section]:
    """Lay out a report."""
    return [
        _verdict(summary, raw),
        _objectives(summary),
        _latency(summary),
        _changes(summary),
        _streams(summary, pairs),
        _decoded(summary),
        _server(summary),
        _generator(summary),
        _troubles(raw),
        _worst(pairs),
        _machine(summary),
    ]


def to_markdown(summary: Summary, parts: list[Section]) -> str:
    """Write a report as Markdown."""
    out = [f"# {title(summary)}", ""]
    for part in parts:
        if not (part.lines or part.rows):
            continue
        out += [f"## {part.title}", ""]
        out += [line if line.startswith("- ") else f"{line}  " for line in part.lines]
        if part.rows:
            widths = [max(len(row[i]) for row in [part.head, *part.rows]) for i in range(len(part.head))]
            table = [part.head, ["-" * width for width in widths], *part.rows]
            out += [""] if part.lines else []
            out += [
                "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
                for row in table
            ]
        out.append("")
    return "\n".join(out)


def to_html(summary: Summary, parts: list[Section]) -> str:
    """Write a report as one self-contained page."""
    body = [f'<h1 class="{summary.verdict}">{html.escape(title(summary))}</h1>']
    for part in parts:
        if not (part.lines or part.rows):
            continue
        body.append(f"<h2>{html.escape(part.title)}</h2>")
        body += [f"<p>{html.escape(line.removeprefix('- '))}</p>" for line in part.lines]
        if part.rows:
            cells = "".join(f"<th>{html.escape(c)}</th>" for c in part.head)
            body.append(f"<table><tr>{cells}</tr>")
            body += [
                "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in part.rows
            ]
            body.append("</table>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(summary.scenario)}: {summary.verdict}</title><style>{_STYLE}</style>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _verdict(summary: Summary, raw: RawRun) -> Section:
    bots = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.bots.items()))
    network = raw.scenario.network
    lines = [
        f"Scenario **{summary.scenario}**, seed {summary.seed}, started {summary.started_at}.",
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
    rows = [[r.expression, _number(r.value), _number(r.limit), words[r.passed]] for r in summary.slo]
    return Section("Objectives", head=["objective", "measured", "limit", "outcome"], rows=rows)


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


def _changes(summary: Summary) -> Section:
    t = summary.transition_ms
    figures: list[tuple[str, Percentiles | None]] = []
    if t is not None:
        figures += [("to SFU", t.to_sfu), ("to P2P", t.to_p2p), ("until told", t.told)]
        figures += [("until all media came by the new path", t.media), ("until confirmed", t.confirmed)]
    if summary.gap_ms is not None:
        figures += [(f"gap, {kind}", getattr(summary.gap_ms, kind)) for kind in ("audio", "video")]
    figures.append(("standstill after a death", summary.recovery_ms))
    rows = [_percentile_row(name, p) for name, p in figures if p is not None and p.samples]
    lines = []
    if t is not None:
        lines.append(
            f"{_number(t.failed)} changes failed; {_number(t.surplus_frames)} frames came by two paths at once, and "
            "were shown once. Times count from the gateway's decision; a gap is the longest pause in what was shown "
            "around a change, minus the usual time between frames."
        )
    return Section("Changes of mode, ms", lines, ["figure", "p50", "p95", "p99", "max", "samples"], rows)


def _streams(summary: Summary, pairs: pd.DataFrame) -> Section:
    lines = [
        f"{summary.streams.flowing} of {summary.streams.expected} streams flowing, "
        f"{_number(summary.foreign_frames)} foreign frames, {_number(summary.duplicates)} duplicates, "
        f"{_number(summary.out_of_order)} out of order, {_number(summary.dropped_calls)} dropped calls."
    ]
    silent = pairs[~pairs["flowing"]]
    lines += [
        f"- not flowing: {row.kind} from bot {row.sender} to bot {row.receiver}, {row.packets} packets"
        for row in silent.head(_WORST).itertuples()
    ]
    if len(silent) > _WORST:
        lines.append(f"- and {len(silent) - _WORST} more; see pairs.csv")
    loss = summary.loss
    rows = [["all", _ratio(loss.ratio), _ratio(loss.before_repair)]]
    for kind in ("audio", "video"):
        part = getattr(loss, kind)
        if part is not None:
            rows.append([kind, _ratio(part.ratio), _ratio(part.before_repair)])
    return Section("Streams and loss", lines, ["media", "lost", "lost before repair"], rows)


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
    seen = [
        event
        for event in raw.events
        if event.get("event") in _TROUBLES and (end is None or event.get("unix_ns", 0) <= end)
    ]
    lines = []
    for event in seen[:_WORST]:
        at_s = (event.get("unix_ns", 0) - raw.context.started_ns) / 1e9
        details = ", ".join(f"{k} {v}" for k, v in event.items() if k not in ("event", "unix_ns"))
        lines.append(f"- {at_s:.1f} s: {event['event']}" + (f": {details}" if details else ""))
    if len(seen) > _WORST:
        lines.append(f"- and {len(seen) - _WORST} more; see events.jsonl")
    return Section("What went wrong on the way", lines)


def _worst(pairs: pd.DataFrame) -> Section:
    worst = pairs[pairs["samples"] > 0].sort_values("p95_ms", ascending=False).head(_WORST)
    rows = [
        [
            f"{row['sender']} → {row['receiver']}",
            str(row["kind"]),
            _number(row["p50_ms"]),
            _number(row["p95_ms"]),
            _number(row["max_ms"]),
            _ratio(row["loss"]),
        ]
        for row in worst.to_dict("records")
    ]
    head = ["bots", "kind", "p50 ms", "p95 ms", "max ms", "lost"]
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


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}
td,th{padding:.25rem .75rem;border-bottom:1px solid #ddd;text-align:left;font-variant-numeric:tabular-nums}
h1{padding:.6rem 1rem;border-radius:.4rem;color:#fff}
.pass{background:#1a7f37}.fail{background:#b42318}.void{background:#9a6700}.error{background:#57606a}
"""
