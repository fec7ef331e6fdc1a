"""Leaks of a run, and contradictions in its database: each check fails for its own reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.analysis.leaks import is_settled, leaks
from simulator.analysis.raw_run import RawRun
from simulator.samples.end_state import (
    FILE,
    CallRow,
    ChangeRow,
    EndState,
    MetricsRow,
    ParticipantRow,
    Resources,
    Service,
)
from simulator.samples.schema import SAMPLE_SHOWN
from tests.unit.simulator.conftest import START, S, SyntheticRun

BEGIN_S = START / S
TASKS = {"Jobs._run": 2, "RequestHandler.start": 1}


def stock(**changes: Any) -> Resources:
    return Resources.model_validate(
        {"sockets": 5, "files": 20, "rss_bytes": 100_000_000, "tasks": dict(TASKS)} | changes
    )


def told(bot: int, epoch: int, new: str, at_s: float, **changes: object) -> dict[str, object]:
    at = START + int(at_s * S)
    return {
        "bot": bot,
        "call_id": "c",
        "epoch": epoch,
        "old": "sfu" if new == "p2p" else "p2p",
        "new": new,
        "reason": "participant_joined",
        "prewarmed": True,
        "peers": str(3 - bot),
        "decided_ns": at - S // 10,
        "told_ns": at - S // 11,
        "media_ns": at - S // 20,
        "confirmed_ns": at - S // 30,
        "completed_ns": at,
        "success": True,
        "error": "",
        **changes,
    }


@pytest.fixture
def call(make_run: Any) -> SyntheticRun:
    """Three participants: two for fifteen seconds, a third from three to seven; the call moves there and back."""
    run: SyntheticRun = make_run(scenario={"pattern": "switch"})
    run.expected, run.streams, run.joins = [], [], []
    spans = {1: (0.0, 15.0), 2: (0.1, 14.9), 3: (3.0, 7.0)}
    run.arrivals = [
        {
            "bot": bot,
            "call_id": "c",
            "mode": "p2p",
            "started_ns": START + int(begin * S),
            "flowing_ns": 0 if bot == 1 else START + int((begin + 0.1) * S),
            "left_ns": START + int(end * S),
        }
        for bot, (begin, end) in spans.items()
    ]
    run.latency = [
        {
            "receiver": receiver,
            "sender": sender,
            "kind": kind,
            "flags": SAMPLE_SHOWN,
            "seq": number,
            "recv_unix_ns": START + number * S // 50,
            "owd_ns": S // 1000,
        }
        for receiver in spans
        for sender in spans
        for kind in (0, 1)
        for number in range(500)
        if receiver != sender
    ]
    run.send_what_arrived()
    run.transitions = [told(bot, 1, "sfu", 3.2) for bot in (1, 2)]
    run.transitions += [told(bot, 2, "p2p", 7.2) for bot in (1, 2)]
    run.end_state = EndState(
        rooms=[],
        services=[Service(name=name, before=stock(), after=stock()) for name in ("media", "gateway")],
        calls=[
            CallRow(
                call_id="c",
                mode="p2p",
                status="ended",
                created_at=BEGIN_S,
                ended_at=BEGIN_S + 15.1,
                end_reason="normal",
                sfu_room_id=None,
                mode_change_count=2,
            )
        ],
        participants=[
            ParticipantRow(
                call_id="c",
                user=f"person-{bot}",
                status="disconnected",
                joined_at=BEGIN_S + begin + 0.05,
                left_at=BEGIN_S + end + 0.05,
                sfu_fields=[],
            )
            for bot, (begin, end) in spans.items()
        ],
        changes=[
            ChangeRow(call_id="c", old="p2p", new="sfu", at=BEGIN_S + 3.2),
            ChangeRow(call_id="c", old="sfu", new="p2p", at=BEGIN_S + 7.2),
        ],
        metrics=[MetricsRow(call_id="c", peak_participants=3, total_participants=3)],
    )
    return run


def test_a_run_without_leaks_passes(call: SyntheticRun, tmp_path: Path) -> None:
    summary = call.summary(tmp_path)
    assert summary.leftovers is not None
    assert summary.leftovers.findings == []
    assert summary.verdict == "pass"
    assert call.end_state is not None
    assert is_settled(call.end_state)


def found(run: SyntheticRun) -> EndState:
    assert run.end_state is not None
    return run.end_state


def after(run: SyntheticRun, name: str, **changes: Any) -> None:
    service = next(service for service in found(run).services if service.name == name)
    service.after = stock(**changes)


Bend = Callable[[SyntheticRun], None]
LEFT: list[tuple[str, Bend, str, str]] = [
    (
        "room",
        lambda run: found(run).rooms.append("c"),
        "leftovers.rooms==0",
        "call c still has a room on the media server",
    ),
    (
        "call",
        lambda run: setattr(found(run).calls[0], "status", "active"),
        "leftovers.calls==0",
        "call c is still active in the database",
    ),
    (
        "participant",
        lambda run: setattr(found(run).participants[2], "status", "connected"),
        "leftovers.people==0",
        "person-3 is still connected in call c in the database",
    ),
    (
        "sockets",
        lambda run: after(run, "gateway", sockets=30),
        "leftovers.sockets<=10",
        "the gateway has 25 more sockets open than at its start",
    ),
    (
        "files",
        lambda run: after(run, "media", files=100),
        "leftovers.files<=30",
        "the media server has 80 more files open than at its start",
    ),
    (
        "tasks",
        lambda run: after(run, "gateway", tasks=TASKS | {"Leak.forever": 20}),
        "leftovers.tasks<=10",
        "the gateway has 20 more tasks than at its start, most of them 20 Leak.forever",
    ),
]


@pytest.mark.parametrize(
    ("bend", "objective", "words"), [row[1:] for row in LEFT], ids=[row[0] for row in LEFT]
)
def test_a_leak_fails_the_verdict_and_is_named(
    call: SyntheticRun, tmp_path: Path, bend: Bend, objective: str, words: str
) -> None:
    bend(call)
    assert not (is_settled(found(call)) and objective != "leftovers.people==0")
    summary = call.summary(tmp_path)
    assert summary.verdict == "fail"
    assert any(reason.startswith(objective) for reason in summary.reasons), summary.reasons
    assert words in summary.reasons


def test_timers_of_pings_outlive_their_sockets_and_are_no_leak(call: SyntheticRun, tmp_path: Path) -> None:
    after(call, "gateway", tasks=TASKS | {"AsyncSocket._send_ping": 500})
    assert call.summary(tmp_path).verdict == "pass"


def test_growth_of_memory_is_reported_and_not_judged(call: SyntheticRun, tmp_path: Path) -> None:
    after(call, "gateway", rss_bytes=900_000_000)
    summary = call.summary(tmp_path)
    assert summary.leftovers is not None
    assert summary.leftovers.gateway_growth_bytes == 800_000_000
    assert summary.verdict == "pass"


def without(rows: list[Any], place: int) -> None:
    del rows[place]


CONTRADICTIONS: list[tuple[str, Bend, str]] = [
    ("the row's mode", lambda run: setattr(found(run).calls[0], "mode", "sfu"), "is sfu in call_sessions"),
    (
        "the count of changes",
        lambda run: setattr(found(run).calls[0], "mode_change_count", 5),
        "changed 5 times by call_sessions, but 2 times by call_metrics",
    ),
    (
        "a change that is not kept",
        lambda run: without(found(run).changes, 1),
        "notified that epoch 2 moved them to p2p, but call_metrics has no such change",
    ),
    (
        "a change without a notification",
        lambda run: setattr(run, "transitions", run.transitions[:2]),
        "has a change from sfu to p2p that no participant was notified of",
    ),
    (
        "a change at another time",
        lambda run: setattr(found(run).changes[0], "at", BEGIN_S + 90),
        "epoch 1 moved them to sfu, but call_metrics has no such change",
    ),
    (
        "changes that do not follow each other",
        lambda run: found(run).changes.reverse(),
        "a change from sfu in call_metrics while it was p2p",
    ),
    (
        "participants who were notified differently",
        lambda run: run.transitions[1].update(success=False),
        "participants were notified differently of epoch 1",
    ),
    ("a call without a row", lambda run: found(run).calls.clear(), "is not in the database"),
    (
        "a participant without a row",
        lambda run: without(found(run).participants, 0),
        "person-1 was in call c, but has no row",
    ),
    (
        "a row without a participant",
        lambda run: run.arrivals.pop(),
        "person-3 has a row in call c, but no bot joined",
    ),
    (
        "a participant with two rows",
        lambda run: found(run).participants.append(found(run).participants[0]),
        "person-1 has 2 rows",
    ),
    (
        "who left later",
        lambda run: setattr(found(run).participants[2], "left_at", BEGIN_S + 60),
        "person-3 left call c +53.0 s from when the bot did",
    ),
    (
        "who left before the bot did",
        lambda run: setattr(found(run).participants[0], "left_at", BEGIN_S + 4),
        "person-1 left call c -11.0 s",
    ),
    (
        "who joined at another time",
        lambda run: setattr(found(run).participants[2], "joined_at", BEGIN_S + 1),
        "person-3 joined call c -2.0 s",
    ),
    (
        "ids of the media server",
        lambda run: found(run).participants[0].sfu_fields.append("sfu_send_transport_id"),
        "person-1 keeps sfu_send_transport_id",
    ),
    (
        "a room of a call that is peer to peer",
        lambda run: setattr(found(run).calls[0], "sfu_room_id", "r"),
        "is p2p, but keeps room r",
    ),
    (
        "an end without reason",
        lambda run: setattr(found(run).calls[0], "end_reason", None),
        "without the time or the reason of its end",
    ),
    ("counters that are not there", lambda run: found(run).metrics.clear(), "has no row in call_metrics"),
    (
        "the count of participants",
        lambda run: setattr(found(run).metrics[0], "total_participants", 9),
        "had 9 participants by call_metrics, but 3 by call_participants",
    ),
]


@pytest.mark.parametrize(
    ("bend", "words"), [row[1:] for row in CONTRADICTIONS], ids=[row[0] for row in CONTRADICTIONS]
)
def test_rows_that_contradict_what_the_bots_recorded_fail_the_verdict(
    call: SyntheticRun, tmp_path: Path, bend: Bend, words: str
) -> None:
    bend(call)
    summary = call.summary(tmp_path)
    assert summary.verdict == "fail"
    assert any(words in reason for reason in summary.reasons), summary.reasons


def test_who_finds_a_change_on_coming_back_need_not_know_the_mode_before(
    call: SyntheticRun, tmp_path: Path
) -> None:
    rows = [row for row in call.transitions if row["epoch"] == 1]
    assert rows
    for row in rows:
        row.update(reason="", old="sfu")
    assert call.summary(tmp_path).verdict == "pass"


def test_a_missed_notification_around_a_fault_is_no_contradiction(call: SyntheticRun, tmp_path: Path) -> None:
    call.transitions = call.transitions[:2]
    call.deaths = [{"unix_ns": START + 6 * S, "what": "gateway"}]
    assert leaks(RawRun.read(call.write(tmp_path))).findings == []  # type: ignore[union-attr]


def test_a_change_of_the_last_moment_needs_no_notification(call: SyntheticRun, tmp_path: Path) -> None:
    found(call).changes.append(ChangeRow(call_id="c", old="p2p", new="sfu", at=BEGIN_S + 14.8))
    found(call).calls[0].mode, found(call).calls[0].mode_change_count = "sfu", 3
    assert leaks(RawRun.read(call.write(tmp_path))).findings == []  # type: ignore[union-attr]


def test_a_run_that_was_not_inspected_has_no_such_figures(run: SyntheticRun, tmp_path: Path) -> None:
    assert run.summary(tmp_path).leftovers is None


def test_an_end_state_of_an_earlier_version_is_still_read(call: SyntheticRun, tmp_path: Path) -> None:
    written = call.write(tmp_path)
    former = json.loads((written / FILE).read_text())
    former["people"] = former.pop("participants")
    (written / FILE).unlink()
    (written / "aftermath.json").write_text(json.dumps(former))
    assert RawRun.read(written).end_state == call.end_state
