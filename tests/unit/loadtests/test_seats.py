"""Seats: who is in which call, whoever comes and goes."""

import pytest

from loadtests.seats import MOST, Seats


def test_calls_are_filled_one_after_the_other() -> None:
    seats = Seats(5)
    taken = [seats.take("local") for _ in range(12)]
    assert [seat.number for seat in taken] == list(range(12))
    assert [seat.call for seat in taken] == [0] * 5 + [1] * 5 + [2] * 2


def test_no_two_workers_have_the_same_number() -> None:
    seats = Seats(5)
    numbers = [seats.take(f"worker-{i % 3}").number for i in range(300)]
    assert len(set(numbers)) == 300


def test_a_seat_that_became_free_is_taken_before_a_call_is_begun() -> None:
    seats = Seats(3)
    for _ in range(6):
        seats.take("local")
    seats.free(4, "local")
    seats.free(1, "local")
    assert [seats.take("local").number for _ in range(3)] == [1, 4, 6]


def test_only_its_owner_frees_a_seat() -> None:
    seats = Seats(3)
    assert seats.take("one").number == 0
    seats.free(0, "another")
    seats.free(7, "one")
    assert seats.take("one").number == 1


def test_the_most_at_a_time_is_known_at_the_end() -> None:
    seats = Seats(3)
    for _ in range(4):
        seats.take("local")
    for number in range(4):
        seats.free(number, "local")
    seats.take("local")
    assert seats.most == 4


def test_there_are_no_more_seats_than_numbers_in_a_stamp() -> None:
    seats = Seats(50)
    for _ in range(MOST):
        seats.take("local")
    with pytest.raises(ValueError, match="at most"):
        seats.take("local")
