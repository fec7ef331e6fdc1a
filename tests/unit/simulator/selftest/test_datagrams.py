"""Which datagrams a fault of the network is applied to, and when they are passed on."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulator.selftest.datagrams import (
    DatagramFault,
    Direction,
    Fate,
    Header,
    Schedule,
    from_plain,
    plain,
    read_header,
)

ARMED = 1_000_000_000_000
MS = 1_000_000


def audio(number: int, ssrc: int = 1) -> Header:
    return Header("audio", ssrc, number % 65536, number * 960)


def fates(
    fault: DatagramFault, count: int = 1000, *, seed: int = 1, ssrc: int = 1, direction: Direction = "down"
) -> list[Fate]:
    """Of one packet of audio every 20 ms."""
    schedule = Schedule([fault], seed, ARMED)
    return [schedule.fate(direction, 0, audio(n, ssrc), ARMED + n * 20 * MS) for n in range(count)]


def dropped(found: list[Fate]) -> list[int]:
    return [number for number, fate in enumerate(found) if not fate.due_ns]


def test_the_same_seed_drops_the_same_datagrams_of_a_stream_and_its_share_of_them() -> None:
    fault = DatagramFault(action="drop", share=0.1)
    first = dropped(fates(fault, 10_000))
    assert first == dropped(fates(fault, 10_000))
    assert first != dropped(fates(fault, 10_000, seed=2))
    # Three standard deviations of a binomial distribution.
    assert 910 <= len(first) <= 1090


def test_another_stream_changes_nothing_for_those_there_are() -> None:
    schedule = Schedule([DatagramFault(action="drop", share=0.5)], 1, ARMED)
    mixed = []
    for n in range(200):
        mixed.append(schedule.fate("down", 0, audio(n), ARMED + n * 20 * MS))
        schedule.fate("down", 1, audio(n, ssrc=9), ARMED + n * 20 * MS)
    assert dropped(mixed) == dropped(fates(DatagramFault(action="drop", share=0.5), 200))


def test_a_periodic_fault_acts_in_the_first_part_of_each_period_of_its_time() -> None:
    fault = DatagramFault(action="drop", from_s=1.0, for_s=5.0, period_s=2.0, on_s=0.5)
    seconds = [n * 0.02 for n in dropped(fates(fault))]
    expected = [n * 0.02 for n in range(1000) if 1 <= n * 0.02 < 6 and (n * 0.02 - 1) % 2 < 0.5 - 1e-9]
    assert seconds == pytest.approx(expected)


def test_what_is_held_comes_all_at_once_when_the_stall_ends() -> None:
    found = fates(DatagramFault(action="hold", from_s=3.0, for_s=1.5), 300)
    held = [fate.due_ns[0] for n, fate in enumerate(found) if 3.0 <= n * 0.02 < 4.5]
    assert set(held) == {ARMED + 4500 * MS}
    assert len(held) == 75
    assert all(fate.due_ns == (ARMED + n * 20 * MS,) for n, fate in enumerate(found) if n * 0.02 < 3)


def test_jitter_is_spread_evenly_and_the_same_for_all_packets_of_a_frame() -> None:
    found = fates(DatagramFault(action="delay", delay_ms=40, jitter_ms=20), 5000)
    extra = sorted((fate.due_ns[0] - ARMED) / MS - n * 20 - 40 for n, fate in enumerate(found))
    assert extra[0] >= 0
    assert extra[-1] <= 20
    assert extra[len(extra) // 2] == pytest.approx(10, abs=1)
    assert extra[len(extra) * 19 // 20] == pytest.approx(19, abs=0.5)
    schedule = Schedule([DatagramFault(action="delay", jitter_ms=20)], 1, ARMED)
    frame = [schedule.fate("down", 0, Header("video", 7, n, 3000), ARMED).due_ns[0] for n in range(5)]
    assert len(set(frame)) == 1


def test_a_delayed_share_is_overtaken() -> None:
    found = fates(DatagramFault(action="delay", share=0.1, delay_ms=50))
    arrivals = sorted(range(len(found)), key=lambda n: found[n].due_ns[0])
    assert sum(later < earlier for earlier, later in pairwise(arrivals)) > 50


def test_repeats_and_damage_are_marked() -> None:
    repeated = fates(DatagramFault(action="repeat"), 3)
    assert [fate.due_ns for fate in repeated] == [(ARMED + n * 20 * MS,) * 2 for n in range(3)]
    assert fates(DatagramFault(action="damage"), 1) == [Fate((ARMED,), 0, damaged=True)]


def test_a_fault_is_for_its_direction_kind_and_receivers_alone() -> None:
    fault = DatagramFault(action="drop", direction="down", media=("audio",), receivers=1)
    schedule = Schedule([fault], 1, ARMED)
    assert schedule.fate("up", 0, audio(1), ARMED).due_ns
    assert schedule.fate("down", 0, Header("video", 2, 1, 1), ARMED).due_ns
    assert schedule.fate("down", 0, Header("rtcp", 2), ARMED).due_ns
    assert not schedule.fate("down", 0, audio(1), ARMED).due_ns
    assert schedule.fate("down", 1, audio(1), ARMED).due_ns, "the second receiver"


def test_rtcp_alone_makes_nobody_a_receiver() -> None:
    schedule = Schedule([DatagramFault(action="drop", direction="down", receivers=1)], 1, ARMED)
    schedule.fate("down", 5, Header("rtcp", 1), ARMED)
    assert not schedule.fate("down", 6, audio(1), ARMED).due_ns


def test_faults_add_up_and_a_dropped_datagram_stays_dropped() -> None:
    both = [DatagramFault(action="delay", delay_ms=10), DatagramFault(action="delay", delay_ms=5)]
    assert Schedule(both, 1, ARMED).fate("up", 0, audio(1), ARMED).due_ns == (ARMED + 15 * MS,)
    lost = [DatagramFault(action="drop"), DatagramFault(action="repeat")]
    assert Schedule(lost, 1, ARMED).fate("up", 0, audio(1), ARMED) == Fate((), 0)


@pytest.mark.parametrize(
    ("datagram", "header"),
    [
        (bytes([0x80, 100, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7]) + bytes(20), Header("audio", 7, 5, 9)),
        (bytes([0x90, 0x80 | 101, 1, 0, 0, 0, 0, 9, 0, 0, 0, 7]), Header("video", 7, 256, 9)),
        (bytes([0x80, 102, 0, 5, 0, 0, 0, 9, 0, 0, 0, 7]), Header("repair", 7, 5, 9)),
        (bytes([0x81, 201, 0, 7, 0, 0, 0, 3]) + bytes(8), Header("rtcp", 3)),
        (bytes([0, 1]) + bytes(18), Header("other")),
        (bytes([22, 254, 253]) + bytes(30), Header("other")),
        (b"\x80", Header("other")),
    ],
)
def test_a_header_is_read_from_what_is_in_the_clear(datagram: bytes, header: Header) -> None:
    assert read_header(datagram) == header


def test_a_fault_survives_its_way_to_the_proxy() -> None:
    fault = DatagramFault(action="hold", direction="up", media=("rtcp",), for_s=1.5)
    assert from_plain(plain(fault)) == fault
