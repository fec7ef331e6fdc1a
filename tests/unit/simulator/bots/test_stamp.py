"""The stamp: the same bytes from every kind of bot, and never a wrong one."""

import zlib

import pytest

from simulator.bots.stamp import SIZE, Stamp, decode, encode, pad_opus

STAMP = Stamp(513, 7, 1_790_000_000_123_456_789, 1, timestamp=0x123456)


def test_a_stamp_is_read_from_the_end_of_a_payload() -> None:
    assert decode(b"abc" + encode(STAMP)) == STAMP


def test_the_bytes_are_those_of_native_bots() -> None:
    body = b"MSHY\x00\x03\x00\x03\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x06\x01\x00\x00\x07"
    assert encode(Stamp(3, 5, 9, total=6, timestamp=0xFF000007)) == body + zlib.crc32(body).to_bytes(4, "big")


@pytest.mark.parametrize("at", range(SIZE))
def test_a_damaged_stamp_is_none(at: int) -> None:
    bad = bytearray(encode(STAMP))
    bad[at] ^= 1
    assert decode(bytes(bad)) is None


@pytest.mark.parametrize("payload", [b"", b"MSHY", b"x" * 100])
def test_a_payload_without_stamp_is_none(payload: bytes) -> None:
    assert decode(payload) is None


@pytest.mark.parametrize("length", [1, 24, 253, 254, 255, 600])
def test_padding_of_any_length_ends_the_packet(length: int) -> None:
    padded = pad_opus(b"\x78abc", bytes(length))
    assert padded is not None
    assert padded[0] & 3 == 3
    assert padded[1] == 0x41
    at, total = 2, 0
    while padded[at] == 255:
        total, at = total + 254, at + 1
    assert total + padded[at] == length
    assert padded[at + 1 :] == b"abc" + bytes(length)


@pytest.mark.parametrize("packet", [b"", b"\x7aabc", b"\x7babc"])
def test_packets_that_cannot_be_padded_are_left_alone(packet: bytes) -> None:
    assert pad_opus(packet, b"x") is None
