from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from meeshy_sfu.db.models import Call, ModeTransition, Participant
from meeshy_sfu.db.repository import TOTAL_MAX

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from meeshy_sfu.db.repository import Repository

T0 = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def new_call(calls: Repository, conversation: str = "c1", *, at: datetime = T0) -> Call:
    return await calls.create_call(conversation, "video", "ada", mode="p2p", settings={"a": 1}, now=at)


async def join(calls: Repository, call: Call, user: str | None, guest: str | None = None) -> Participant:
    return await calls.add_participant(
        call.id,
        user_id=user,
        anonymous_user_id=guest,
        role="participant",
        audio_enabled=True,
        video_enabled=True,
        now=T0,
    )


def to_sfu(at: datetime) -> ModeTransition:
    return ModeTransition("p2p", "sfu", at, 0.4, "participant_joined")


def to_p2p(at: datetime) -> ModeTransition:
    return ModeTransition("sfu", "p2p", at, 0.2, "participant_left")


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


async def test_rejoining_reuses_the_row_and_guests_do_not_collide(calls: Repository) -> None:
    call = await new_call(calls)
    first = await join(calls, call, "ada")
    await calls.set_participant_status(first.id, "disconnected", T0)
    again = await join(calls, call, "ada")
    assert again.id == first.id
    assert again.left_at is None
    guests = [await join(calls, call, None, f"guest{n}") for n in range(3)]
    assert len({p.id for p in [again, *guests]}) == 4
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert (figures.peak_participants, figures.total_participants) == (4, 4)


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
    await calls.set_sfu_ids(ada.id, {"sfu_send_transport_id": "t1", "sfu_audio_producer_id": "p1"}, T0)
    await calls.set_sfu_ids(bob.id, {"sfu_screen_producer_id": "p2"}, T0)
    assert [c.id for c in await calls.active_sfu_calls()] == [call.id]
    (live,) = await calls.active_sfu_calls()
    assert (live.mode, live.sfu_room_id, live.sfu_rtp_capabilities, live.mode_change_count) == (
        "sfu",
        "room",
        {"codecs": []},
        1,
    )
    found = await calls.find_by_producer("p2")
    assert found is not None
    assert found.identity == "bob"

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
    for person in back.participants:
        blank = replace(
            person,
            sfu_send_transport_id=None,
            sfu_recv_transport_id=None,
            sfu_audio_producer_id=None,
            sfu_video_producer_id=None,
            sfu_screen_producer_id=None,
        )
        assert person == blank
    assert await calls.find_by_producer("p1") is None
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert [(t["from"], t["to"], t["duration"], t["reason"]) for t in figures.mode_transitions] == [
        ("p2p", "sfu", 0.4, "participant_joined"),
        ("sfu", "p2p", 0.2, "participant_left"),
    ]


async def test_transitions_stored_at_once_are_all_kept(calls: Repository) -> None:
    call = await new_call(calls)
    await asyncio.gather(
        *(
            calls.set_mode(call.id, "sfu", room_id="r", rtp_capabilities=None, transition=to_sfu(T0))
            for _ in range(20)
        )
    )
    figures = await calls.get_metrics(call.id)
    stored = await calls.get_call(call.id)
    assert figures is not None
    assert stored is not None
    assert (len(figures.mode_transitions), stored.mode_change_count) == (20, 20)
    statistics = await calls.transition_statistics()
    assert (statistics.total, statistics.calls, statistics.by_reason) == (20, 1, {"participant_joined": 20})
    assert statistics.mean_duration_s == pytest.approx(0.4)


async def test_pages_of_a_conversation_are_newest_first(calls: Repository) -> None:
    made = [await new_call(calls, at=T0 + timedelta(minutes=n)) for n in range(5)]
    await new_call(calls, "other")
    page, total = await calls.list_calls("c1", limit=2, offset=1)
    assert total == 5
    assert [c.id for c in page] == [made[3].id, made[2].id]
    await calls.end_call(made[0].id, reason="timeout", ended_by=None, now=T0)
    page, total = await calls.list_calls("c1", limit=20, offset=0, status="ended")
    assert ([c.id for c in page], total) == ([made[0].id], 1)
    newest = await calls.active_call_of("c1")
    assert newest is not None
    assert newest.id == made[4].id
    assert await calls.active_call_of("nobody") is None


async def test_quality_reports_become_averages_and_counters_count(calls: Repository) -> None:
    call = await new_call(calls)
    for loss in (0.0, 0.1, 0.2):
        await calls.record_quality(call.id, {"avg_packet_loss": loss, "avg_rtt": 20.0}, T0)
    await calls.count(call.id, "reconnections", T0)
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert figures.avg_packet_loss == pytest.approx(0.1)
    assert (figures.avg_rtt, figures.avg_jitter, figures.reconnections) == (20.0, None, 1)


async def test_bytes_add_up_and_leave_averages_alone(calls: Repository) -> None:
    call = await new_call(calls)
    await calls.record_quality(call.id, {"avg_rtt": 10.0}, T0)
    await calls.record_quality(call.id, {"total_data_sent": 3, "total_data_received": 4}, T0)
    await calls.record_quality(call.id, {"avg_rtt": 20.0, "total_data_sent": TOTAL_MAX - 1}, T0)
    figures = await calls.get_metrics(call.id)
    assert figures is not None
    assert figures.avg_rtt == 15.0
    assert (figures.total_data_sent, figures.total_data_received) == (TOTAL_MAX, 4)


async def test_media_switches_are_stored(calls: Repository) -> None:
    call = await new_call(calls)
    ada = await join(calls, call, "ada")
    await calls.set_media_enabled(ada.id, "video", False, T0)
    await calls.set_participant_status(ada.id, "connected", T0)
    stored = await calls.get_call(call.id)
    assert stored is not None
    (person,) = stored.participants
    assert (person.video_enabled, person.audio_enabled, person.status) == (False, True, "connected")
