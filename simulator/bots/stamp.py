"""The stamp: 32 bytes at the very end of an RTP payload that say who sent a frame, when, and what was in it.

Writes and reads the stamp and puts it into VP8 and opus payloads; native bots do the same in crates/sfu-bot.
An SFU forwards it untouched because it is payload, so nothing here needs the help of the server.

Format, big-endian: magic "MSHY" (4), flags and version 3 (2), bot (2), sequence (4), Unix time in ns (8), sum of the frame
(4), its packets (1), the low 24 bits of its RTP timestamp (3), CRC-32 of the 28 bytes before (4). A VP8 frame carries it
behind its last packet, an opus packet as padding of a code-3 packet (RFC 6716 §3.2.5), which decoders skip.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

SIZE = 32
_MAGIC = b"MSHY"
_VERSION = 3
_BODY = struct.Struct("!4sBBHIQII")
_CRC = struct.Struct("!I")
_LONG_PADDING = 254
_WORD = 0xFFFFFFFF


KEY_FRAME = 1
"""Flag: the stamp sits in a key frame."""
VIDEO = 2
"""Flag: the stamp is of video; without it of audio."""
TIMESTAMP_MASK = 0xFFFFFF
"""The bits of an RTP timestamp that a stamp holds."""


class Stamp(NamedTuple):
    """Who sent a frame, when, and what it was."""

    bot: int
    seq: int
    unix_ns: int
    flags: int = 0
    """`KEY_FRAME` and `VIDEO`, or nothing."""
    total: int = 0
    """The frame's sum: :func:`frame_sum`."""
    packets: int = 1
    timestamp: int = 0
    """RTP timestamp that its sender gave the frame; the low 24 bits count."""


def encode(stamp: Stamp) -> bytes:
    """Return the bytes of a stamp."""
    body = _BODY.pack(
        _MAGIC,
        stamp.flags,
        _VERSION,
        stamp.bot,
        stamp.seq & _WORD,
        stamp.unix_ns & 0xFFFFFFFFFFFFFFFF,
        stamp.total,
        stamp.packets << 24 | stamp.timestamp & TIMESTAMP_MASK,
    )
    return body + _CRC.pack(zlib.crc32(body))


def decode(payload: bytes) -> Stamp | None:
    """Read the stamp at the end of a payload; None if there is no intact one."""
    if not has_magic(payload):
        return None
    _, flags, version, bot, seq, unix_ns, total, last = _BODY.unpack_from(payload, len(payload) - SIZE)
    (crc,) = _CRC.unpack_from(payload, len(payload) - 4)
    if version != _VERSION or zlib.crc32(payload[-SIZE:-4]) != crc:
        return None
    return Stamp(bot, seq, unix_ns, flags, total, last >> 24, last & TIMESTAMP_MASK)


def has_magic(payload: bytes) -> bool:
    """Return whether a payload ends with what begins like a stamp, intact or not."""
    return len(payload) >= SIZE and payload[-SIZE : 4 - SIZE] == _MAGIC


def frame_sum(media: Sequence[bytes]) -> int:
    """Add up the packets of a frame: what each holds between payload descriptor and stamp, in order.

    It is the sum of their CRC-32, each times 2d + 1, where d is how many packets follow; modulo 2^32.
    """
    last = len(media) - 1
    return sum(zlib.crc32(part) * (2 * (last - place) + 1) for place, part in enumerate(media)) & _WORD


def pad_opus(packet: bytes, padding: bytes) -> bytes | None:
    """Put `padding` at the end of an opus packet; None if its frames cannot be kept (only codes 0 and 1 can)."""
    if not packet or packet[0] & 3 > 1:
        return None
    long, short = divmod(len(padding), _LONG_PADDING)
    head = bytes([packet[0] | 3, 0x40 | (1 + (packet[0] & 3)), *(b"\xff" * long), short])
    return head + packet[1:] + padding


def is_padded_for_a_stamp(packet: bytes) -> bool:
    """Return whether an opus packet has the padding that only a stamp is put into."""
    return len(packet) > 2 and packet[0] & 3 == 3 and packet[1] & 0x40 != 0 and packet[2] == SIZE


def descriptor_length(payload: bytes) -> int:
    """Return the length of the VP8 payload descriptor (RFC 7741 §4.2); 0 if the payload is too short for it."""
    if not payload or not payload[0] & 0x80:
        return min(len(payload), 1)
    if len(payload) < 2:
        return 0
    at, extension = 2, payload[1]
    if extension & 0x80:
        if len(payload) < 3:
            return 0
        at += 2 if payload[2] & 0x80 else 1
    at += bool(extension & 0x40) + bool(extension & 0x30)
    return at if at <= len(payload) else 0
