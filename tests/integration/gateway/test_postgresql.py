"""The gateway on PostgreSQL: a call through both modes, and a restart."""

from __future__ import annotations

from pathlib import Path

from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.server.app import MediaServer
from tests.integration.db.conftest import postgres_server  # noqa: F401
from tests.integration.db.databases import PostgresServer
from tests.integration.gateway.conftest import MakeCaller, settings_for
from tests.integration.gateway.test_switch import trio


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
        for person in (ada, bob, eve):
            await person.reconnect(gateway.url)
            assert (await person.rejoin())["mode"] == "sfu"
        await eve.leave()
        back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
        await ada.confirm(back["epoch"], "p2p")
        await bob.confirm(back["epoch"], "p2p")
        assert (await ada.switched(back["epoch"], "p2p"))["success"]
        await ada.ask("call:end", {"callId": ada.call_id})
        row = await gateway.repository.get_call(ada.call_id)
        assert row is not None
        assert (row.status, row.mode, row.mode_change_count, row.end_reason) == ("ended", "p2p", 2, "normal")
        metrics = await gateway.repository.get_metrics(ada.call_id)
        assert metrics is not None
        assert (len(metrics.mode_transitions), metrics.reconnections, metrics.peak_participants) == (2, 3, 3)
