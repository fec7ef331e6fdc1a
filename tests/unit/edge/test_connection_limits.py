"""Who has to go when there is no room for more connections."""

from __future__ import annotations

import random

import pytest

from meeshy_sfu.edge.connection_limits import Crowd, Shown, reserve_of


def crowd(limit: int = 1000, per_address: int = 1000) -> Crowd[str]:
    return Crowd(limit, per_address)


def test_a_newcomer_takes_the_place_of_the_oldest_stranger_of_its_address() -> None:
    found = crowd(per_address=3)
    assert [found.enter(f"s{number}", "nat") for number in range(3)] == [[], [], []]
    assert found.enter("neighbour", "nat") == ["s0"]
    assert found.enter("other", "elsewhere") == []
    assert found.enter("s3", "nat") == ["s1"]
    assert "neighbour" in found


def test_whoever_has_shown_a_token_outlives_any_number_of_strangers() -> None:
    found = crowd(limit=16, per_address=8)
    found.enter("known", "nat")
    found.enter("caller", "nat")
    assert found.prove("known", Shown.TOKEN, "bob") == []
    assert found.prove("caller", Shown.SOCKET, "alice") == []
    for number in range(100):
        gone = found.enter(f"s{number}", "nat") + found.enter(f"t{number}", f"net-{number % 40}")
        assert not {"known", "caller"} & set(gone)
        assert len(found) <= 16
    assert {"known", "caller"} <= set(found._places)


def test_beyond_the_limit_of_all_the_heaviest_address_loses() -> None:
    found = crowd(limit=10)
    for number in range(4):
        found.enter(f"light{number}", f"net-{number}")
    for number in range(6):
        found.enter(f"heavy{number}", "heavy")
    assert found.enter("newcomer", "new") == ["heavy0"]
    assert found.enter("heavy6", "heavy") == ["heavy1"]
    assert found.enter("light4", "net-4") == ["heavy2"]


def test_a_full_house_of_people_still_lets_strangers_show_their_token() -> None:
    found = crowd(limit=32)
    for number in range(32):
        found.enter(f"p{number}", f"net-{number}")
        assert found.prove(f"p{number}", Shown.SOCKET, f"person-{number}") == []
    assert found.enter("health", "127.0.0.1") == []
    assert found.enter("stranger", "nat") == []
    assert found.enter("next", "nat") == ["stranger"], "the heavier address loses, not who watches"
    assert found.prove("next", Shown.SOCKET, "late") is None
    assert "next" in found
    assert found.number(Shown.SOCKET) == 32


def test_one_person_with_many_sockets_makes_room_for_a_neighbour() -> None:
    found = crowd(per_address=4)
    for number in range(4):
        found.enter(f"m{number}", "nat")
        found.prove(f"m{number}", Shown.SOCKET, "mallory")
    found.enter("alice", "nat")
    assert found.prove("alice", Shown.SOCKET, "alice") == ["m0"]
    found.enter("m4", "nat")
    assert found.prove("m4", Shown.SOCKET, "mallory") == ["m1"]
    assert "alice" in found


def test_a_request_with_a_token_goes_before_a_live_socket() -> None:
    found = crowd(per_address=2)
    for name, shown in (("idle", Shown.TOKEN), ("live", Shown.SOCKET)):
        found.enter(name, "nat")
        found.prove(name, shown, name)
    found.enter("new", "nat")
    assert found.prove("new", Shown.SOCKET, "new") == ["idle"]
    found.enter("asks", "nat")
    # all others carry a call: it is answered, and remains the first to go
    assert found.prove("asks", Shown.TOKEN, "asks") == []
    assert found.enter("again", "nat") == ["asks"]


def test_who_has_lost_the_token_is_a_stranger_again() -> None:
    found = crowd(per_address=2)
    for name in ("alice", "bob"):
        found.enter(name, "nat")
        found.prove(name, Shown.SOCKET, name)
    found.doubt("alice")
    assert found.number(Shown.SOCKET) == 1
    assert found.enter("carol", "nat") == ["alice"]


def test_services_and_trusted_proxies_have_no_limit_per_address() -> None:
    found = crowd(limit=40, per_address=2)
    for number in range(10):
        assert found.enter(f"proxy{number}", "10.0.0.1", is_proxy=True) == []
    for number in range(10):
        found.enter(f"service{number}", "10.0.0.2")
        assert found.prove(f"service{number}", Shown.SOCKET, "gw", is_service=True) == []
    assert len(found) == 20
    for number in range(40):
        found.enter(f"more{number}", "10.0.0.1", is_proxy=True)
    assert len(found) <= 40, "but the limit of all"
    assert found.number(Shown.SOCKET) == 10


def test_the_first_stranger_can_be_dropped_when_descriptors_are_short() -> None:
    found = crowd()
    assert found.drop_stranger() is None
    found.enter("alice", "a")
    found.prove("alice", Shown.TOKEN, "alice")
    found.enter("s0", "b")
    assert found.drop_stranger() == "s0"
    assert found.drop_stranger() is None
    assert "alice" in found


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_limits_hold_and_nobody_is_lost_unseen(seed: int) -> None:
    chance = random.Random(seed)
    limit, per_address = chance.randint(1, 40), chance.randint(1, 12)
    found = crowd(limit, per_address)
    here: dict[str, str] = {}
    live: set[str] = set()
    for step in range(600):
        name, address = f"c{step}", f"net-{chance.randint(0, 6)}"
        some = chance.choice(sorted(here) or ["nobody"])
        gone: list[str] | None = []
        match chance.randint(0, 5):
            case 0 | 1 | 2:
                here[name] = address
                gone = found.enter(name, address)
                assert name not in gone, "a newcomer gets in"
            case 3:
                owner = f"owner-{chance.randint(0, 9)}"
                shown = chance.choice((Shown.TOKEN, Shown.SOCKET))
                gone = found.prove(some, shown, owner)
                assert some not in (gone or ())
                if gone is not None and shown is Shown.SOCKET and some in here:
                    live.add(some)
            case 4:
                found.doubt(some)
                live.discard(some)
            case 5:
                found.leave(some)
                here.pop(some, None)
                live.discard(some)
        for member in gone or ():
            del here[member]
            live.discard(member)
        assert set(here) == set(found._places)
        assert len(found) <= limit + reserve_of(limit)
        addresses = [list(here.values()).count(one) for one in set(here.values())]
        assert max(addresses, default=0) <= per_address + reserve_of(per_address)
        assert found.number(Shown.SOCKET) == len(live)
    for member in list(here):
        found.leave(member)
    assert len(found) == 0
    assert not found._addresses
