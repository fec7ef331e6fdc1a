"""The gateway on PostgreSQL: a call through both modes, and a restart."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
from sqlalchemy import text

from meeshy_sfu.db.session import create_engine
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.server.app import MediaServer
from tests.integration.db.conftest import postgres_server  # noqa: F401
from tests.integration.db.databases import PostgresServer, postgres
from tests.integration.gateway.conftest import MakeCaller, settings_for
from tests.integration.gateway.stored import stored_call, stored_metrics
from tests.integration.gateway.test_switch import start_switch, trio


async def test_a_call_goes_through_both_modes_and_a_restart_on_postgresql(
    postgres_server: PostgresServer,  # noqa: F811
    tmp_path: Path,
    media: MediaServer,
    caller: MakeCaller,
) -> None:
    url = postgres_server.new_database()
    settings = settings_for(tmp_path, media_server_urls=[media.url], database_url=url)
    async with await Gateway.start(settings) as gateway:
        ada, bob, eve = await trio(gateway, caller)
    async with await Gateway.start(settings) as gateway:
        for peer in (ada, bob, eve):
            await peer.reconnect(gateway.url)
            assert (await peer.rejoin())["mode"] == "sfu"
        await eve.leave()
        back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
        await ada.confirm(back["epoch"], "p2p")
        await bob.confirm(back["epoch"], "p2p")
        assert (await ada.switched(back["epoch"], "p2p"))["success"]
        await ada.ask("call:end", {"callId": ada.call_id})
        row = await stored_call(gateway, ada.call_id)
        assert (row.status, row.mode, row.mode_change_count, row.end_reason) == ("ended", "p2p", 2, "normal")
        metrics = await stored_metrics(gateway, ada.call_id)
        assert (len(metrics.mode_transitions), metrics.reconnections, metrics.peak_participants) == (2, 3, 3)


async def test_calls_go_on_while_postgresql_is_down(
    postgres_server: PostgresServer,  # noqa: F811
    tmp_path: Path,
    media: MediaServer,
    caller: MakeCaller,
    http: aiohttp.ClientSession,
) -> None:
    with postgres() as server:
        settings = settings_for(tmp_path, media_server_urls=[media.url], database_url=server.new_database())
        async with await Gateway.start(settings) as gateway:
            ada, bob, eve = await trio(gateway, caller)
            server.stop()
            async with http.get(f"{gateway.url}/health") as answer:
                assert answer.status == 503
            await eve.leave()
            back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
            for peer in (ada, bob):
                await peer.confirm(back["epoch"], "p2p")
            assert (await bob.switched(back["epoch"], "p2p"))["success"]
            await bob.vanish()
            await bob.reconnect()
            await bob.rejoin()
            await ada.ask("call:toggle-audio", {"callId": ada.call_id, "enabled": False})
            await eve.join(ada.call_id)
            server.run()
            row = await stored_call(gateway, ada.call_id)
            assert {one.id for one in row.participants if one.left_at is None} == {ada.id, bob.id, eve.id}
            async with http.get(f"{gateway.url}/health") as answer:
                assert answer.status == 200
            server.stop()
            await ada.ask("call:end", {"callId": ada.call_id})
            assert (await bob.wait("call:ended"))["endedBy"] == "ada"


async def test_locked_tables_of_postgresql_stall_no_decision_about_media(
    postgres_server: PostgresServer,  # noqa: F811
    tmp_path: Path,
    media: MediaServer,
    caller: MakeCaller,
    http: aiohttp.ClientSession,
) -> None:
    url = postgres_server.new_database()
    settings = settings_for(tmp_path, media_server_urls=[media.url], database_url=url)
    async with await Gateway.start(settings) as gateway:
        ada, bob, eve, answer = await start_switch(gateway, caller)
        other = create_engine(url)
        async with other.begin() as db:
            await db.execute(text("LOCK TABLE call_sessions, call_participants, call_metrics"))
            began_s = time.monotonic()
            for peer in (ada, bob, eve):
                await peer.confirm(answer["epoch"])
            assert (await ada.switched(answer["epoch"], "sfu"))["success"]
            await eve.leave()
            assert time.monotonic() - began_s < 5
            for path in ("/health", "/ready"):
                began_s = time.monotonic()
                async with http.get(gateway.url + path):
                    assert time.monotonic() - began_s < 2
            began_s = time.monotonic()
            unknown = await ada.emit("call:leave", {"callId": "0" * 24})
            assert unknown["error"]["code"] == "DATABASE_UNAVAILABLE"
            assert time.monotonic() - began_s < 4
        await other.dispose()
        row = await stored_call(gateway, ada.call_id)
        assert (row.mode, row.mode_change_count) == ("sfu", 1)
        assert {one.id for one in row.participants if one.left_at is None} == {ada.id, bob.id}
