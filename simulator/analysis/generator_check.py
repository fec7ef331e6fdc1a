"""The generator's check of itself: did the load generator keep up?

Only judges; the figures come from analysis/metrics.py. A generator that was starved of CPU, woke up late, lost
datagrams in its own sockets or sent late measures itself instead of the server, so the run is void.
"""

from __future__ import annotations

from simulator.scenario import Limits
from simulator.summary import Generator


def complaints(generator: Generator, limits: Limits) -> list[str]:
    """List the reasons that make a run void; empty when the generator kept up."""
    found: list[str] = []
    lag = generator.lag_ms
    if lag is None or lag.p95 is None:
        found.append("the generator did not report its scheduling lag")
    elif lag.p95 > limits.lag_p95_ms:
        found.append(
            f"the generator woke up late: p95 of its worst lag per second is {lag.p95:.1f} ms, "
            f"limit {limits.lag_p95_ms:g} ms"
        )
    busiest = generator.busiest_core_percent
    if busiest is not None and busiest > limits.core_percent:
        found.append(
            f"the busiest generator used {busiest:.0f} % of a core, limit {limits.core_percent:g} %; "
            "use fewer bots or more cores"
        )
    drops = generator.socket_drops
    if drops is not None and drops > limits.socket_drops:
        found.append(f"the bots' sockets dropped {drops} datagrams, limit {limits.socket_drops}")
    late = generator.late_send_ratio
    if late is not None and late > limits.late_send_ratio:
        found.append(f"{late:.1%} of packets were sent over 5 ms late, limit {limits.late_send_ratio:.1%}")
    return found
