"""The figures of what the machine gave a run, as summary.json has them; computed by analysis/machine_check.py."""

from __future__ import annotations

from pydantic import Field

from simulator.figure_types import FigureModel, Percentiles, figure


class Host(FigureModel):
    """What the machine gave the run, over the measured time."""

    valid: bool = Field(
        default=False,
        description="Whether the machine was the run's own as far as it matters; if not, the run is void.",
    )
    disturbed_ratio: float | None = figure(
        "disturbed seconds",
        "Share of the seconds in which the media server waited for a CPU that others used, or the hypervisor took CPU time "
        "away, beyond the limits.",
        unit="ratio",
    )
    server_wait_ms: Percentiles | None = figure(
        "media server's wait for a CPU",
        "Mean wait of its threads each time they were due to run, as far as others used the CPUs; of each second.",
        unit="ms",
    )
    generator_wait_ms: Percentiles | None = figure(
        "load generator's wait for a CPU", "The same for the threads of the bots.", unit="ms"
    )
    others_ratio: float | None = figure(
        "CPU time of other programs", "Share of all CPU time that other programs used.", unit="ratio"
    )
    steal_ratio: float | None = figure(
        "stolen CPU time", "Share of all CPU time that the hypervisor gave to other guests.", unit="ratio"
    )
    pressure_ratio: float | None = figure(
        "CPU pressure",
        "Share of the time in which some task of the machine, ours included, waited for a CPU (PSI).",
        unit="ratio",
    )
