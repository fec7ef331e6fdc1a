"""A live call and its members: who may change them, and what their methods remember."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import meeshy_sfu.gateway
from meeshy_sfu.gateway.calls.call_mode import CallMode, ConversationType
from meeshy_sfu.gateway.calls.decisions import RollBack
from meeshy_sfu.gateway.calls.live_call import REPLACED_MAX, LiveCall
from meeshy_sfu.gateway.calls.member import Member
from meeshy_sfu.gateway.calls.mode import ModeController

GATEWAY = Path(meeshy_sfu.gateway.__file__).parent
OWNERS = {"calls/live_call.py", "calls/member.py"}
FIELDS = {field.name for field in (*fields(LiveCall), *fields(Member))}
MUTATORS = {"add", "append", "clear", "discard", "pop", "popitem", "remove", "set", "setdefault", "update"}
OTHERS = {
    ("calls/journal.py", "seen"): "what the checker of an event log remembers of a call",
    ("calls/mode.py", "self._transition"): "the mode machine's own transition",
    ("turn/probe.py", "self._protocol"): "aioice's client of a TURN server",
}
"""Variables whose fields have names of ours and are none of ours."""


def changes(source: str) -> Iterator[tuple[str, str]]:
    """The variables whose attributes a module changes, and the name of the attribute."""
    for node in ast.walk(ast.parse(source)):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.Delete):
            targets = [*node.targets]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            targets = [node.func.value] if node.func.attr in MUTATORS else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setattr":
            yield ast.unparse(node.args[0]), next(iter(FIELDS))
        while targets:
            target = targets.pop()
            if isinstance(target, ast.Tuple | ast.List):
                targets += target.elts
            elif isinstance(target, ast.Starred | ast.Subscript):
                targets.append(target.value)
            elif isinstance(target, ast.Attribute):
                yield ast.unparse(target.value), target.attr


def test_nobody_but_their_own_methods_changes_a_live_call_or_a_member() -> None:
    breaches = []
    for path in sorted(GATEWAY.rglob("*.py")):
        module = path.relative_to(GATEWAY).as_posix()
        if module in OWNERS:
            continue
        for variable, attribute in changes(path.read_text(encoding="utf-8")):
            if attribute in FIELDS and variable not in {"self", "cls"} and (module, variable) not in OTHERS:
                breaches.append(f"{module}: {variable}.{attribute}")
    assert breaches == [], "call a method of LiveCall or Member that says what happened"


def test_the_search_finds_every_kind_of_change() -> None:
    source = """
call.status = "active"
call.members[member.id] = member
member.sid, member.away_since_s = None, 1.0
call.busy |= True
del call.members[member.id]
call.room_ready.set()
call.unreachable.pop(member.id, None)
setattr(member, f"{media}_enabled", True)
"""
    found = [f"{variable}.{attribute}" for variable, attribute in changes(source)]
    assert len(found) == 9
    assert {"call.status", "call.members", "member.sid", "call.room_ready", "call.unreachable"} <= set(found)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def member(name: str) -> Member:
    return Member(name, f"user-{name}", False, name, "participant", NOW, True, True)


def call(*members: Member) -> LiveCall:
    mode = ModeController(ConversationType.GROUP)
    made = LiveCall("call", "c", ConversationType.GROUP, "video", "ada", "Ada", {}, NOW, mode)
    for one in members:
        made.joined(one)
    return made


def roll_back(reason: str, epoch: int = 1) -> RollBack:
    return RollBack(epoch, CallMode.P2P, CallMode.SFU, reason, frozenset(), 0.1)


def test_who_rejoins_is_the_youngest_and_what_they_reported_is_forgotten() -> None:
    ada, bob = member("ada"), member("bob")
    live = call(ada, bob)
    assert live.sfu_unreachable_for(ada, "udp blocked")
    assert not live.sfu_unreachable_for(ada, "udp blocked"), "no news"
    again = member("ada")
    live.rejoined(ada, again)
    assert list(live.members.values()) == [bob, again]
    assert live.unreachable == {}


def test_only_who_had_a_socket_before_comes_back() -> None:
    ada = member("ada")
    assert not ada.connected("s1")
    ada.disconnected(1.0)
    assert ada.connected("s2")
    assert (ada.sid, ada.away_since_s) == ("s2", None)


def test_end_empties_the_call_and_nobody_waits_for_its_room() -> None:
    ada = member("ada")
    live = call(ada)
    live.switch_waits_for_room()
    assert live.end() == (ada,)
    assert (live.ended, live.members, live.room_ready.is_set()) == (True, {}, True)


def test_failures_that_nobody_was_sent_are_stored_once_for_each_reason() -> None:
    live = call()
    stored = [live.failure_to_store(roll_back(reason)) for reason in ("full", "full", "away", "full")]
    assert stored == [True, False, True, True]
    live.mode.announce(live.mode.epoch)
    announced = roll_back("full", epoch=live.mode.announced_epoch)
    assert [live.failure_to_store(announced) for _ in range(2)] == [True, True]


def test_failures_that_are_repeated_soon_are_announced_once_for_each_reason() -> None:
    live = call()
    soon = [
        live.failure_to_announce(roll_back(reason), is_repeated_soon=True)
        for reason in ("full", "full", "away")
    ]
    assert soon == [True, False, True]
    assert live.failure_to_announce(roll_back("away"), is_repeated_soon=False)


def test_first_report_of_a_failed_switch_counts_once_and_the_last_one_is_kept() -> None:
    ada = member("ada")
    live = call(ada)
    assert [live.switch_failed_for(ada, error) for error in ("ICE failed", None)] == [True, False]
    assert live.errors == {"ada": "failed"}


def test_sockets_that_were_replaced_are_remembered_up_to_a_limit() -> None:
    live = call()
    for number in range(REPLACED_MAX + 1):
        live.replace(f"s{number}", "another socket")
    assert len(live.replaced) == REPLACED_MAX
    assert "s0" not in live.replaced
    live.reinstate("s1")
    assert "s1" not in live.replaced
