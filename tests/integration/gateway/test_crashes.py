"""Workers, media servers and gateways that crash and restart, as processes of their own."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meeshy_sfu.db.repository import Repository
from meeshy_sfu.db.session import create_engine, settings_url
from meeshy_sfu.edge.token_signing import sign_media_token
from meeshy_sfu.errors import PortInUseError
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.calls import journal
from meeshy_sfu.gateway.media import media_events
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SECRET, Caller
from tests.integration.gateway.conftest import FREE, MakeCaller, StartGateway, StartMedia, settings_for
from tests.integration.gateway.stored import stored_call
from tests.integration.gateway.test_switch import pair, start_switch, trio
from tests.integration.hearing import eventually
from tests.integration.server.processes import Meeshy, meeshy

slow_start = pytest.mark.timeout(180)
"""For tests that start processes: on a busy machine Python alone may take ten seconds to start."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SFU_AGAIN = {"oldMode": "sfu", "newMode": "sfu"}


def rehomed(payload: dict[str, Any]) -> bool:
    return {name: payload[name] for name in SFU_AGAIN} == SFU_AGAIN


async def follow(callers: list[Caller], *, after: int) -> dict[str, Any]:
    """Move to the room that a re-homing names, and confirm."""
    told = {}
    for peer in callers:
        told = await peer.wait("call:mode-switch", holds=lambda p: rehomed(p) and p["epoch"] > after)
        await peer.confirm(told["epoch"], **await peer.go_to_sfu(told))
    for peer in callers:
        assert (await peer.switched(told["epoch"], "sfu"))["success"]
    return told


async def test_calls_of_a_crashed_worker_get_another_room(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    callers = list(await trio(gateway, caller))
    room = media.rooms.rooms[0].id
    await media.pool.workers[0].panic()
    told = await follow(callers, after=1)
    assert told["reason"] == "worker-died"
    assert told["mediaServerConfig"]["roomId"] != room
    row = await stored_call(gateway, callers[0].call_id)
    assert (row.mode, row.sfu_room_id) == ("sfu", told["mediaServerConfig"]["roomId"])


async def test_calls_of_a_crashed_media_server_move_to_another(
    start_media: StartMedia, start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    other = await start_media()
    gateway = await start_gateway(media_server_urls=[media.url, other.url], media_down_s=0.2)
    callers = list(await trio(gateway, caller))
    servers = {server.url: server for server in (media, other)}
    home = gateway.media.server_of(callers[0].call_id)
    assert home is not None
    await servers.pop(home).close()
    told = await follow(callers, after=1)
    assert told["mediaServerUrl"] == next(iter(servers))
    assert told["reason"] == "media-server-died"


async def test_a_join_while_the_room_is_lost_is_told_to_wait(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway(media_down_s=0.1)
    ada, bob, eve = await trio(gateway, caller)
    await media.close()
    call = gateway.calls.live[ada.call_id]
    await eventually(lambda: call.room is None and call.phase == "sfu")
    await eve.vanish()
    await eve.reconnect()
    zoe = await caller(gateway, "zoe")
    for answer in (await eve.rejoin(), await zoe.join(ada.call_id)):
        assert (answer["mode"], answer["peer"], answer["initiator"]) == ("p2p", None, False)
        assert answer["reason"]
        assert answer["mediaServerConfig"] is answer["mediaToken"] is None
    assert (await ada.signal(bob))["success"]


async def test_a_worker_that_crashes_in_the_middle_of_a_switch_leaves_the_pair_on_p2p(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, bob, eve, _ = await start_switch(gateway, caller)
    await media.pool.workers[0].panic()
    for peer in (ada, bob, eve):
        told = await peer.wait("call:mode-switched")
        assert (told["success"], told["mode"], told["reason"]) == (False, "p2p", "worker-died")
    again = await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] == 2)
    assert again["newMode"] == "sfu"


async def test_asking_twice_at_once_for_a_room_ends_no_media(
    gateway: Gateway, media: MediaServer, caller: MakeCaller
) -> None:
    ada, *_ = await trio(gateway, caller)
    call = gateway.calls.live[ada.call_id]
    await eventually(lambda: len(call.room_state.producers) == 3)
    before = dict(call.room_state.producers)
    await asyncio.gather(*(gateway.media_events.watch(ada.call_id) for _ in range(3)))
    assert call.room_state.producers == before
    assert not [payload for name, payload in ada.events if name == "producer-closed"]


Start = Callable[..., Any]


@pytest.fixture
async def start_process(tmp_path: Path) -> AsyncIterator[Start]:
    """Start services as processes; killed afterwards."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, **variables: str) -> Meeshy:
            limits = {f"MEESHY_{name.upper()}": "0" for name in FREE}
            running: Meeshy = await stack.enter_async_context(
                meeshy(tmp_path, "serve", *arguments, **limits, **variables)
            )
            await running.wait_for("API documentation", within_s=60)
            return running

        yield start


@slow_start
async def test_a_killed_media_server_that_comes_back_gets_its_calls_back(
    start_process: Start, start_gateway: StartGateway, caller: MakeCaller
) -> None:
    first = await start_process("media")
    url = first.url
    gateway = await start_gateway(media_server_urls=[url], media_down_s=0.2)
    callers = list(await trio(gateway, caller))
    first.signal(signal.SIGKILL)
    await first.ended(within_s=5)
    await eventually(lambda: gateway.media_events.connected() == {url: False})
    await start_process("media", PORT=url.rpartition(":")[2])
    await follow(callers, after=1)
    assert journal.check(gateway.journal.recent).problems == []


@slow_start
async def test_a_killed_gateway_takes_its_calls_up_again(
    start_process: Start, media: MediaServer, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    variables = {"MEDIA_SERVER_URL": media.url, "MEESHY_PREWARM": "false"}
    first = await start_process("gateway", **variables)
    callers = [Caller(http, first.url, name) for name in ("ada", "bob", "eve")]
    try:
        for peer in callers:
            await peer.connect()
        ada, bob, eve = callers
        await ada.initiate()
        await bob.join(ada.call_id)
        access = await eve.join(ada.call_id)
        for peer in callers:
            await peer.confirm(1, **await peer.go_to_sfu(access | await access_of(peer, access)))
        await ada.switched(1, "sfu")
        room = media.rooms.rooms[0].id

        first.signal(signal.SIGKILL)
        await first.ended(within_s=5)
        for peer in callers:
            await peer.wait_disconnected()
        second = await start_process("gateway", **variables)
        epochs = []
        for peer in callers:
            await peer.reconnect(second.url)
            answer = await peer.rejoin()
            assert (answer["mode"], answer["phase"]) == ("sfu", "sfu")
            assert answer["mediaServerConfig"]["roomId"] == room
            epochs.append(answer["epoch"])
        assert epochs[0] > 1
        assert media.rooms.rooms[0].id == room

        await eve.leave()
        back = await ada.wait("call:mode-switch", holds=lambda p: p["newMode"] == "p2p")
        assert back["epoch"] > epochs[0]
        await ada.confirm(back["epoch"], "p2p")
        await bob.confirm(back["epoch"], "p2p")
        assert (await ada.switched(back["epoch"], "p2p"))["success"]
        await eventually(lambda: not media.rooms.rooms)
    finally:
        for peer in callers:
            await peer.close()
    verdict = journal.check(journal.read(tmp_path / "events" / "gateway.jsonl"))
    assert (verdict.transitions, verdict.completed, verdict.problems) == (2, 2, [])


async def access_of(peer: Caller, access: dict[str, Any]) -> dict[str, Any]:
    """Return where a peer is sent: the newcomer by the answer, the others by the event."""
    return access if peer.id == access["participantId"] else await peer.wait("call:mode-switch")


async def test_a_transition_that_a_restart_cut_off_is_rolled_back_and_begun_anew(
    tmp_path: Path, media: MediaServer, caller: MakeCaller
) -> None:
    settings = settings_for(tmp_path, media_server_urls=[media.url])
    async with await Gateway.start(settings) as gateway:
        ada, bob, eve, _ = await start_switch(gateway, caller)
    async with await Gateway.start(settings) as gateway:
        for peer in (ada, bob, eve):
            await peer.reconnect(gateway.url)
            answer = await peer.rejoin()
            assert (answer["mode"], answer["phase"]) == ("p2p", "p2p")
        assert (await ada.signal(bob))["success"]
        told = await ada.wait("call:mode-switch", holds=lambda p: p["epoch"] > 1)
        assert (told["oldMode"], told["newMode"]) == ("p2p", "sfu")
        await eve.wait("call:mode-switch", holds=lambda p: p["epoch"] > 1)
        await bob.confirm(told["epoch"], success=False)
        back = await ada.wait("call:mode-switched", holds=lambda p: p["epoch"] == told["epoch"])
        assert back["mode"] == "p2p"
    entries = journal.read(settings.state_dir / "events" / "gateway.jsonl")
    verdict = journal.check(entries)
    assert (verdict.cut_off, verdict.problems) == (1, [])


async def test_a_row_that_makes_no_sense_does_not_keep_the_others_from_being_taken_up(
    start_gateway: StartGateway, caller: MakeCaller, tmp_path: Path
) -> None:
    first = await start_gateway()
    ada, _ = await pair(first, caller)
    odd = [
        await first.repository.create_call(
            f"odd{number}", "video", "ada", mode=mode, settings=settings, now=NOW
        )
        for number, (mode, settings) in enumerate([("mesh", {}), ("p2p", {"conversationType": "CHANNEL"})])
    ]
    await first.close()
    database = sqlite3.connect(tmp_path / "state" / "meeshy.db")
    database.execute("UPDATE call_sessions SET settings = '\"text\"' WHERE id = ?", (odd[0].id,))
    database.commit()
    database.close()
    second = await start_gateway()
    assert list(second.calls.live) == [ada.call_id]
    for row in odd:
        found = await stored_call(second, row.id)
        assert (found.status, found.end_reason) == ("failed", "error")


async def test_a_second_gateway_on_the_same_port_does_not_touch_calls(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, tmp_path: Path
) -> None:
    ada, bob, eve, answer = await start_switch(gateway, caller)
    accesses = [ada.heard("call:mode-switch")[0], bob.heard("call:mode-switch")[0], answer]
    port = int(gateway.url.rpartition(":")[2])
    with pytest.raises(PortInUseError):
        await Gateway.start(settings_for(tmp_path, gateway_port=port, media_server_urls=[media.url]))
    await asyncio.sleep(0.2)
    for peer, access in zip((ada, bob, eve), accesses, strict=True):
        await peer.confirm(1, **await peer.go_to_sfu(access))
    assert (await ada.switched(1, "sfu"))["success"]


async def test_stopping_the_gateway_leaves_rooms_and_rows_as_they_are(
    start_gateway: StartGateway, media: MediaServer, caller: MakeCaller
) -> None:
    gateway = await start_gateway()
    ada, *_ = await trio(gateway, caller)
    await gateway.close()
    assert len(media.rooms.rooms) == 1
    assert len(media.rooms.rooms[0].participants) == 3
    again = await start_gateway()
    row = await stored_call(again, ada.call_id)
    assert (row.status, row.mode, [p.left_at for p in row.participants]) == ("active", "sfu", [None] * 3)


async def test_a_participant_that_does_not_rejoin_after_a_restart_has_left_after_the_grace(
    tmp_path: Path, media: MediaServer, caller: MakeCaller
) -> None:
    settings = settings_for(tmp_path, media_server_urls=[media.url], reconnect_grace_s=0.5)
    async with await Gateway.start(settings) as gateway:
        ada, bob = await pair(gateway, caller)
    async with await Gateway.start(settings) as gateway:
        await ada.reconnect(gateway.url)
        await ada.rejoin()
        left = await ada.wait("call:participant-left")
        assert (left["participantId"], left["reason"]) == (bob.id, "timeout")


async def test_rooms_of_calls_that_ended_meanwhile_are_destroyed(
    tmp_path: Path, media: MediaServer, caller: MakeCaller, http: aiohttp.ClientSession
) -> None:
    settings = settings_for(tmp_path, media_server_urls=[media.url])
    async with await Gateway.start(settings) as gateway:
        ada, *_ = await trio(gateway, caller)
    await forget(settings, ada.call_id)
    foreign = {"Authorization": f"Bearer {service_token()}"}
    async with http.post(f"{media.url}/api/rooms/of-another-gateway/create", headers=foreign) as answer:
        assert answer.status == 200
    async with await Gateway.start(settings):
        await eventually(lambda: [room.call_id for room in media.rooms.rooms] == ["of-another-gateway"])


async def forget(settings: Any, call_id: str) -> None:
    """End a call in the database without the gateway."""
    engine = create_engine(settings_url(settings))
    await Repository(engine).end_call(call_id, reason="error", ended_by=None, now=datetime.now(UTC))
    await engine.dispose()


def service_token() -> str:
    """A token of a service."""
    return sign_media_token(secret=SECRET, now_s=time.time(), lifetime_s=60, role="service")


@slow_start
async def test_the_supervisor_runs_both_services_and_restarts_each(
    start_process: Start, http: aiohttp.ClientSession
) -> None:
    running = await start_process()
    await running.wait_for("Meeshy call gateway", within_s=60)
    await running.wait_for("Meeshy media server", within_s=60)
    gateway_url = running.output.partition("Meeshy call gateway")[2].partition("Socket.IO")[2].split()[0]
    ada = await Caller(http, gateway_url, "ada").connect()
    await ada.initiate()
    await ada.close()
    running.signal(signal.SIGTERM)
    assert await running.ended(within_s=8) == 0, running.output


@slow_start
async def test_a_media_server_that_hangs_is_given_up(
    start_process: Start, start_media: StartMedia, start_gateway: StartGateway, caller: MakeCaller
) -> None:
    hanging = await start_process("media")
    gateway = await start_gateway(media_server_urls=[hanging.url])
    ada, bob = await pair(gateway, caller)
    await eventually(lambda: gateway.media_events.connected()[hanging.url])
    hanging.signal(signal.SIGSTOP)
    eve = await caller(gateway, "eve")
    async with asyncio.timeout(8):
        answer = await eve.join(ada.call_id)
    assert answer["mode"] == "p2p"
    assert (await ada.signal(bob))["success"]
    hanging.signal(signal.SIGCONT)
    await ada.wait("call:mode-switch", within_s=20)


@slow_start
async def test_a_gateway_that_starts_again_does_not_wait_for_a_media_server_that_hangs(
    start_process: Start, start_gateway: StartGateway, caller: MakeCaller
) -> None:
    hanging = await start_process("media")
    first = await start_gateway(media_server_urls=[hanging.url])
    callers = list(await trio(first, caller))
    await first.close()
    hanging.signal(signal.SIGSTOP)
    try:
        # three attempts of three seconds were made before a connection was accepted
        async with asyncio.timeout(6):
            second = await start_gateway(media_server_urls=[hanging.url])
    finally:
        hanging.signal(signal.SIGCONT)
    for peer in callers:
        await peer.reconnect(second.url)
        await peer.rejoin()
    for peer in callers:
        assert rehomed(await peer.wait("call:mode-switch", holds=lambda p: p["epoch"] > 1, within_s=20))


@pytest.mark.slow(reason="waits until the supervisor gives a silent media server up")
@slow_start
async def test_a_server_that_answers_nothing_is_not_taken_for_a_slow_room(
    start_process: Start,
    start_gateway: StartGateway,
    caller: MakeCaller,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(media_events, "CALL_TIMEOUT_S", 0.3)
    hanging = await start_process("media")
    gateway = await start_gateway(media_server_urls=[hanging.url])
    ada, _, _ = await trio(gateway, caller)
    hanging.signal(signal.SIGSTOP)
    try:
        await gateway.media_events.watch(ada.call_id)
        await eventually(lambda: "connection lost" in caplog.text, within_s=20)
    finally:
        hanging.signal(signal.SIGCONT)
