from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from meeshy_sfu.db.models import NAME, Call, Figures, ModeTransition, Participant
from meeshy_sfu.db.repository import ROLL_BACKS_MAX, SFU_FIELDS, new_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from meeshy_sfu.db.repository import Repository

T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def new_call(calls: Repository, conversation: str = "c1", *, at: datetime = T0) -> Call:
    return await calls.create_call(conversation, "video", "ada", mode="p2p", settings={"a": 1}, now=at)


def participant(call: Call, user: str | None, guest: str | None = None) -> Participant:
    return Participant(
        id=new_id(),
        call_session_id=call.id,
        user_id=user,
        anonymous_user_id=guest,
        role="participant",
        status="connected",
        joined_at=T0,
        left_at=None,
        audio_enabled=True,
        video_enabled=True,
        screen_share_enabled=False,
        device_info={NAME: user or guest},
        **dict.fromkeys(SFU_FIELDS),
    )


async def join(calls: Repository, call: Call, user: str | None, guest: str | None = None) -> Participant:
    row = participant(call, user, guest)
    await calls.store_participant(row, T0)
    return row


async def stored(calls: Repository, call: Call) -> Call:
    found = await calls.get_call(call.id)
    assert found is not None
    return found


def to_sfu(at: datetime, epoch: int = 1) -> ModeTransition:
    return ModeTransition(epoch, "p2p", "sfu", at, 0.4, "participant_joined")


def to_p2p(at: datetime, epoch: int = 2) -> ModeTransition:
    return ModeTransition(epoch, "sfu", "p2p", at, 0.2, "participant_left")


async def test_a_new_call_has_the_defaults_of_the_plan(calls: Repository) -> None:
    call = await new_call(calls)
    assert (call.status, call.mode, call.mode_change_count, call.sfu_room_id) == ("initiated", "p2p", 0, None)
    assert call.settings == {"a": 1}
    assert call.created_at == T0
    assert len(call.id) == 24
    assert await calls.get_call("0" * 24) is None


async def test_ending_writes_end_duration_and_reason_once(calls: Repository) -> None:
    call = await new_call(calls)
    ada = await join(calls, call, "ada")
    await calls.set_status(call.id, "active", T0)
    await calls.set_status(call.id, "active", T0 + timedelta(seconds=5))
    end = T0 + timedelta(seconds=61.5)
    ended = await calls.end_call(call.id, reason="normal", ended_by="ada", now=end)
    assert ended is not None
    assert (ended.status, ended.ended_at, ended.duration, ended.end_reason, ended.ended_by) == (
        "ended",
        end,
        61,
        "normal",
        "ada",
    )
    assert [(p.id, p.status, p.left_at) for p in ended.participants] == [(ada.id, "disconnected", end)]
    assert await calls.end_call(call.id, reason="forced", ended_by=None, now=end) is None
    assert await calls.active_calls() == []


async def test_a_call_begins_with_its_initiator_or_not_at_all(calls: Repository) -> None:
    call = await new_call(calls)
    first = replace(participant(call, "ada"), call_session_id="f" * 24)
    begun = await calls.create_call(
        "c2", "audio", "ada", mode="p2p", settings={}, now=T0, call_id="f" * 24, initiator=first
    )
    assert begun.participants == (first,)
    figures = await calls.get_metrics(begun.id)
    assert figures is not None
    assert (figures.peak_participants, figures.total_participants) == (1, 1)
    taken = replace(first, call_session_id="e" * 24)
    with pytest.raises(IntegrityError):
        await calls.create_call(
            "c3", "audio", "ada", mode="p2p", settings={}, now=T0, call_id="e" * 24, initiator=taken
        )
    assert await calls.get_call("e" * 24) is None


async def test_the_beginning_of_a_call_is_written_and_not_read_back(
    calls: Repository, engine: AsyncEngine
) -> None:
    statements: list[str] = []

    def note(_db: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement.split(maxsplit=1)[0])

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    first = replace(participant(await new_call(calls), "ada"), call_session_id="f" * 24)
    statements.clear()
    begun = await calls.create_call(
        "c2", "audio", "ada", mode="p2p", settings={"a": 1}, now=T0, call_id="f" * 24, initiator=first
    )
    event.remove(engine.sync_engine, "before_cursor_execute", note)
    assert [one for one in statements if one != "BEGIN"] == ["INSERT"] * 3
    assert begun == await calls.get_call(begun.id)


async def test_a_participant_is_stored_as_they_are_and_what_is_known_of_their_device_stays(
    calls: Repository, engine: AsyncEngine
) -> None:
    call = await new_call(calls)
    first = await join(calls, call, "ada")
    async with engine.begin() as db:
        await db.execute(
            text("update call_participants set device_info = :info"),
            {"info": '{"os": "x", "username": "old"}'},
        )
    gone = replace(first, status="disconnected", left_at=T0, video_enabled=False)
    for _ in range(2):
        await calls.store_participant(gone, T0)
    (row,) = (await stored(calls, call)).participants
    assert row == replace(gone, device_info={"os": "x", NAME: "ada"})
    await calls.store_participant(first, T0)
    for number in range(3):
        await join(calls, call, None, f"guest{number}")
    assert [p.left_at for p in (await stored(calls, call)).participants] == [None] * 4


async def test_one_user_cannot_have_two_rows_in_a_call(calls: Repository, engine: AsyncEngine) -> None:
    call = await new_call(calls)
    await join(calls, call, "ada")
    insert = text(
        "insert into call_participants (id, call_session_id, user_id, joined_at, updated_at)"
        " values ('x', :call, 'ada', :now, :now)"
    )
    with pytest.raises(IntegrityError):
        async with engine.begin() as db:
            await db.execute(insert, {"call": call.id, "now": T0})


async def test_switching_fills_the_sfu_fields_and_the_way_back_nulls_them(calls: Repository) -> None:
    call = await new_call(calls)
    ada, bob = await join(calls, call, "ada"), await join(calls, call, "bob")
    await calls.set_mode(
        call.id, "sfu", room_id="room", rtp_capabilities={"codecs": []}, transition=to_sfu(T0)
    )
    on_sfu = replace(ada, sfu_send_transport_id="t1", sfu_audio_producer_id="p1")
    await calls.store_participant(on_sfu, T0)
    live = await stored(calls, call)
    assert (live.mode, live.sfu_room_id, live.sfu_rtp_capabilities, live.mode_change_count) == (
        "sfu",
        "room",
        {"codecs": []},
        1,
    )
    assert on_sfu in live.participants

    later = T0 + timedelta(seconds=9)
    await calls.set_mode(call.id, "p2p", room_id=None, rtp_capabilities=None, transition=to_p2p(later))
    back = await calls.get_call(call.id)
    assert back is not None
    assert (back.mode, back.sfu_room_id, back.sfu_rtp_capabilities, back.last_mode_change) == (
        "p2p",
        None,
        None,
        later,
    )
    assert sorted(back.participants, key=lambda one: one.identity) == [ada, bob]
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert [(t["from"], t["to"], t["duration"], t["reason"]) for t in figures.mode_transitions] == [
        ("p2p", "sfu", 0.4, "participant_joined"),
        ("sfu", "p2p", 0.2, "participant_left"),
    ]


async def test_transitions_stored_at_once_are_all_kept_and_an_epoch_is_written_once(
    calls: Repository,
) -> None:
    call = await new_call(calls)
    await asyncio.gather(
        *(
            calls.set_mode(
                call.id, "sfu", room_id="r", rtp_capabilities=None, transition=to_sfu(T0, number % 20)
            )
            for number in range(40)
        )
    )
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert sorted(one["epoch"] for one in figures.mode_transitions) == list(range(20))
    assert (await stored(calls, call)).mode_change_count == 20


async def test_a_transition_within_a_mode_moves_the_call_and_does_not_count_as_a_change(
    calls: Repository,
) -> None:
    call = await new_call(calls)
    await calls.set_mode(call.id, "sfu", room_id="one", rtp_capabilities=None, transition=to_sfu(T0))
    later = T0 + timedelta(seconds=9)
    moved = ModeTransition(2, "sfu", "sfu", later, 0.3, "worker-died")
    await calls.set_mode(call.id, "sfu", room_id="two", rtp_capabilities=None, transition=moved)
    row = await stored(calls, call)
    assert (row.sfu_room_id, row.mode_change_count, row.last_mode_change) == ("two", 1, T0)
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert [one["reason"] for one in figures.mode_transitions] == ["participant_joined", "worker-died"]


async def test_roll_backs_are_kept_as_such_once_each_and_only_the_newest(calls: Repository) -> None:
    call = await new_call(calls)
    row = replace(await join(calls, call, "ada"), sfu_send_transport_id="t1")
    await calls.store_participant(row, T0)
    failed = [
        ModeTransition(epoch, "p2p", "sfu", T0, 10.0, "deadline", success=False)
        for epoch in range(1, ROLL_BACKS_MAX + 4)
    ]
    await calls.record_roll_back(call.id, failed[0])
    (participant_now,) = (await stored(calls, call)).participants
    assert participant_now.sfu_send_transport_id is None
    await calls.set_mode(call.id, "sfu", room_id="r", rtp_capabilities=None, transition=to_sfu(T0, 1000))
    for transition in [*failed, failed[-1]]:
        await calls.record_roll_back(call.id, transition)
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    kept = [one["epoch"] for one in figures.mode_transitions]
    assert kept == [1000, *range(4, ROLL_BACKS_MAX + 4)]
    assert [one["success"] for one in figures.mode_transitions] == [True] + [False] * ROLL_BACKS_MAX
    changed = await stored(calls, call)
    assert (changed.mode, changed.mode_change_count) == ("sfu", 1)


async def test_a_call_of_phase_1a_gets_its_metrics_with_the_first_figure(
    calls: Repository, engine: AsyncEngine
) -> None:
    call = await new_call(calls)
    for write in (
        calls.set_mode(call.id, "sfu", room_id="r", rtp_capabilities=None, transition=to_sfu(T0)),
        calls.store_figures(call.id, Figures().with_one_more("reconnections"), T0),
    ):
        async with engine.begin() as db:
            await db.execute(text("delete from call_metrics"))
        await write
        assert await calls.get_metrics(call.id) is not None
    assert (await stored(calls, call)).mode == "sfu"


async def test_pages_of_a_conversation_are_newest_first(calls: Repository) -> None:
    made = [await new_call(calls, at=T0 + timedelta(minutes=n)) for n in range(5)]
    await new_call(calls, "other")
    page, total = await calls.list_calls("c1", limit=2, offset=1)
    assert total == 5
    assert [c.id for c in page] == [made[3].id, made[2].id]
    await calls.end_call(made[0].id, reason="timeout", ended_by=None, now=T0)
    page, total = await calls.list_calls("c1", limit=20, offset=0, status="ended")
    assert ([c.id for c in page], total) == ([made[0].id], 1)


async def test_a_page_begins_behind_the_last_call_of_the_page_before(calls: Repository) -> None:
    same = [await new_call(calls, at=T0) for _ in range(5)]
    older = [await new_call(calls, at=T0 - timedelta(seconds=n + 1)) for n in range(2)]
    found: list[str] = []
    before = None
    while True:
        page, total = await calls.list_calls("c1", limit=2, before=before)
        assert total == 7
        if not page:
            break
        found += [call.id for call in page]
        before = (page[-1].created_at, page[-1].id)
    assert found == [*sorted((call.id for call in same), reverse=True), *(call.id for call in older)]


async def test_figures_are_stored_as_they_are_however_often(calls: Repository) -> None:
    call = await new_call(calls)
    figures = Figures().with_participants(2, 3).with_one_more("reconnections").with_sample({"avg_rtt": 20.0})
    for _ in range(2):
        await calls.store_figures(call.id, figures, T0)
    found = await calls.get_metrics(call.id)
    assert found is not None
    assert found.figures == figures
