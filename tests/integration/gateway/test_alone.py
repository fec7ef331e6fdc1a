"""One process serves a database or a state directory: a second is refused with the holder's name, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from meeshy_sfu.cli import main
from meeshy_sfu.gateway import app
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.lock_file import HeldError, Holder
from meeshy_sfu.server.app import MediaServer
from tests.integration.db.conftest import database_url, postgres_server  # noqa: F401
from tests.integration.gateway.callers import SECRET
from tests.integration.gateway.conftest import MakeCaller, settings_for
from tests.integration.gateway.stored import stored_call
from tests.integration.gateway.test_switch import trio
from tests.integration.server.processes import meeshy


async def test_a_second_gateway_on_the_same_database_is_refused_and_touches_no_call(
    tmp_path: Path,
    media: MediaServer,
    caller: MakeCaller,
    database_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "WAIT_S", 0.3)
    flags = {"media_server_urls": [media.url], "database_url": database_url}
    async with await Gateway.start(settings_for(tmp_path / "one", **flags)) as first:
        ada, bob, eve = await trio(first, caller)
        with pytest.raises(HeldError) as refused:
            await Gateway.start(settings_for(tmp_path / "two", **flags))
        for part in (socket.gethostname(), str(os.getpid()), "DATABASE_URL"):
            assert part in refused.value.message
        assert len(media.rooms.rooms[0].participants) == 3
        assert (await stored_call(first, ada.call_id)).ended_at is None
        await eve.leave()
        told = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
        for peer in (ada, bob):
            await peer.confirm(told["epoch"], "p2p")
        assert (await ada.switched(told["epoch"], "p2p"))["success"]
    # the refused process left no lock that keeps the next one out
    async with await Gateway.start(settings_for(tmp_path / "two", **flags)) as second:
        assert list(second.calls.live) == [ada.call_id]


async def test_a_gateway_that_lost_its_database_to_another_says_so_and_ends(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    ended = asyncio.Event()
    gateway.on_lost = ended.set
    gateway._lose_database(HeldError("the database", Holder("elsewhere", 7), "end it"))
    assert ended.is_set()
    assert not await gateway.health._database()
    assert "the database is in use by process 7 on elsewhere; end it; this gateway ends" in caplog.text


@pytest.mark.timeout(180)
async def test_a_second_serve_on_one_state_directory_is_refused_and_leaves_the_first_ones_pid_files(
    tmp_path: Path,
) -> None:
    async with meeshy(tmp_path, "serve", MEESHY_STANDBY="false") as first:
        await first.wait_for("Meeshy call gateway", within_s=60)
        await first.wait_for("Meeshy media server", within_s=60)
        pids = {path.name: path.read_text() for path in (first.state_dir / "run").iterdir()}
        assert set(pids) == {"gateway.pid", "media.pid"}
        for command in (("serve",), ("serve", "gateway")):
            async with meeshy(tmp_path, *command, MEDIA_SERVER_URL="http://127.0.0.1:9") as second:
                assert await second.ended(within_s=60) == 1
                assert f"on {socket.gethostname()}" in second.output
                assert "MEESHY_STATE_DIR" in second.output
                holder = first.process.pid if command == ("serve",) else int(pids["gateway.pid"])
                assert f"process {holder} " in second.output
        assert {path.name: path.read_text() for path in (first.state_dir / "run").iterdir()} == pids
        # released when the holder ends, however it ends
        first.signal(signal.SIGKILL)
        await first.ended(within_s=10)
    async with meeshy(tmp_path, "serve", MEESHY_STANDBY="false") as third:
        await third.wait_for("Meeshy media server", within_s=60)


async def test_a_downgrade_under_a_running_gateway_is_refused_unless_forced(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    database_url: str,  # noqa: F811
) -> None:
    monkeypatch.setenv("MEESHY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("DATABASE_URL", database_url)
    servers = {"media_server_urls": ["http://127.0.0.1:9"], "database_url": database_url}
    async with await Gateway.start(settings_for(tmp_path, **servers)) as gateway:
        for command in (["downgrade", "phase_1a"], ["stamp", "phase_1a"]):
            assert await asyncio.to_thread(main, ["db", *command]) == 1
            told = capsys.readouterr().err
            assert f"in use by the gateway of process {os.getpid()} on {socket.gethostname()}" in told
            assert "--force" in told
            assert await gateway.health._database()
        assert await asyncio.to_thread(main, ["db", "downgrade", "phase_1a", "--force"]) == 0
        assert not await gateway.health._database()
        assert await asyncio.to_thread(main, ["db", "upgrade"]) == 0
        assert await gateway.health._database()
    assert await asyncio.to_thread(main, ["db", "downgrade", "phase_1a"]) == 0
