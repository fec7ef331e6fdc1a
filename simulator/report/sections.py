"""What a report says, section by section, in words that need no other page.

The tables of figures follow from what summary.py declares (report/figures.py); here is what stands beside them. Layout is
report/render.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from simulator.analysis.leaks import task_count
from simulator.analysis.raw_run import RawRun
from simulator.report.charts import changes_chart
from simulator.report.criteria import criteria, criteria_table
from simulator.report.drawing import PlotData
from simulator.report.events import errors_of
from simulator.report.figures import number, tables
from simulator.report.render import Chart, Section, Table
from simulator.summary import Summary, Topic, Unit

_WORST = 10
"""How many of a kind are listed before the rest is only counted."""
_MOST = 50
"""How many receivers are listed."""
_RECEIVED: tuple[tuple[str, str, Unit], ...] = (
    ("audio_p50_ms", "audio p50 ms", ""),
    ("audio_p95_ms", "audio p95 ms", ""),
    ("video_p50_ms", "video p50 ms", ""),
    ("video_p95_ms", "video p95 ms", ""),
    ("max_ms", "max ms", ""),
    ("loss", "lost", "ratio"),
)
"""Columns of the table of receivers: name, heading, unit."""
_FAULTS = {
    "client": "a participant was cut off without leaving",
    "worker": "a worker thread of the media server was made to panic",
    "media": "the media server was killed and restarted",
    "gateway": "the gateway was killed and restarted",
}


def sections(
    data: PlotData,
    received: pd.DataFrame,
    charts: Mapping[Topic | None, list[Chart]],
) -> list[Section]:
    """Lay out a report: the objectives, what was run, each topic's figures with words and plots beside them, and details."""
    summary, raw, pairs = data.summary, data.raw, data.pairs
    beside = {
        Topic.STREAMS: _streams(summary, pairs),
        Topic.SWITCHING: _switching(summary, raw),
        Topic.FAULTS: _faults(raw),
        Topic.LEAKS: _leaks(summary, raw),
        Topic.GENERATOR: _generator(summary),
        Topic.HOST: _host(summary),
    }
    topics: list[Section] = []
    for topic in Topic:
        section = beside.get(topic) or Section(topic.value)
        section.tables[:0] = tables(summary, topic)
        section.charts[:0] = charts.get(topic, [])
        topics.append(section)
    run = _run(summary, raw)
    run.charts = charts.get(None, [])
    details = [
        _receivers(received if summary.duration_s is not None else received.iloc[:0]),
        _slowest(pairs),
        _errors(raw),
        _machine(summary),
    ]
    return [_objectives(summary), run, *topics, *details]


def _run(summary: Summary, raw: RawRun) -> Section:
    bots = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.bots.items()))
    network = raw.scenario.network
    lines = [
        raw.context.description or raw.scenario.description,
        f"Scenario {summary.scenario}, seed {summary.seed}, started {summary.started_at}: "
        f"{summary.participants} participants ({bots}), {_measured(summary)}.",
    ]
    for name, link in (("to the server", network.up), ("from the server", network.down)):
        if not link.is_clean:
            lines.append(
                f"Emulated network {name}: {link.delay_ms:g} ms delay, {link.jitter_ms:g} ms jitter, "
                f"{link.loss:.3g} loss, {link.rate_bps or 'unlimited'} bit/s."
            )
    return Section("What was run", lines)


def _measured(summary: Summary) -> str:
    return (
        "nothing measured" if summary.duration_s is None else f"measured for {number(summary.duration_s)} s"
    )


def _objectives(summary: Summary) -> Section:
    judged = [one for one in criteria(summary) if one.passed is not None]
    left_out = len(summary.slo) - len(judged)
    lines = [f"- {reason}" for reason in summary.reasons]
    if left_out:
        lacking = "were not measured" if summary.duration_s is None else "this kind of run does not have"
        lines.append(f"{left_out} more are about figures that {lacking}.")
    return Section("Objectives", lines, [criteria_table(judged)])


def _switching(summary: Summary, raw: RawRun) -> Section:
    lines = []
    if summary.transition_ms is not None:
        lines.append(
            "Times are counted from the gateway's decision, for each participant. A gap is the longest time between two "
            "frames shown around a change, minus the usual time between frames. The new path runs before the old one "
            "ends; frames that came by both were shown once."
        )
    return Section(Topic.SWITCHING.value, lines, charts=changes_chart(raw))


def _faults(raw: RawRun) -> Section:
    section = Section(Topic.FAULTS.value)
    times: dict[str, list[float]] = {}
    for unix_ns, what in raw.tables["deaths"][["unix_ns", "what"]].itertuples(index=False):
        times.setdefault(str(what), []).append((int(unix_ns) - raw.context.started_ns) / 1e9)
    rows = [
        [_FAULTS.get(what, what), str(len(at)), ", ".join(f"{s:.0f} s" for s in at[:_WORST])]
        for what, at in times.items()
    ]
    section.tables.append(Table(["fault", "times", "when"], rows))
    return section


def _streams(summary: Summary, pairs: pd.DataFrame) -> Section:
    if summary.duration_s is None:
        return Section(Topic.STREAMS.value, ["The run ended before its measured time."])
    lines = [f"{summary.streams.flowing} of {summary.streams.expected} streams flowing."]
    silent = pairs[~pairs["flowing"].astype(bool)]
    lines += [
        f"- not flowing: {row['kind']} from bot {row['sender']} to bot {row['receiver']}, {_received(row)}"
        for row in silent.head(_WORST).to_dict("records")
    ]
    if len(silent) > _WORST:
        lines.append(f"- and {len(silent) - _WORST} more; see pairs.csv")
    return Section(Topic.STREAMS.value, lines)


def _received(row: dict[Any, Any]) -> str:
    if pd.isna(row["packets"]):
        return f"{row['samples']} frames"
    return f"{row['packets']} packets"


def _leaks(summary: Summary, raw: RawRun) -> Section:
    section = Section(Topic.LEAKS.value)
    found = raw.end_state
    if summary.leftovers is None or found is None:
        return section
    section.lines = [
        f"The database has {len(found.calls)} calls, {len(found.participants)} participants and {len(found.changes)} mode "
        "changes of this run. Sockets, files and tasks are compared with those of the start.",
        *(f"- {finding}" for finding in summary.leftovers.findings),
    ]
    names = {"media": "media server", "gateway": "gateway"}
    rows = [
        [
            names.get(service.name, service.name),
            f"{service.before.sockets} → {service.after.sockets}",
            f"{service.before.files} → {service.after.files}",
            f"{task_count(service.before)} → {task_count(service.after)}",
            f"{service.before.rss_bytes / 1e6:.0f} → {service.after.rss_bytes / 1e6:.0f}",
        ]
        for service in found.services
    ]
    head = ["service, before → after", "sockets", "other files", "tasks", "memory, MB"]
    section.tables.append(Table(head, rows))
    return section


def _generator(summary: Summary) -> Section:
    consequence = ", so the run is void" if summary.verdict == "void" else ""
    verdict = "kept up" if summary.generator.valid else f"did NOT keep up{consequence}"
    return Section(Topic.GENERATOR.value, [f"The generator {verdict}."])


def _host(summary: Summary) -> Section:
    if summary.host is None:
        return Section(Topic.HOST.value, ["The machine was not watched."])
    verdict = "was" if summary.host.valid else "was NOT"
    suffix = ", so the run is void" if not summary.host.valid and summary.verdict == "void" else ""
    return Section(
        Topic.HOST.value,
        [
            f"The machine {verdict} the run's own as far as it matters{suffix}. Waits are those that others caused."
        ],
    )


def _errors(raw: RawRun) -> Section:
    """List the errors that bots met during the run, whether or not they changed a figure."""
    seen = errors_of(raw)
    lines = []
    for event in seen[:_WORST]:
        at_s = (event.get("unix_ns", 0) - raw.context.started_ns) / 1e9
        details = ", ".join(f"{k} {v}" for k, v in event.items() if k not in ("event", "unix_ns"))
        lines.append(f"- {at_s:.1f} s: {event['event']}" + (f": {details}" if details else ""))
    if len(seen) > _WORST:
        kinds = Counter(str(event["event"]) for event in seen)
        total = ", ".join(f"{times} {kind}" for kind, times in kinds.most_common())
        lines.append(f"- and {len(seen) - _WORST} more; in all {total}; see events.jsonl")
    if lines and len(raw.tables["deaths"]):
        lines.insert(
            0, "Requests fail while a killed service restarts; what is judged is whether calls go on."
        )
    return Section("Errors during the run", lines)


def _receivers(received: pd.DataFrame) -> Section:
    """List the participants who received worst."""
    rows = received.assign(silent=received["streams"] - received["flowing"])
    worst = rows.sort_values(["silent", "loss", "max_ms"], ascending=False, na_position="last").head(_MOST)
    known = [(name, head, unit) for name, head, unit in _RECEIVED if worst[name].notna().any()]
    table = Table(["receiver", "flowing", *(head for _, head, _ in known)])
    for row in worst.to_dict("records"):
        cells = [number(row[name], unit) for name, _, unit in known]
        table.rows.append([str(row["receiver"]), f"{row['flowing']} of {row['streams']}", *cells])
    lines = [f"The {_MOST} worst of {len(rows)}; by_receiver.csv has all."] if len(rows) > _MOST else []
    return Section("Receivers", lines, [table])


def _slowest(pairs: pd.DataFrame) -> Section:
    slowest = pairs[pairs["samples"] > 0].sort_values("p95_ms", ascending=False).head(_WORST)
    counted = bool(slowest["loss"].notna().any())
    rows = [
        [
            f"{row['sender']} → {row['receiver']}",
            str(row["kind"]),
            number(row["p50_ms"]),
            number(row["p95_ms"]),
            number(row["max_ms"]),
        ]
        + ([number(row["loss"], "ratio")] if counted else [])
        for row in slowest.to_dict("records")
    ]
    head = ["from → to", "kind", "p50 ms", "p95 ms", "max ms"] + (["lost"] if counted else [])
    return Section("Slowest streams", ["pairs.csv has all streams."] if rows else [], [Table(head, rows)])


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
