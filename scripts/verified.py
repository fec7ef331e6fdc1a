"""What the verify scripts share: a figure with what was wanted and what was seen, their table, and their file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench-results"
MEESHY = ROOT / ".venv" / "bin" / "meeshy"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what was asked, what came out."""

    figure: str
    wanted: str
    seen: Any
    holds: bool


def at(summary: dict[str, Any], path: str) -> Any:
    """Return the figure at a dotted path; None if it was not measured."""
    value: Any = summary
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def conclude(rows: Sequence[Row], file: str) -> int:
    """Print the table, write it to a file among the results, and return whether all holds as an exit code."""
    width = max(len(row.figure) for row in rows)
    for row in rows:
        print(
            f"{'ok  ' if row.holds else 'MISS'} {row.figure:<{width}}  wanted {row.wanted:<14} seen {row.seen}"
        )
    (RESULTS / file).write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1
