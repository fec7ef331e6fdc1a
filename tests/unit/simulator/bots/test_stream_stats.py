"""Stream statistics: what is counted is what was done to the stream."""

import random
from zlib import crc32

import pytest

from simulator.bots import stamp
from simulator.bots.stream_stats import StreamStats
from simulator.samples.schema import SAMPLE_FOREIGN, STREAMS

MS = 1_000_000


def meter(kind: int = 1) -> StreamStats:
    return StreamStats(receiver=1, sender=2, kind=kind, decodes=True)


def feed(target: StreamStats, numbers: list[int]) -> None:
    for n, seq in enumerate(numbers):
        target.original(seq & 0xFFFF, b"x", 10, (n + 1) * MS)


@pytest.mark.parametrize("start", [0, 65530, 65535, 32767])
def test_a_whole_stream_has_no_loss_even_when_numbers_wrap(start: int) -> None:
    m = meter()
    feed(m, list(range(start, start + 100)))
    assert (m.expected, m.packets, m.missing_first, m.missing, m.duplicates, m.out_of_order) == (
        100,
        100,
        0,
        0,
        0,
        0,
    )
    assert m.bytes == 1000


@pytest.mark.parametrize("start", [0, 65530])
def test_gaps_duplicates_and_disorder_are_told_apart(start: int) -> None:
    m = meter()
    feed(m, [start + n for n in (0, 1, 4, 3, 4, 5)])  # 2 never came, 3 came late, 4 came twice
    assert (m.expected, m.packets, m.missing_first, m.missing) == (6, 5, 1, 1)
    assert (m.duplicates, m.out_of_order) == (1, 1)


def test_a_retransmission_repairs_once() -> None:
    m = meter()
    feed(m, [10, 13])
    assert m.missing_first == m.missing == 2
    m.retransmission(11, b"x", 10, 5 * MS)
    m.retransmission(11, b"x", 10, 6 * MS)
    m.retransmission(12, b"x", 10, 7 * MS)
    assert (m.missing_first, m.missing, m.packets, m.surplus_repairs) == (2, 0, 4, 1)


def test_a_retransmission_before_the_first_packet_counts_for_nothing() -> None:
    m = meter()
    m.retransmission(9, b"x", 10, MS)
    feed(m, [10, 11])
    m.retransmission(9, b"x", 10, 3 * MS)
    assert (m.expected, m.packets, m.missing, m.duplicates) == (2, 2, 0, 0)


def test_a_packet_from_before_the_first_one_widens_what_is_expected() -> None:
    m = meter()
    feed(m, [5, 2])
    assert (m.expected, m.packets, m.missing) == (4, 2, 2)


def test_random_loss_is_counted_exactly() -> None:
    rng = random.Random(7)
    kept = [n for n in range(200_000) if n in (0, 199_999) or rng.random() > 0.05]
    m = meter()
    feed(m, kept)
    assert m.expected == 200_000
    assert m.packets == len(kept)
    assert m.missing == m.missing_first == 200_000 - len(kept)


def test_a_stamp_gives_a_sample_with_its_delay() -> None:
    mark = stamp.Stamp(2, 9, 1000, stamp.VIDEO, total=crc32(b"rame"))  # one byte of descriptor
    payload = b"frame" + stamp.encode(mark)
    assert meter().original(1, payload, 40, 5000) == (1, 2, 1, 0, 9, 5000, 4000, 0)


def test_a_stamp_of_another_sender_is_a_misrouted_frame() -> None:
    m = meter()
    sample = m.original(1, stamp.encode(stamp.Stamp(3, 9, 1000)), 40, 5000)
    assert sample is not None
    assert sample[1] == 3
    assert sample[3] & SAMPLE_FOREIGN
    assert m.foreign == 1


def test_a_duplicate_gives_no_second_sample() -> None:
    m = meter()
    payload = stamp.encode(stamp.Stamp(2, 9, 1000, stamp.VIDEO))
    assert m.original(1, payload, 40, 5000) is not None
    assert m.original(1, payload, 40, 6000) is None


def test_a_video_gap_of_over_half_a_second_is_a_freeze() -> None:
    m = meter()
    assert [m.video_frame(t * MS) for t in (1, 34, 67, 567, 600, 1101)] == [
        False,
        False,
        False,
        False,
        False,
        True,
    ]
    assert m.freezes == 1
    assert m.frames_decoded == 6


def test_a_freeze_counts_before_the_next_frame() -> None:
    m = meter()
    m.video_frame(MS)
    row = dict(zip(STREAMS.names, m.row(3, 700 * MS), strict=True))
    assert row["freezes"] == 1
    assert m.freezes == 0


def test_a_row_has_the_columns_of_the_table() -> None:
    m = meter()
    m.audio_frame(0.25)
    row = dict(zip(STREAMS.names, m.row(3, 5 * MS), strict=True))
    assert (row["tick"], row["receiver"], row["sender"], row["audio_energy"]) == (3, 1, 2, 0.25)


def test_timestamps_that_do_not_go_on_as_the_senders_do_are_jumps() -> None:
    m = meter(0)
    for n in range(20):
        own = n * 960 + 0xFFFF00
        payload = stamp.encode(stamp.Stamp(2, n, 1000, timestamp=own))
        m.original(n, payload, 40, 5000 + n, timestamp=(own + 0xFFFF_FF00 + 5 * (n == 7)) & 0xFFFFFFFF)
    assert m.timestamp_jumps == 2, "there and back"
    other = stamp.encode(stamp.Stamp(3, 20, 1000, timestamp=1))
    m.original(20, other, 40, 9000, timestamp=77)
    assert m.timestamp_jumps == 2, "a misrouted frame has a clock of its own"


def test_a_stamp_of_the_other_kind_is_a_misrouted_frame() -> None:
    for kind, flags in ((0, stamp.VIDEO), (1, 0)):
        m = meter(kind)
        sample = m.original(1, stamp.encode(stamp.Stamp(2, 9, 1000, flags)), 40, 5000)
        assert sample is not None
        assert (sample[3] & SAMPLE_FOREIGN, m.foreign) == (SAMPLE_FOREIGN, 1)
