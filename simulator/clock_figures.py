"""The figures of clocks that differ, as summary.json has them; computed by analysis/clocks.py."""

from __future__ import annotations

from simulator.figure_types import FigureModel, figure


class Clocks(FigureModel):
    """How far the clocks of the machines with bots were apart."""

    machines: int = figure("machines", "Machines with bots, each with a clock of its own.", default=0)
    offset_ms: float | None = figure(
        "largest offset of a clock",
        "How far the clock that differs most is ahead of the first machine's, or behind it (negative). It is subtracted "
        "from all times of that machine.",
        unit="ms",
    )
    error_ms: float | None = figure(
        "error of the offset",
        "How far the offset between two machines may be off at most: by half of the shortest time there and back. Intervals "
        "of latencies have it in them.",
        unit="ms",
    )
