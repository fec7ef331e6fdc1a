"""Counting one received stream: loss before and after repair, duplicates, disorder, stamps, decoded video and audio.

Pure: times are handed in. Used by bots written in Python; native bots count the same in crates/sfu-bot.
"""

from __future__ import annotations

from simulator.bots import stamp
from simulator.samples.schema import SAMPLE_FOREIGN, SAMPLE_KEY

FREEZE_NS = 500_000_000
"""A gap between two decoded video frames longer than this is a freeze."""
_REPAIRABLE = 20_000
"""Sequence numbers further back than this are lost for good and no longer remembered one by one."""

Sample = tuple[int, int, int, int, int, int, int, int]
"""One row of the latency table."""


class StreamStats:
    """The counters of one stream. At any time expected = packets + missing."""

    def __init__(self, *, receiver: int, sender: int, kind: int, decodes: bool) -> None:
        self.receiver = receiver
        self.sender = sender
        self.kind = kind
        self.bytes = 0
        self.duplicates = 0
        self.out_of_order = 0
        self.foreign = 0
        self.stamps = 0
        self.first_packet_ns = 0
        self.last_packet_ns = 0
        self.freezes = 0
        self.frames_decoded: int | None = 0 if decodes else None
        self.audio_energy: float | None = 0.0 if decodes else None
        self._base = 0
        self._highest = -1
        self._missing: set[int] = set()
        self._lost_for_good = 0
        self._repaired = 0
        self._last_frame_ns = 0

    @property
    def expected(self) -> int:
        """Packets from the first to the highest sequence number seen."""
        return self._highest - self._base + 1 if self.first_packet_ns else 0

    @property
    def missing(self) -> int:
        """Those that did not come at all."""
        return len(self._missing) + self._lost_for_good

    @property
    def missing_first(self) -> int:
        """Those that did not come when they were first sent."""
        return self.missing + self._repaired

    @property
    def packets(self) -> int:
        """Distinct packets that came, repaired ones included."""
        return self.expected - self.missing

    def original(self, seq: int, payload: bytes, size: int, now_ns: int) -> Sample | None:
        """Take a packet as it was first sent; `seq` is its 16-bit number. Return a sample if it carries a stamp."""
        self.bytes += size
        self.last_packet_ns = now_ns
        index = self._index(seq)
        if not self.first_packet_ns:
            self.first_packet_ns = now_ns
            self._base = self._highest = index
        elif index > self._highest:
            self._missing.update(range(self._highest + 1, index))
            self._highest = index
            self._forget()
        elif index in self._missing:
            self._missing.discard(index)
            self.out_of_order += 1
        elif index < self._base:
            self._missing.update(range(index + 1, self._base))
            self._base = index
            self.out_of_order += 1
        else:
            self.duplicates += 1
            return None
        return self._stamp(payload, now_ns)

    def retransmission(self, seq: int, payload: bytes, size: int, now_ns: int) -> Sample | None:
        """Take a packet that was sent again; `seq` is the number it had at first."""
        self.bytes += size
        if not self.first_packet_ns:
            return None
        index = self._index(seq)
        if index not in self._missing:
            self.duplicates += self._base <= index <= self._highest
            return None
        self._missing.discard(index)
        self._repaired += 1
        self.last_packet_ns = now_ns
        return self._stamp(payload, now_ns)

    def video_frame(self, now_ns: int) -> bool:
        """Count a decoded video frame; return whether it ended a freeze."""
        frozen = self._last_frame_ns > 0 and now_ns - self._last_frame_ns > FREEZE_NS
        self.freezes += frozen
        self._last_frame_ns = now_ns
        self.frames_decoded = (self.frames_decoded or 0) + 1
        return frozen

    def audio_frame(self, energy: float) -> None:
        """Count decoded audio and its energy: mean square of full-scale samples times seconds."""
        self.frames_decoded = (self.frames_decoded or 0) + 1
        self.audio_energy = (self.audio_energy or 0.0) + energy

    def row(self, tick: int, now_ns: int) -> tuple[object, ...]:
        """Return the row of the streams table."""
        # A freeze that has not ended yet counts too.
        frozen_now = self._last_frame_ns > 0 and now_ns - self._last_frame_ns > FREEZE_NS
        return (
            tick,
            now_ns,
            self.receiver,
            self.sender,
            self.kind,
            self.packets,
            self.bytes,
            self.expected,
            self.missing_first,
            self.missing,
            self.duplicates,
            self.out_of_order,
            self.foreign,
            self.first_packet_ns,
            self.last_packet_ns,
            self._last_frame_ns,
            0,
            self.freezes + frozen_now,
            self.frames_decoded,
            self.audio_energy,
        )

    def _index(self, seq: int) -> int:
        """Extend a 16-bit number to the nearest of those seen."""
        if self._highest < 0:
            return seq + (1 << 16)
        return self._highest + ((seq - self._highest + (1 << 15)) & 0xFFFF) - (1 << 15)

    def _stamp(self, payload: bytes, now_ns: int) -> Sample | None:
        mark = stamp.decode(payload)
        if mark is None:
            return None
        self.stamps += 1
        foreign = mark.bot != self.sender
        self.foreign += foreign
        flags = (SAMPLE_FOREIGN if foreign else 0) | (SAMPLE_KEY if mark.flags & stamp.KEY_FRAME else 0)
        return (self.receiver, mark.bot, self.kind, flags, mark.seq, now_ns, now_ns - mark.unix_ns, 0)

    def _forget(self) -> None:
        if len(self._missing) > _REPAIRABLE // 10:
            old = {index for index in self._missing if index < self._highest - _REPAIRABLE}
            self._missing -= old
            self._lost_for_good += len(old)
