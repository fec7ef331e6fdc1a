"""Which objectives of a scenario are lost to the network that it emulates itself, whatever the server does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulator.slo import Slo, objectives

if TYPE_CHECKING:
    from simulator.scenario import Scenario

_AUDIO_PACKETS_PER_S = 50
_DEVIATIONS = 4
"""So far from the mean the share of lost packets is in one of 30,000 runs by chance."""
_REMEDY = "set a limit that leaves room for it"
_WHOLE, _WORST = "delivered_ratio.audio.ratio", "worst_delivered_ratio.audio.ratio"


def out_of_reach(scenario: Scenario) -> list[str]:
    """Return a sentence about each objective that the emulated network breaks alone, always or now and then.

    Audio that is lost is not sent again, and delay adds to latency. Objectives on other figures are not looked at.
    """
    return [
        f"{slo}: {why}"
        for slo in objectives(scenario.slo)
        if isinstance(slo.limit, int | float)
        for why in _reasons(slo, slo.limit, scenario)
    ]


def _reasons(slo: Slo, limit: float, scenario: Scenario) -> Iterator[str]:
    network = scenario.network
    if slo.path in (_WHOLE, _WORST) and slo.op in (">", ">=") and scenario.media.audio:
        arrives = (1 - network.up.loss) * (1 - network.down.loss)
        least = _least_delivered(arrives, slo.path, scenario)
        if arrives < 1 and least < limit:
            proposal = f', such as --slo "{slo.path}>={math.floor(100 * least)}%"' if least >= 0.01 else ""
            yield (
                f"the scenario's own network loses {1 - arrives:.3g} of all audio, which is not sent again; "
                f"{_REMEDY}{proposal}"
            )
    if slo.path.startswith(("latency_ms.", "worst_latency_ms.")) and slo.op in ("<", "<="):
        delay_ms = network.up.delay_ms + network.down.delay_ms
        if slo.path.endswith("p95"):
            delay_ms += 0.95 * max(network.up.jitter_ms, network.down.jitter_ms)
        if delay_ms and delay_ms >= limit:
            yield f"the scenario's own network takes {delay_ms:.4g} ms; {_REMEDY}"


def _least_delivered(arrives: float, path: str, scenario: Scenario) -> float:
    """Return the share, 0 to 1, that arrives in nearly all runs, of all receivers or of the worst one."""
    packets = scenario.hold.duration_s * _AUDIO_PACKETS_PER_S
    if path == _WHOLE:
        senders = scenario.participants.count
        packets *= max(1, senders * (senders - 1))
    return arrives - _DEVIATIONS * math.sqrt(arrives * (1 - arrives) / packets)
