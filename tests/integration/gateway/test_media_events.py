"""The gateway's connection to a media server: it lasts, and nothing that fails beside it ends it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from meeshy_sfu.gateway.media import media_client, media_events
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.conftest import MakeCaller, StartGateway, StartMedia
from tests.integration.gateway.test_switch import trio
from tests.integration.hearing import eventually


async def cut_off_services(media: MediaServer) -> None:
    """Break the sockets of gateways."""
    for session in media.signaling._sessions.values():
        if session.claims.is_service:
            media.signaling._io.cut(session.eio_sid)


async def test_the_connection_outlives_its_token(
    start_media: StartMedia,
    start_gateway: StartGateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(media_client, "TOKEN_LIFETIME_S", 3)
    monkeypatch.setattr(media_client, "TOKEN_RENEWAL_S", 2)
    monkeypatch.setattr(media_events, "TOKEN_REFRESH_S", 0.3)
    media = await start_media(token_grace_s=0)
    gateway = await start_gateway(media_server_urls=[media.url])
    await eventually(lambda: all(gateway.media_events.connected().values()))
    await asyncio.sleep(5)
    assert "connection lost" not in caplog.text
    assert all(gateway.media_events.connected().values())


async def test_the_connection_comes_back_after_the_database_failed_while_it_caught_up(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller, tmp_path: Path
) -> None:
    gateway = await start_gateway(media_down_s=60)
    ada, _, eve = await trio(gateway, caller)
    # a room of no call we know has the gateway look into its database
    await media.rooms.create("a-room-of-no-call")  # type: ignore[arg-type]
    database = sqlite3.connect(tmp_path / "state" / "meeshy.db")
    database.execute("ALTER TABLE call_sessions RENAME TO elsewhere")
    database.commit()
    await cut_off_services(media)
    await asyncio.sleep(0.5)
    database.execute("ALTER TABLE elsewhere RENAME TO call_sessions")
    database.commit()
    database.close()
    await eventually(lambda: all(gateway.media_events.connected().values()))
    producer = (await eve.go_to_sfu(eve.answer))["producerIds"]["audio"]
    await ada.wait("new-producer", holds=lambda p: p["producerId"] == producer)


async def test_a_room_that_does_not_answer_in_time_loses_no_event_of_another(
    start_gateway: StartGateway,
    media: MediaServer,
    caller: MakeCaller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(media_events, "CALL_TIMEOUT_S", 0.3)
    gateway = await start_gateway()
    ada, _, eve = await trio(gateway, caller)
    (sid,) = (s.sid for s in media.signaling._sessions.values() if s.claims.is_service)
    events = media.signaling._io.handlers["/"]
    join, asked = events["join-room"], list[str]()

    async def slow_once(sid: str, payload: dict[str, str], *more: object) -> object:
        asked.append(payload["callId"])
        if len(asked) == 1:
            await asyncio.sleep(0.6)
            return {"success": False, "error": {"code": "TOO_LATE", "message": "no request waits for it"}}
        return await join(sid, payload, *more)

    events["join-room"] = slow_once
    media.audiences.unwatch(media.signaling._sessions[sid], ada.call_id)
    producer = next(p["producerId"] for p in ada.heard("new-producer") if p["participantId"] == eve.id)
    answer = await eve.media(eve.answer, "DELETE", f"producers/{producer}")
    assert answer.status == 200, answer
    await gateway.media_events.watch(ada.call_id)
    assert (await ada.wait("producer-closed"))["producerId"] == producer
    assert asked == [ada.call_id] * 2
    assert "connection lost" not in caplog.text
    assert sid in media.signaling._sessions
