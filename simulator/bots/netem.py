"""An emulated link inside a bot's process: seeded loss, delay, jitter and a limited rate with a bounded queue.

Decides per datagram whether it arrives and when; moving datagrams is up to the bot. Native bots have the same in
crates/sfu-bot/src/impair.rs and jitter.rs. Emulation sits at the socket, so STUN, DTLS, RTP and RTCP all pass it. Qdiscs
would need rights and kernel modules that a load generator seldom has.
"""

from __future__ import annotations

import random

from simulator.scenario import Link

QUEUE_S = 0.2
"""What a limited link holds before it drops."""
_UP, _DOWN = 0, 1
_RISE, _FALL = (0.25, 0.75), (1.25, 2.75)
"""Lengths of a rise and of a fall of the delay, least and most, in ranges; as in crates/sfu-bot/src/jitter.rs."""
_FORGET = 32.0
"""After this many ranges without a datagram the past does not matter any more."""


class Jitter:
    """A delay that rises to its range and falls to zero in turn, each within a random time.

    Over time every delay of the range is equally frequent, at any packet rate, and what is sent later does not arrive
    earlier. A delay drawn for each datagram cannot have both: the later ones would wait for the one that drew the most.
    """

    def __init__(self, range_s: float, seed: str) -> None:
        self._random = random.Random(seed)
        self._range_s = range_s
        self._rising = False
        self._begin_s = self._length_s = 0.0
        self._begun = False

    def delay_s(self, now_s: float) -> float:
        """Return the delay of a datagram that is sent now; times do not go back."""
        if self._range_s <= 0:
            return 0.0
        if not self._begun or now_s > self._begin_s + self._length_s + _FORGET * self._range_s:
            self._begin_anywhere(now_s)
        while now_s >= self._begin_s + self._length_s:
            self._begin_s += self._length_s
            self._rising = not self._rising
            self._length_s = self._draw_length()
        passed = min(1.0, max(0.0, (now_s - self._begin_s) / self._length_s))
        return (passed if self._rising else 1 - passed) * self._range_s

    def _begin_anywhere(self, now_s: float) -> None:
        """Begin in the midst of a rise or a fall, each as likely as it lasts."""
        self._begun = True
        self._rising = self._random.random() < sum(_RISE) / (sum(_RISE) + sum(_FALL))
        self._length_s = self._draw_length()
        self._begin_s = now_s - self._random.random() * self._length_s

    def _draw_length(self) -> float:
        return self._random.uniform(*(_RISE if self._rising else _FALL)) * self._range_s


class EmulatedLink:
    """One direction of one bot's network. The same seed drops the same datagrams, whatever jitter and rate do."""

    def __init__(self, link: Link, seed: int) -> None:
        self._link = link
        self._drops = random.Random(f"{seed}-drops")
        self._jitter = Jitter(link.jitter_ms / 1000, f"{seed}-jitter")
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
        due += link.delay_ms / 1000 + self._jitter.delay_s(due)
        self._latest_s = max(self._latest_s, due)
        return self._latest_s


def link_seed(run_seed: int, bot: int, *, down: bool) -> int:
    """Derive the seed of one bot's link, so that each link of a run drops different datagrams. Never 0."""
    return ((run_seed * 65_537 + bot) * 2 + (_DOWN if down else _UP)) % (2**53 - 1) + 1
