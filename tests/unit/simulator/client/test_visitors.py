"""Numbers of participants: bots by their user, visitors as they are met."""

from __future__ import annotations

from simulator.client.visitors import FIRST_VISITOR, LAST_VISITOR, VisitorIndex


def test_bots_are_known_by_their_user_and_everyone_else_is_a_visitor() -> None:
    index = VisitorIndex({"bot-1": 1, "bot-2": 2})
    index.learn({"participantId": "a", "userId": "bot-2"})
    index.learn({"participantId": "b", "userId": "ada"})
    index.learn({"participantId": "c", "anonymousUserId": "bot-1"})
    assert (index.number("a"), index.number("b"), index.number("c")) == (2, FIRST_VISITOR, FIRST_VISITOR + 1)
    assert index.number("d") is None
    assert index.visitors(frozenset("abcd")) == {"b", "c"}


def test_a_participant_keeps_its_number_and_a_bot_that_knows_itself_is_none() -> None:
    index = VisitorIndex({"bot-1": 1})
    index.add("self", 1)
    index.learn({"participantId": "self", "userId": "renamed"})
    for _ in range(2):
        index.learn({"participantId": "b", "userId": "ada"})
    assert (index.number("self"), index.number("b")) == (1, FIRST_VISITOR)
    assert index.visitors(frozenset(("self", "b"))) == {"b"}


def test_numbers_fit_into_what_a_stream_can_carry() -> None:
    index = VisitorIndex({})
    for number in range(LAST_VISITOR - FIRST_VISITOR + 2):
        index.learn({"participantId": str(number), "userId": "ada"})
    assert index.number(str(LAST_VISITOR - FIRST_VISITOR)) == LAST_VISITOR < 2**16
    assert index.number(str(LAST_VISITOR - FIRST_VISITOR + 1)) == FIRST_VISITOR
