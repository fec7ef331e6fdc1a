"""Counting one received stream: loss before and after repair, duplicates, disorder, frames, pauses, what was decoded.

Pure: times are handed in. Used by bots written in Python; native bots count the same in crates/sfu-bot.
"""

from __future__ import annotations

from zlib import crc32

from simulator.bots import stamp
from simulator.bots.frame_check import FrameCheck, Sample
from simulator.samples.schema import KINDS, SAMPLE_CORRUPT, SAMPLE_FOREIGN, SAMPLE_KEY

FREEZE_NS = 500_000_000
"""A gap between two decoded video frames longer than this is a freeze."""
_REPAIRABLE = 20_000
"""Sequence numbers further back than this are lost for good and no longer remembered one by one."""

PAUSE_NS = 300_000_000
"""A longer time without a packet (audio) or a whole frame (video) is a pause."""
Pause = tuple[int, int, int, int, int]
"""One row of the table of pauses."""
_VIDEO = KINDS.index("video")


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
        """Samples that were returned."""
        self.timestamp_jumps = 0
        """Stamped packets whose RTP timestamp does not go on as the sender's does."""
        self._clock_offset: int | None = None
        self.damaged_stamps = 0
        self.surplus_repairs = 0
        self.pauses: list[Pause] = []
        self.last_frame_ns = 0
        self._check = FrameCheck()
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

    def original(
        self,
        seq: int,
        payload: bytes,
        size: int,
        now_ns: int,
        *,
        timestamp: int | None = None,
        marker: bool = True,
    ) -> Sample | None:
        """Take a packet as it was first sent.

        Args:
            seq: Its 16-bit number.
            payload: What it holds.
            size: Bytes of payload and padding.
            now_ns: When it came.
            timestamp: Which frame it belongs to; None for one of its own.
            marker: Whether it is the last one of its frame.

        Returns:
            A sample if its frame carries a stamp and is whole with it.
        """
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
        return self._content(index, payload, now_ns, timestamp, marker)

    def retransmission(
        self,
        seq: int,
        payload: bytes,
        size: int,
        now_ns: int,
        *,
        timestamp: int | None = None,
        marker: bool = True,
    ) -> Sample | None:
        """Take a packet that was sent again; `seq` is the number it had at first, the rest as for :meth:`original`."""
        self.bytes += size
        if not self.first_packet_ns:
            return None
        index = self._index(seq)
        if index not in self._missing:
            self.surplus_repairs += self._base <= index <= self._highest
            return None
        self._missing.discard(index)
        self._repaired += 1
        self.last_packet_ns = now_ns
        return self._content(index, payload, now_ns, timestamp, marker)

    def take_given_up(self) -> list[Sample]:
        """Return the samples of frames that were never whole, once no more of them can come."""
        found = self._check.take_given_up()
        self.stamps += len(found)
        return found

    def end(self) -> None:
        """Take note that nothing more will come."""
        self._check.end()

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
            self.duplicates + self.surplus_repairs,
            self.out_of_order,
            self.foreign,
            self.first_packet_ns,
            self.last_packet_ns,
            self.last_frame_ns,
            self.surplus_repairs,
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

    def _content(
        self, index: int, payload: bytes, now_ns: int, timestamp: int | None, marker: bool
    ) -> Sample | None:
        """Take what a new packet holds, by whichever way it came."""
        mark = stamp.decode(payload) if marker else None
        is_video = self.kind == _VIDEO
        if mark is None and marker and self._lacks_stamp(payload, is_video):
            self.damaged_stamps += 1
            self._check.forget(index if timestamp is None else timestamp)
            return None
        media = payload if mark is None else payload[: -stamp.SIZE]
        if is_video:
            stamped = None if mark is None else (mark, self._sample(mark, timestamp, now_ns))
            media = media[stamp.descriptor_length(payload) :]
            frame = index if timestamp is None else timestamp
            sample = self._check.packet(frame, index, media, stamped, now_ns)
        else:
            self._flowed(now_ns)
            sample = None if mark is None else self._sample(mark, timestamp, now_ns)
            if mark is not None and sample is not None and (mark.packets, mark.total) != (1, crc32(media)):
                sample = (*sample[:3], sample[3] | SAMPLE_CORRUPT, *sample[4:])
        if sample is not None:
            self.stamps += 1
            if is_video:
                self._flowed(now_ns)
        return sample

    def _lacks_stamp(self, payload: bytes, is_video: bool) -> bool:
        return is_video or stamp.has_magic(payload) or stamp.is_padded_for_a_stamp(payload)

    def _flowed(self, now_ns: int) -> None:
        if self.last_frame_ns and now_ns - self.last_frame_ns > PAUSE_NS:
            self.pauses.append((self.receiver, self.sender, self.kind, self.last_frame_ns, now_ns))
        self.last_frame_ns = now_ns

    def _sample(self, mark: stamp.Stamp, timestamp: int | None, now_ns: int) -> Sample:
        is_video = bool(mark.flags & stamp.VIDEO)
        foreign = mark.bot != self.sender or is_video != (self.kind == _VIDEO)
        if timestamp is not None and not foreign:
            offset = (timestamp - mark.timestamp) & stamp.TIMESTAMP_MASK
            self.timestamp_jumps += self._clock_offset not in (None, offset)
            self._clock_offset = offset
        self.foreign += foreign
        flags = (SAMPLE_FOREIGN if foreign else 0) | (SAMPLE_KEY if mark.flags & stamp.KEY_FRAME else 0)
        return (self.receiver, mark.bot, self.kind, flags, mark.seq, now_ns, now_ns - mark.unix_ns, 0)

    def _forget(self) -> None:
        if len(self._missing) > _REPAIRABLE // 10:
            old = {index for index in self._missing if index < self._highest - _REPAIRABLE}
            self._missing -= old
            self._lost_for_good += len(old)
