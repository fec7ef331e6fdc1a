"""The list of what has to go from media servers, as time goes on."""

from __future__ import annotations

from meeshy_sfu.gateway.media.condemned import AT_ONCE_MAX, PAUSES_S, Condemned, CondemnedList

HERE, THERE = "http://127.0.0.1:3001", "http://127.0.0.1:3002"
ROOM = Condemned(HERE, "c1")


def test_what_must_go_stays_on_the_list_until_it_is_gone() -> None:
    condemned = CondemnedList()
    condemned.add(ROOM, now_s=0.0)
    now_s = 0.0
    for tries in range(1, 100):
        assert condemned.begin_due(now_s=now_s) == [ROOM]
        assert condemned.begin_due(now_s=now_s + 1000) == [], "tried twice at once"
        assert condemned.refused(ROOM, now_s=now_s) == tries
        pause_s = PAUSES_S[min(tries, len(PAUSES_S)) - 1]
        assert condemned.begin_due(now_s=now_s + pause_s - 0.01) == []
        now_s += pause_s
    assert ROOM in condemned
    condemned.gone(ROOM)
    assert ROOM not in condemned
    assert condemned.begin_due(now_s=now_s + 1000) == []


def test_a_server_that_answers_again_is_asked_at_once_and_no_other() -> None:
    condemned = CondemnedList()
    other = Condemned(THERE, "c1")
    for what in (ROOM, other):
        condemned.add(what, now_s=0.0)
    for now_s in (0.0, 0.5, 1.5, 3.5, 7.5):
        for what in condemned.begin_due(now_s=now_s):
            condemned.refused(what, now_s=now_s)
    condemned.server_back(HERE, now_s=8.0)
    assert condemned.begin_due(now_s=8.0) == [ROOM]


def test_only_so_many_are_tried_at_once_on_a_server() -> None:
    condemned = CondemnedList()
    for number in range(AT_ONCE_MAX + 5):
        condemned.add(Condemned(HERE, f"c{number}"), now_s=0.0)
    condemned.add(Condemned(THERE, "c1"), now_s=0.0)
    first = condemned.begin_due(now_s=0.0)
    assert len(first) == AT_ONCE_MAX + 1
    condemned.gone(first[0])
    assert condemned.begin_due(now_s=0.0) == [Condemned(HERE, f"c{AT_ONCE_MAX}")]


def test_who_is_in_a_room_goes_with_it() -> None:
    condemned = CondemnedList()
    ada, elsewhere = Condemned(HERE, "c1", "ada"), Condemned(THERE, "c1", "ada")
    for what in (ada, elsewhere, Condemned(HERE, "c2", "ada"), ROOM):
        condemned.add(what, now_s=0.0)
    assert list(condemned) == [elsewhere, Condemned(HERE, "c2", "ada"), ROOM]


def test_a_room_that_counted_frees_a_place_once() -> None:
    condemned = CondemnedList()
    condemned.add(ROOM, now_s=0.0, counted=True)
    condemned.add(ROOM, now_s=1.0)
    assert condemned.gone(ROOM)
    assert not condemned.gone(ROOM)


def test_what_is_condemned_again_keeps_its_turn() -> None:
    condemned = CondemnedList()
    condemned.add(ROOM, now_s=0.0)
    condemned.begin_due(now_s=0.0)
    condemned.refused(ROOM, now_s=0.0)
    condemned.add(ROOM, now_s=0.1)
    assert condemned.begin_due(now_s=0.1) == []
