"""Whether all of a frame came, and came as it was sent, for bots written in Python.

The same rules as the native bots' (crates/sfu-bot/src/frame_check.rs). Pure: times are handed in.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from simulator.bots.stamp import Stamp
from simulator.samples.schema import NEVER_WHOLE, SAMPLE_CORRUPT

PATIENCE_NS = 5_000_000_000
"""What is missing longer than this counts as lost for good."""
_WORD = 0xFFFFFFFF

Sample = tuple[int, int, int, int, int, int, int, int]
"""One row of the latency table."""


@dataclass(slots=True)
class _Open:
    since_ns: int
    packets: int = 0
    plain: int = 0
    by_index: int = 0
    mark: Stamp | None = None
    sample: Sample | None = None
    last: int = 0
    """Extended sequence number of the packet that carried the stamp."""


class FrameCheck:
    """The frames of one stream that are not whole yet."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._given_up: list[Sample] = []

    def packet(
        self, timestamp: int, index: int, media: bytes, stamped: tuple[Stamp, Sample] | None, now_ns: int
    ) -> Sample | None:
        """Take a packet; return the sample of its frame if that is whole with it."""
        frame = self._open.get(timestamp)
        if frame is None:
            self._expire(now_ns)
            frame = self._open[timestamp] = _Open(now_ns)
        crc = zlib.crc32(media)
        frame.packets += 1
        frame.plain += crc
        frame.by_index += crc * index
        if stamped is not None:
            (frame.mark, frame.sample), frame.last = stamped, index
        if frame.mark is None or frame.sample is None or frame.packets < frame.mark.packets:
            return None
        del self._open[timestamp]
        total = ((2 * frame.last + 1) * frame.plain - 2 * frame.by_index) & _WORD
        fine = frame.packets == frame.mark.packets and total == frame.mark.total
        sample = frame.sample
        flags = sample[3] | (0 if fine else SAMPLE_CORRUPT)
        return (*sample[:3], flags, *sample[4:7], max(0, now_ns - sample[5]))

    def forget(self, timestamp: int) -> None:
        """Forget a frame whose stamp cannot be read."""
        self._open.pop(timestamp, None)

    def take_given_up(self) -> list[Sample]:
        """Return the samples of frames of which no more will come."""
        found, self._given_up = self._given_up, []
        return found

    def end(self) -> None:
        """Stop waiting for the frames that are not whole."""
        self._give_up(list(self._open))

    def _expire(self, now_ns: int) -> None:
        # Frames are in the order they began.
        late = []
        for timestamp, frame in self._open.items():
            if now_ns - frame.since_ns <= PATIENCE_NS:
                break
            late.append(timestamp)
        self._give_up(late)

    def _give_up(self, timestamps: list[int]) -> None:
        for timestamp in timestamps:
            sample = self._open.pop(timestamp).sample
            if sample is not None:
                self._given_up.append((*sample[:7], NEVER_WHOLE))
