"""Faults of a network, decided datagram by datagram: dropped, held, delayed, repeated, overtaken or damaged.

Pure: the time and each datagram are arguments, and the same seed chooses the same datagrams of each stream. Moving them is
up to proxy.py. Nothing here needs keys: RTP headers are in the clear, payloads are not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["up", "down"]
Action = Literal["drop", "hold", "delay", "repeat", "damage"]
Media = Literal["audio", "video", "repair", "rtcp", "other"]

PAYLOAD_TYPES: Mapping[int, Media] = {100: "audio", 101: "video", 102: "repair"}
"""Of native bots, and of calls with the default codecs."""
ALL_MEDIA: tuple[Media, ...] = ("audio", "video", "repair")
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DatagramFault:
    """One fault: what happens, to which datagrams, in which part of the time."""

    action: Action
    direction: Direction | None = None
    """Towards the server, from it, or both ways."""
    media: tuple[Media, ...] = ALL_MEDIA
    share: float = 1.0
    """Share of the datagrams that are chosen."""
    receivers: int | None = None
    """Only the first so many addresses, in the order in which media came to them."""
    from_s: float = 0.0
    """When it begins, after the faults were armed."""
    for_s: float | None = None
    """How long it lasts; None: for good."""
    period_s: float | None = None
    """It acts in the first `on_s` of each period."""
    on_s: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Extra delay of each frame, drawn evenly from 0 to this."""
    growth_ms_per_s: float = 0.0
    """Extra delay that grows by so much a second, from the begin of the fault on."""

    def acts_until(self, elapsed_s: float) -> float | None:
        """Return when the part of the time it acts in ends, in seconds after arming; None if it does not act now."""
        since = elapsed_s - self.from_s
        if since < 0 or (self.for_s is not None and since >= self.for_s):
            return None
        end = float("inf") if self.for_s is None else self.from_s + self.for_s
        if self.period_s is None:
            return end
        begin = since // self.period_s * self.period_s
        if since - begin >= self.on_s:
            return None
        return min(end, self.from_s + begin + self.on_s)


@dataclass(frozen=True, slots=True)
class Header:
    """What the clear part of a datagram says."""

    media: Media
    ssrc: int = 0
    sequence: int = 0
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one datagram."""

    due_ns: tuple[int, ...]
    """When it is passed on; empty if it is not, twice if it is repeated."""
    fault: int | None = None
    """The first fault that was applied."""
    damaged: bool = False


def read_header(datagram: bytes) -> Header:
    """Read what a datagram is (RFC 7983, RFC 5761 §4)."""
    if len(datagram) < 12 or datagram[0] & 0xC0 != 0x80:
        return Header("other")
    if 192 <= datagram[1] <= 223:
        return Header("rtcp", int.from_bytes(datagram[4:8]))
    media = PAYLOAD_TYPES.get(datagram[1] & 0x7F, "other")
    return Header(
        media,
        int.from_bytes(datagram[8:12]),
        int.from_bytes(datagram[2:4]),
        int.from_bytes(datagram[4:8]),
    )


@dataclass(slots=True)
class _Stream:
    direction: Direction
    ordinal: int
    packets: int = 0
    frames: int = 0
    timestamp: int | None = None


class Schedule:
    """The fate of each datagram since the faults were armed."""

    def __init__(self, faults: Sequence[DatagramFault], seed: int, armed_ns: int) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self._armed_ns = armed_ns
        self._streams: dict[tuple[Direction, int, int], _Stream] = {}
        self._receivers: dict[int, int] = {}

    def fate(self, direction: Direction, leg: int, header: Header, now_ns: int) -> Fate:
        """Decide what happens to a datagram of the client with this number."""
        stream = self._follow(direction, leg, header)
        elapsed_s = (now_ns - self._armed_ns) / 1e9
        due, times, first, damaged = now_ns, 1, None, False
        for number, fault in enumerate(self._faults):
            until_s = fault.acts_until(elapsed_s)
            if until_s is None or not self._chooses(number, stream, leg, header.media):
                continue
            first = number if first is None else first
            match fault.action:
                case "drop":
                    return Fate((), first)
                case "hold":
                    due = max(due, self._armed_ns + int(until_s * 1e9))
                case "delay":
                    extra = fault.jitter_ms * _unit(self._seed, number, stream.ordinal, stream.frames, 1)
                    extra += fault.growth_ms_per_s * (elapsed_s - fault.from_s)
                    due += int((fault.delay_ms + extra) * 1e6)
                case "repeat":
                    times += 1
                case "damage":
                    damaged = True
        return Fate((due,) * times, first, damaged)

    def _chooses(self, number: int, stream: _Stream, leg: int, media: Media) -> bool:
        fault = self._faults[number]
        if fault.direction not in (None, stream.direction) or media not in fault.media:
            return False
        if fault.receivers is not None and self._receivers.get(leg, fault.receivers) >= fault.receivers:
            return False
        return fault.share >= 1 or _unit(self._seed, number, stream.ordinal, stream.packets, 0) < fault.share

    def _follow(self, direction: Direction, leg: int, header: Header) -> _Stream:
        if direction == "down" and header.media in ALL_MEDIA:
            self._receivers.setdefault(leg, len(self._receivers))
        stream = self._streams.setdefault(
            (direction, leg, header.ssrc), _Stream(direction, len(self._streams))
        )
        stream.packets += 1
        if stream.timestamp != header.timestamp:
            stream.timestamp = header.timestamp
            stream.frames += 1
        return stream


def plain(fault: DatagramFault) -> dict[str, Any]:
    """Return a fault as plain values, for the proxy's process."""
    return {name: getattr(fault, name) for name in DatagramFault.__slots__}


def from_plain(values: Mapping[str, Any]) -> DatagramFault:
    """Read a fault from plain values."""
    return DatagramFault(**{**values, "media": tuple(values["media"])})


def _unit(seed: int, *numbers: int) -> float:
    """Return an even number from 0 to 1 that depends on these alone (SplitMix64)."""
    state = seed
    for number in numbers:
        state = _mixed(state ^ _mixed(number))
    return (state >> 11) / (1 << 53)


def _mixed(state: int) -> int:
    z = (state + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
