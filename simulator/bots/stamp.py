"""The latency stamp: 24 bytes at the very end of an RTP payload that say who sent it, and when.

Writes and reads the stamp and puts it into VP8 and opus payloads; native bots do the same in crates/sfu-bot.
An SFU forwards it untouched because it is payload, so latency needs no help of the server.

Format, big-endian: magic "MSHY" (4), flags and version 1 (2), bot (2), sequence (4), Unix time in ns (8), CRC-32
of the 20 bytes before (4). A VP8 frame carries it behind its last packet, an opus packet as padding of a code-3
packet (RFC 6716 §3.2.5), which decoders skip.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

SIZE = 24
_MAGIC = b"MSHY"
_VERSION = 1
_BODY = struct.Struct("!4sBBHIQ")
_CRC = struct.Struct("!I")
_LONG_PADDING = 254


KEY_FRAME = 1
"""Flag: the stamp sits in a key frame."""


class Stamp(NamedTuple):
    """Who sent a frame, and when."""

    bot: int
    seq: int
    unix_ns: int
    flags: int = 0
    """`KEY_FRAME` or nothing."""


def encode(stamp: Stamp) -> bytes:
    """Return the 24 bytes of a stamp."""
    body = _BODY.pack(
        _MAGIC, stamp.flags, _VERSION, stamp.bot, stamp.seq & 0xFFFFFFFF, stamp.unix_ns & 0xFFFFFFFFFFFFFFFF
    )
    return body + _CRC.pack(zlib.crc32(body))


def decode(payload: bytes) -> Stamp | None:
    """Read the stamp at the end of a payload; None if there is no intact one."""
    if len(payload) < SIZE or payload[-SIZE:-20] != _MAGIC:
        return None
    _, flags, version, bot, seq, unix_ns = _BODY.unpack_from(payload, len(payload) - SIZE)
    (crc,) = _CRC.unpack_from(payload, len(payload) - 4)
    if version != _VERSION or zlib.crc32(payload[-SIZE:-4]) != crc:
        return None
    return Stamp(bot, seq, unix_ns, flags)


def pad_opus(packet: bytes, padding: bytes) -> bytes | None:
    """Put `padding` at the end of an opus packet; None if its frames cannot be kept (only codes 0 and 1 can)."""
    if not packet or packet[0] & 3 > 1:
        return None
    long, short = divmod(len(padding), _LONG_PADDING)
    head = bytes([packet[0] | 3, 0x40 | (1 + (packet[0] & 3)), *(b"\xff" * long), short])
    return head + packet[1:] + padding
