"""Packets that belong to no stream a bot was told of, for bots written in Python.

The same rules as the native bots' (crates/sfu-bot/src/strangers.rs): a grace around announcements, which lets no stream
pass for good. Pure: times are handed in.
"""

from __future__ import annotations

GRACE_NS = 5_000_000_000
"""How long an SSRC may be unknown, and how long packets may follow the end of its stream."""


class Strangers:
    """What one bot received and could not attribute."""

    def __init__(self) -> None:
        self.payload_type = 0
        self.unauthentic = 0
        self.damaged_stamps = 0
        self._counted = 0
        self._open: dict[int, list[int]] = {}
        """By SSRC: when the first packet came, and how many did."""
        self._late: set[int] = set()

    def packet(self, ssrc: int, now_ns: int) -> None:
        """Take a packet of an SSRC that no stream has."""
        if ssrc in self._late:
            self._counted += 1
            return
        since_ns, packets = self._open.get(ssrc, (now_ns, 0))
        if now_ns - since_ns > GRACE_NS:
            self._open.pop(ssrc)
            self._late.add(ssrc)
            self._counted += packets + 1
        else:
            self._open[ssrc] = [since_ns, packets + 1]

    def announced(self, ssrc: int) -> None:
        """Take note that a stream with this SSRC is announced: what came of it within the grace was early."""
        self._open.pop(ssrc, None)
        self._late.discard(ssrc)

    def unknown(self) -> tuple[int, int]:
        """Return the packets of unknown SSRCs, and those of SSRCs whose grace has not passed."""
        return self._counted, sum(packets for _, packets in self._open.values())
