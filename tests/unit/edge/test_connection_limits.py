"""Who has to go when there is no room for more connections."""

from __future__ import annotations

import random

import pytest

from meeshy_sfu.edge.connection_limits import ConnectionLimits, Credential, reserve_of


def limits(limit: int = 1000, per_address: int = 1000) -> ConnectionLimits[str]:
    return ConnectionLimits(limit, per_address)


def test_a_newcomer_takes_the_place_of_the_oldest_stranger_of_its_address() -> None:
    found = limits(per_address=3)
    assert [found.admit(f"s{number}", "nat") for number in range(3)] == [[], [], []]
    assert found.admit("neighbour", "nat") == ["s0"]
    assert found.admit("other", "elsewhere") == []
    assert found.admit("s3", "nat") == ["s1"]
    assert "neighbour" in found


def test_whoever_has_shown_a_token_outlives_any_number_of_strangers() -> None:
    found = limits(limit=16, per_address=8)
    found.admit("known", "nat")
    found.admit("caller", "nat")
    assert found.authenticate("known", Credential.TOKEN, "bob") == []
    assert found.authenticate("caller", Credential.SOCKET, "alice") == []
    for number in range(100):
        gone = found.admit(f"s{number}", "nat") + found.admit(f"t{number}", f"net-{number % 40}")
        assert not {"known", "caller"} & set(gone)
        assert len(found) <= 16
    assert {"known", "caller"} <= set(found._entries)


def test_beyond_the_limit_of_all_the_heaviest_address_loses() -> None:
    found = limits(limit=10)
    for number in range(4):
        found.admit(f"light{number}", f"net-{number}")
    for number in range(6):
        found.admit(f"heavy{number}", "heavy")
    assert found.admit("newcomer", "new") == ["heavy0"]
    assert found.admit("heavy6", "heavy") == ["heavy1"]
    assert found.admit("light4", "net-4") == ["heavy2"]


def test_a_full_house_of_people_still_lets_strangers_show_their_token() -> None:
    found = limits(limit=32)
    for number in range(32):
        found.admit(f"p{number}", f"net-{number}")
        assert found.authenticate(f"p{number}", Credential.SOCKET, f"person-{number}") == []
    assert found.admit("health", "127.0.0.1") == []
    assert found.admit("stranger", "nat") == []
    assert found.admit("next", "nat") == ["stranger"], "the heavier address loses, not who watches"
    assert found.authenticate("next", Credential.SOCKET, "late") is None
    assert "next" in found
    assert found.count(Credential.SOCKET) == 32


def test_one_person_with_many_sockets_makes_room_for_a_neighbour() -> None:
    found = limits(per_address=4)
    for number in range(4):
        found.admit(f"m{number}", "nat")
        found.authenticate(f"m{number}", Credential.SOCKET, "mallory")
    found.admit("alice", "nat")
    assert found.authenticate("alice", Credential.SOCKET, "alice") == ["m0"]
    found.admit("m4", "nat")
    assert found.authenticate("m4", Credential.SOCKET, "mallory") == ["m1"]
    assert "alice" in found


def test_a_request_with_a_token_goes_before_a_live_socket() -> None:
    found = limits(per_address=2)
    for name, credential in (("idle", Credential.TOKEN), ("live", Credential.SOCKET)):
        found.admit(name, "nat")
        found.authenticate(name, credential, name)
    found.admit("new", "nat")
    assert found.authenticate("new", Credential.SOCKET, "new") == ["idle"]
    found.admit("asks", "nat")
    # all others carry a call: it is answered, and remains the first to go
    assert found.authenticate("asks", Credential.TOKEN, "asks") == []
    assert found.admit("again", "nat") == ["asks"]


def test_who_has_lost_the_token_is_a_stranger_again() -> None:
    found = limits(per_address=2)
    for name in ("alice", "bob"):
        found.admit(name, "nat")
        found.authenticate(name, Credential.SOCKET, name)
    found.revoke("alice")
    assert found.count(Credential.SOCKET) == 1
    assert found.admit("carol", "nat") == ["alice"]


def test_services_and_trusted_proxies_have_no_limit_per_address() -> None:
    found = limits(limit=40, per_address=2)
    for number in range(10):
        assert found.admit(f"proxy{number}", "10.0.0.1", is_proxy=True) == []
    for number in range(10):
        found.admit(f"service{number}", "10.0.0.2")
        assert found.authenticate(f"service{number}", Credential.SOCKET, "gw", is_service=True) == []
    assert len(found) == 20
    for number in range(40):
        found.admit(f"more{number}", "10.0.0.1", is_proxy=True)
    assert len(found) <= 40, "but the limit of all"
    assert found.count(Credential.SOCKET) == 10


def test_the_first_stranger_can_be_dropped_when_descriptors_are_short() -> None:
    found = limits()
    assert found.evict_unauthenticated() is None
    found.admit("alice", "a")
    found.authenticate("alice", Credential.TOKEN, "alice")
    found.admit("s0", "b")
    assert found.evict_unauthenticated() == "s0"
    assert found.evict_unauthenticated() is None
    assert "alice" in found


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_limits_hold_and_nobody_is_lost_unseen(seed: int) -> None:
    chance = random.Random(seed)
    limit, per_address = chance.randint(1, 40), chance.randint(1, 12)
    found = limits(limit, per_address)
    here: dict[str, str] = {}
    live: set[str] = set()
    for step in range(600):
        name, address = f"c{step}", f"net-{chance.randint(0, 6)}"
        some = chance.choice(sorted(here) or ["nobody"])
        gone: list[str] | None = []
        match chance.randint(0, 5):
            case 0 | 1 | 2:
                here[name] = address
                gone = found.admit(name, address)
                assert name not in gone, "a newcomer gets in"
            case 3:
                owner = f"owner-{chance.randint(0, 9)}"
                credential = chance.choice((Credential.TOKEN, Credential.SOCKET))
                gone = found.authenticate(some, credential, owner)
                assert some not in (gone or ())
                if gone is not None and credential is Credential.SOCKET and some in here:
                    live.add(some)
            case 4:
                found.revoke(some)
                live.discard(some)
            case 5:
                found.remove(some)
                here.pop(some, None)
                live.discard(some)
        for member in gone or ():
            del here[member]
            live.discard(member)
        assert set(here) == set(found._entries)
        assert len(found) <= limit + reserve_of(limit)
        addresses = [list(here.values()).count(one) for one in set(here.values())]
        assert max(addresses, default=0) <= per_address + reserve_of(per_address)
        assert found.count(Credential.SOCKET) == len(live)
    for member in list(here):
        found.remove(member)
    assert len(found) == 0
    assert not found._addresses
