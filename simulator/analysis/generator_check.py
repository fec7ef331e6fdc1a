"""The generator's check of itself: did the load generator keep up?

Pure: only judges; the figures come from analysis/metrics.py. A generator that sent or read late, stood still, lost datagrams
in its own sockets or filled a core measures itself instead of the server, so the run is void. Whether other programs took
the CPU time is judged in machine_check.py.
"""

from __future__ import annotations

from simulator.scenario import Limits
from simulator.summary import Generator


def complaints(generator: Generator, limits: Limits) -> list[str]:
    """List the reasons that make a run void; empty when the generator kept up."""
    found = _late(generator, limits)
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


def _late(generator: Generator, limits: Limits) -> list[str]:
    lag, stalled = generator.lag_ms, generator.stalled_ratio
    if lag is None or lag.p95 is None or lag.max is None:
        return ["the generator did not report how late it was"]
    found: list[str] = []
    if lag.p95 > limits.lag_p95_ms:
        found.append(
            f"the generator was late: p95 of its worst lag per second is {lag.p95:.1f} ms, limit {limits.lag_p95_ms:g} ms"
        )
    # A stall counts by its length: in a percentile one of a second would vanish among thirty.
    if lag.max > limits.stall_ms:
        found.append(f"the generator stood still for {lag.max:.0f} ms, limit {limits.stall_ms:g} ms")
    if stalled is not None and stalled > limits.stalled_ratio:
        found.append(
            f"the generator stood still for {stalled:.1%} of the time, in stalls of at least 20 ms, "
            f"limit {limits.stalled_ratio:.1%}"
        )
    return found
