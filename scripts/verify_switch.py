"""The full figures of calls that switch, one run after the other, each against what it must show.

Run by `make verify-switch` on an otherwise quiet machine; takes about half an hour, prints a table, writes
bench-results/verify-switch.json and exits 1 when a figure is missed. Uses the product's own commands, as its users do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from verified import MEESHY, RESULTS, ROOT, Row, at, conclude

STORM = ROOT / "simulator" / "scenarios" / "storm.toml"
VIDEO_STORM = RESULTS / "storm-video.toml"

GAPS = (
    ("gap_ms.audio.p95", "<", 100),
    ("gap_ms.audio.max", "<", 300),
    ("gap_ms.video.p95", "<", 100),
    ("gap_ms.video.max", "<", 300),
)
NOTHING_LOST = (("dropped_calls", "==", 0), ("foreign_frames", "==", 0), ("transition_ms.failed", "==", 0))
NOTHING_LEFT = tuple(
    (f"leftovers.{what}", "<=", limit)
    for what, limit in {
        "rooms": 0,
        "calls": 0,
        "people": 0,
        "contradictions": 0,
        "sockets": 10,
        "files": 30,
        "tasks": 10,
    }.items()
)
FAST = (("transition_ms.to_sfu.p95", "<", 500), ("transition_ms.to_p2p.p95", "<", 500))
ENOUGH = (("transition_ms.to_sfu.p95", "<", 2000), ("transition_ms.to_p2p.p95", "<", 2000))

RUNS: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str, float], ...]], ...] = (
    (
        "switch, 200 each way",
        ("switch", "--transitions", "200"),
        (*FAST, *GAPS, *NOTHING_LOST, *NOTHING_LEFT, ("transition_ms.to_sfu.samples", "==", 400)),
    ),
    (
        "switch without pre-warming",
        ("switch", "--transitions", "200", "--no-prewarm"),
        (*ENOUGH, *GAPS, *NOTHING_LOST, *NOTHING_LEFT, ("transition_ms.to_sfu.samples", "==", 400)),
    ),
    (
        "switch with aiortc",
        ("switch", "--bots", "aiortc", "--transitions", "20"),
        (*ENOUGH, *NOTHING_LOST, *NOTHING_LEFT, ("transition_ms.to_sfu.samples", "==", 40)),
    ),
    (
        "churn, 20 calls, 10 minutes, 1 % deaths",
        ("churn", "--calls", "20", "--duration", "600", "--chaos", "1"),
        (
            ("dropped_calls", "==", 0),
            ("foreign_frames", "==", 0),
            ("recovery_ms.p95", "<", 3000),
            *NOTHING_LEFT,
        ),
    ),
    (
        "storm of 50",
        ("storm",),
        (
            ("join_ms.p95", "<", 2000),
            ("join_ms.samples", "==", 49),
            ("transition_ms.to_sfu.samples", "<=", 2),
            ("dropped_calls", "==", 0),
            *NOTHING_LEFT,
        ),
    ),
    (
        "storm of 50 with video",
        (str(VIDEO_STORM),),
        (
            ("join_ms.p95", "<", 2000),
            ("transition_ms.to_sfu.p95", "<", 2000),
            ("transition_ms.to_sfu.samples", "<=", 2),
            ("streams.flowing", "==", 4900),
            ("dropped_calls", "==", 0),
            *NOTHING_LEFT,
        ),
    ),
)
HOLDS = {"<": float.__lt__, "<=": float.__le__, "==": float.__eq__}


def simulate(name: str, options: tuple[str, ...]) -> dict[str, Any]:
    """One run on its own stack; gives its summary."""
    out = RESULTS / f"run-{Path(options[0]).stem}-{time.strftime('%Y%m%dT%H%M%S')}"
    print(f"-- {name}: meeshy simulate {' '.join(options)}", flush=True)
    subprocess.run([MEESHY, "simulate", *options, "--out", out], cwd=ROOT, check=False)
    file = out / "summary.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}


def main() -> int:
    """Run everything, print the table, say whether it holds."""
    RESULTS.mkdir(exist_ok=True)
    storm = STORM.read_text(encoding="utf-8")
    VIDEO_STORM.write_text(storm.replace("video = false", "video = true"), encoding="utf-8")
    rows: list[Row] = []
    for name, options, wanted in RUNS:
        summary = simulate(name, options)
        verdict = summary.get("verdict", "nothing to judge")
        rows.append(Row(f"{name}: verdict", "pass", verdict, verdict == "pass"))
        for path, sign, limit in wanted:
            value = at(summary, path)
            holds = value is not None and HOLDS[sign](float(value), float(limit))
            rows.append(Row(f"{name}: {path}", f"{sign} {limit:g}", value, holds))
    return conclude(rows, "verify-switch.json")


if __name__ == "__main__":
    sys.exit(main())
