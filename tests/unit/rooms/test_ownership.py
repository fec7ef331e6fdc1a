"""Whose transports end when a newer session takes over, by the orders in which clients come back."""

from __future__ import annotations

from meeshy_sfu.media.ids import TransportId
from meeshy_sfu.rooms.ownership import CLAIM_S, Direction, Ownership


class Place:
    """A participant's transports by short names."""

    def __init__(self) -> None:
        self.ownership = Ownership()

    def make(self, name: str, direction: Direction, *, at: float = 0.0) -> None:
        claim = self.ownership.claim(direction)
        assert self.ownership.add(TransportId(name), direction, claim, now_s=at)

    def make_both(self, name: str, *, at: float = 0.0) -> None:
        self.make(f"{name}-send", "send", at=at)
        self.make(f"{name}-recv", "recv", at=at)

    def begin(self, *, at: float = 0.0) -> list[str]:
        closed = self.ownership.begin(now_s=at)
        for transport_id in closed:
            self.ownership.remove(transport_id)
        return list(closed)


def test_the_first_session_adopts_what_the_participant_has_made() -> None:
    place = Place()
    place.make_both("a")
    assert place.begin(at=100.0) == []
    assert place.ownership.of_session(now_s=100.0) == ["a-send", "a-recv"]


def test_the_next_session_closes_what_the_former_owned() -> None:
    place = Place()
    place.make_both("a")
    place.begin()
    assert place.begin() == ["a-send", "a-recv"]
    place.make_both("b")
    assert place.ownership.of_session(now_s=0.0) == ["b-send", "b-recv"]
    assert place.begin() == ["b-send", "b-recv"]


def test_what_was_made_after_the_session_began_is_its_own() -> None:
    place = Place()
    place.begin()
    place.make_both("a")
    assert place.begin() == ["a-send", "a-recv"]


def test_transports_first_then_the_session_while_the_former_is_still_there() -> None:
    place = Place()
    place.make_both("a")
    place.begin()
    place.make_both("b", at=50.0)
    assert place.ownership.has_successor(now_s=51.0)
    assert place.begin(at=51.0) == ["a-send", "a-recv"]
    assert place.ownership.of_session(now_s=51.0) == ["b-send", "b-recv"]
    assert not place.ownership.has_successor(now_s=51.0)


def test_transports_first_then_the_session_after_the_former_broke_off() -> None:
    place = Place()
    place.make("a-send", "send")
    place.begin()
    place.ownership.away()
    place.make_both("b", at=1.0)
    assert place.ownership.has_successor(now_s=1000.0)
    assert place.begin(at=1000.0) == ["a-send"]


def test_a_second_transport_that_nobody_claims_is_the_sessions() -> None:
    place = Place()
    place.make_both("a")
    place.begin()
    place.make("a-screen", "send", at=10.0)
    assert place.ownership.has_successor(now_s=10.0 + CLAIM_S - 1)
    assert not place.ownership.has_successor(now_s=10.0 + CLAIM_S)
    assert place.begin(at=10.0 + CLAIM_S) == ["a-send", "a-recv", "a-screen"]


def test_a_replacement_of_a_closed_transport_is_the_sessions() -> None:
    place = Place()
    place.make_both("a")
    place.begin()
    place.ownership.remove(TransportId("a-send"))
    place.make("a-send-2", "send")
    assert place.begin() == ["a-recv", "a-send-2"]


def test_a_session_that_resumes_goes_on_with_everything() -> None:
    place = Place()
    place.make_both("a")
    place.begin()
    place.ownership.away()
    place.make("b-send", "send")
    place.ownership.resume()
    assert place.ownership.of_session(now_s=0.0) == ["a-send", "a-recv", "b-send"]
    assert place.begin() == ["a-send", "a-recv", "b-send"]


def test_what_is_ready_after_its_session_was_replaced_is_refused() -> None:
    ownership = Ownership()
    ownership.begin(now_s=0.0)
    claim = ownership.claim("send")
    ownership.begin(now_s=0.0)
    assert not ownership.add(TransportId("late"), "send", claim, now_s=0.0)
    assert ownership.of_session(now_s=0.0) == []


def test_what_a_coming_session_made_before_it_began_is_its_own_when_it_is_ready_after() -> None:
    ownership = Ownership()
    ownership.begin(now_s=0.0)
    ownership.add(TransportId("a-send"), "send", ownership.claim("send"), now_s=0.0)
    claim = ownership.claim("send")
    ownership.begin(now_s=1.0)
    ownership.remove(TransportId("a-send"))
    assert ownership.add(TransportId("b-send"), "send", claim, now_s=1.0)
    assert ownership.of_session(now_s=1.0) == ["b-send"]


def test_without_sessions_nothing_is_anybodys() -> None:
    place = Place()
    place.make_both("a")
    assert not place.ownership.has_begun
    assert place.ownership.has_successor(now_s=1000.0)
