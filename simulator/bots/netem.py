"""An emulated link inside a bot's process: seeded loss, delay, jitter and a limited rate with a bounded queue.

Decides per datagram whether it arrives and when; moving datagrams is up to the bot. Native bots have the same in
crates/sfu-bot/src/impair.rs. Emulation sits at the socket, so STUN, DTLS, RTP and RTCP all pass it. Qdiscs
would need rights and kernel modules that a load generator seldom has.
"""

from __future__ import annotations

import random

from simulator.scenario import Link

QUEUE_S = 0.2
"""What a limited link holds before it drops."""
_UP, _DOWN = 0, 1


class EmulatedLink:
    """One direction of one bot's network. The same seed drops the same datagrams, whatever jitter and rate do."""

    def __init__(self, link: Link, seed: int) -> None:
        self._link = link
        self._drops = random.Random(f"{seed}-drops")
        self._jitter = random.Random(f"{seed}-jitter")
        self._free_at_s = 0.0
        self._latest_s = 0.0
        self.passed = 0
        """Datagrams put on the link."""
        self.dropped = 0
        """Those that will never arrive."""

    def due_s(self, size: int, now_s: float) -> float | None:
        """Return when a datagram of `size` bytes arrives, never before one that was sent earlier; None: it is lost."""
        link = self._link
        self.passed += 1
        if link.loss and self._drops.random() < link.loss:
            self.dropped += 1
            return None
        due = now_s
        if link.rate_bps:
            self._free_at_s = max(self._free_at_s, now_s)
            if self._free_at_s - now_s > QUEUE_S:
                self.dropped += 1
                return None
            self._free_at_s += size * 8 / link.rate_bps
            due = self._free_at_s
        due += link.delay_ms / 1000
        if link.jitter_ms:
            due += self._jitter.uniform(0, link.jitter_ms / 1000)
        self._latest_s = max(self._latest_s, due)
        return self._latest_s


def link_seed(run_seed: int, bot: int, *, down: bool) -> int:
    """Derive the seed of one bot's link, so that each link of a run drops different datagrams. Never 0."""
    return ((run_seed * 65_537 + bot) * 2 + (_DOWN if down else _UP)) % (2**53 - 1) + 1
