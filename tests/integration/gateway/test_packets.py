"""What guests and others send to the gateway beside its events, and what goes on while a handler waits for the database."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from meeshy_sfu.edge import socketio_server
from meeshy_sfu.gateway.app import Gateway
from tests.integration.gateway.callers import Caller
from tests.integration.gateway.conftest import StartGateway
from tests.integration.hearing import eventually
from tests.integration.wire_socket import WireSocket


@pytest.mark.parametrize("way", ["websocket", "polling"])
async def test_an_anonymous_guest_cannot_pile_up_attachments(
    gateway: Gateway, http: aiohttp.ClientSession, way: str
) -> None:
    guest = Caller(http, gateway.url, "guest", anonymous=True)
    socket = await WireSocket(http, gateway.url, polling=way == "polling").open(guest.token)
    await socket.send('459-["call:join",{"_placeholder":true,"num":0}]', *(b"x" * 60_000 for _ in range(8)))
    await socket.ended()
    error = next(packet for packet in socket.got if '"call:error"' in packet)
    assert '"event":"packet"' in error
    assert '"code":"VALIDATION_ERROR"' in error
    assert "attachments" in error
    assert not gateway.events._io._binary_packet
    await socket.close()


async def test_an_ack_flood_of_a_guest_ends_with_one_log_line(
    start_gateway: StartGateway, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(rate_events=30)
    guest = Caller(http, gateway.url, "guest", anonymous=True)
    socket = await WireSocket(http, gateway.url, polling=False).open(guest.token)
    caplog.set_level(logging.INFO)
    caplog.clear()
    await socket.send(*["431[]"] * 5000)
    await socket.ended()
    assert socket.told("flood")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("meeshy_sfu.edge")]
    assert len(lines) == 1, lines
    assert not [record for record in caplog.records if record.name.split(".")[0] in ("engineio", "socketio")]


async def test_a_socket_is_not_cut_while_its_handler_waits_for_the_database(
    start_gateway: StartGateway, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketio_server, "PING_INTERVAL_S", 0.1)
    monkeypatch.setattr(socketio_server, "PING_TIMEOUT_S", 0.3)
    gateway = await start_gateway()
    socket = await WireSocket(http, gateway.url, polling=False).open(Caller(http, gateway.url, "ada").token)
    going_on = asyncio.Event()
    create_call = gateway.calls._rows._repository.create_call

    async def slowly(*args: Any, **fields: Any) -> Any:
        await going_on.wait()
        return await create_call(*args, **fields)

    monkeypatch.setattr(gateway.calls._rows._repository, "create_call", slowly)
    await socket.send('421["call:initiate",{"conversationId":"c1","type":"video"}]')
    await eventually(lambda: socket.got.count("2") > 12)
    assert socket.is_open
    going_on.set()
    await socket.until(lambda: any(packet.startswith("431[") for packet in socket.got))
    assert '"success":true' in next(packet for packet in socket.got if packet.startswith("431["))
    await socket.close()
