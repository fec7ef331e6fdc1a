"""Whether frames came whole and undamaged: the same rules as the native bots', in Python."""

from __future__ import annotations

from simulator.bots import stamp
from simulator.bots.frame_check import PATIENCE_NS, FrameCheck
from simulator.bots.strangers import GRACE_NS, Strangers
from simulator.bots.stream_stats import PAUSE_NS, StreamStats
from simulator.samples.schema import NEVER_WHOLE, SAMPLE_CORRUPT

MS = 1_000_000
DESCRIPTOR = b"\x80\x80\x80\x01"


def packets(frame: int, parts: int = 3, *, at_ns: int = 1000) -> list[bytes]:
    """Return the payloads of one video frame, with its stamp."""
    media = [bytes([frame, part]) * 20 for part in range(parts)]
    mark = stamp.Stamp(2, frame, at_ns, stamp.VIDEO, stamp.frame_sum(media), parts)
    payloads = [DESCRIPTOR + part for part in media]
    payloads[-1] += stamp.encode(mark)
    return payloads


def meter(kind: int = 1) -> StreamStats:
    return StreamStats(receiver=1, sender=2, kind=kind, decodes=True)


def feed(
    m: StreamStats, frame: int, order: list[int], now_ns: int, payloads: list[bytes] | None = None
) -> list:
    parts = packets(frame) if payloads is None else payloads
    samples = []
    for part in order:
        sample = m.original(
            frame * 3 + part, parts[part], 60, now_ns + part * MS, timestamp=frame * 3000, marker=part == 2
        )
        samples += [] if sample is None else [sample]
    return samples


def test_a_frame_gives_one_sample_once_all_of_it_is_there_and_says_how_long_that_took() -> None:
    m = meter()
    assert [s[4] for s in feed(m, 0, [0, 1, 2], 5000)] == [0]
    [late] = feed(m, 1, [2, 0], 10 * MS) + feed(m, 1, [1], 40 * MS)
    assert (late[3], late[4], late[7]) == (0, 1, 40 * MS + MS - (10 * MS + 2 * MS))
    assert m.stamps == 2


def test_a_changed_byte_and_a_swap_of_places_make_a_frame_corrupt() -> None:
    damaged = packets(0)
    damaged[1] = damaged[1][:-1] + b"\xff"
    swapped = packets(1)
    swapped[0], swapped[1] = swapped[1], swapped[0]
    m = meter()
    samples = feed(m, 0, [0, 1, 2], 1000, damaged) + feed(m, 1, [0, 1, 2], 2000, swapped)
    assert [s[3] & SAMPLE_CORRUPT for s in samples] == [SAMPLE_CORRUPT] * 2


def test_a_stamp_that_is_damaged_or_missing_is_counted() -> None:
    broken, cut = packets(0), packets(1)
    broken[2] = broken[2][:-1] + bytes([broken[2][-1] ^ 1])
    cut[2] = cut[2][: -stamp.SIZE]
    m = meter()
    assert feed(m, 0, [0, 1, 2], 1000, broken) + feed(m, 1, [0, 1, 2], 2000, cut) == []
    assert m.damaged_stamps == 2


def test_opus_is_checked_where_it_carries_a_stamp() -> None:
    padded = stamp.pad_opus(b"\xf8\x01\x02\x03", bytes(stamp.SIZE))
    assert padded is not None
    media = padded[: -stamp.SIZE]
    good = media + stamp.encode(stamp.Stamp(2, 7, 1000, 0, stamp.frame_sum([media])))
    changed = good[:4] + b"\x77" + good[5:]
    m = meter(kind=0)
    flags = []
    for seq, payload in enumerate((good, changed)):
        sample = m.original(seq, payload, 60, 5000)
        assert sample is not None
        flags.append(sample[3])
    assert flags == [0, SAMPLE_CORRUPT]
    assert m.original(2, b"\xf8\x01\x02\x03", 60, 6000) is None
    assert m.damaged_stamps == 0
    assert m.original(3, media + bytes(stamp.SIZE), 60, 7000) is None
    assert m.damaged_stamps == 1


def test_a_frame_of_which_no_more_can_come_is_given_up() -> None:
    check = FrameCheck()
    mark = stamp.Stamp(2, 1, 0, stamp.VIDEO, 0, 2)
    sample = (1, 2, 1, 0, 1, 5000, 4000, 0)
    assert check.packet(10, 1, b"x", (mark, sample), 5000) is None
    assert check.packet(20, 2, b"x", None, 5000 + PATIENCE_NS) is None
    assert check.take_given_up() == []
    check.packet(30, 3, b"x", None, 5001 + PATIENCE_NS)
    assert check.take_given_up() == [(*sample[:7], NEVER_WHOLE)]


def test_a_pause_is_the_time_between_two_whole_frames() -> None:
    m = meter()
    feed(m, 0, [0, 1, 2], MS)
    feed(m, 1, [0, 1, 2], MS + PAUSE_NS)
    feed(m, 2, [0, 1, 2], 2 * MS + 2 * PAUSE_NS)
    assert m.pauses == [(1, 2, 1, 3 * MS + PAUSE_NS, 4 * MS + 2 * PAUSE_NS)]


def test_strangers_count_from_their_first_packet_on_unless_they_are_announced_in_time() -> None:
    strangers = Strangers()
    for at_s in range(10):
        strangers.packet(7, at_s * GRACE_NS // 5)
        strangers.packet(8, at_s)
    assert strangers.unknown() == (10, 10)
    strangers.announced(8)
    assert strangers.unknown() == (10, 0)


def test_the_descriptor_of_a_payload_is_not_part_of_what_was_sent() -> None:
    for head, length in ((b"\x10", 1), (b"\x90\x80\x05", 3), (b"\x90\xe0\x80\x05\x01\x02", 6), (b"\x90", 0)):
        assert stamp.descriptor_length(head + (b"\x01" if length else b"")) == length
