"""The socket of the simulator's callers to a gateway: what it does when the connection breaks at a bad moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meeshy_sfu.gateway.app import Gateway
from simulator.client.gateway import ANSWER_TIMEOUT_S, RECONNECTED, GatewaySocket, user_token
from simulator.errors import SignalingError
from tests.integration.gateway.callers import SECRET
from tests.integration.hearing import eventually

SLOW_S = 1.5
"""Longer than the Socket.IO client waits for the answer to its connect."""


@pytest.fixture
async def socket(gateway: Gateway) -> AsyncIterator[GatewaySocket]:
    socket = GatewaySocket(gateway.url, user_token(SECRET, "ada", "c1"))
    await socket.open()
    yield socket
    await socket.close()


def break_off(gateway: Gateway) -> None:
    """End all connections as a killed gateway does: without a close."""
    for socket in gateway.events._io._websockets.values():
        socket.environ["aiohttp.request"].transport.abort()


async def initiate(socket: GatewaySocket) -> dict[str, Any]:
    return await socket.ask("call:initiate", {"conversationId": "c1", "type": "video"})


async def test_an_answer_lost_with_its_connection_is_not_waited_for(
    gateway: Gateway, socket: GatewaySocket
) -> None:
    place = {
        key: value for key, value in (await initiate(socket)).items() if key in ("callId", "participantId")
    }
    asked = asyncio.Event()

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.sleep(ANSWER_TIMEOUT_S)

    handlers = gateway.events._io.handlers["/"]
    rejoin, handlers["call:rejoin"] = handlers["call:rejoin"], never
    asking = asyncio.create_task(socket.ask("call:rejoin", place))
    await asked.wait()
    handlers["call:rejoin"] = rejoin
    began = time.monotonic()
    break_off(gateway)
    with pytest.raises(SignalingError, match="call:rejoin"):
        await asking
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while (await socket.messages.get()).name != RECONNECTED:
            pass
    assert (await socket.ask("call:rejoin", place))["participantId"] == place["participantId"]
    assert time.monotonic() - began < ANSWER_TIMEOUT_S / 3


async def test_a_gateway_that_is_slow_to_accept_a_reconnect_is_waited_for(
    gateway: Gateway, socket: GatewaySocket
) -> None:
    handlers = gateway.events._io.handlers["/"]
    welcome = handlers["connect"]
    welcomed: list[str] = []

    async def slowly(sid: str, *more: object) -> object:
        welcomed.append(sid)
        await asyncio.sleep(SLOW_S)
        return await welcome(sid, *more)

    handlers["connect"] = slowly
    break_off(gateway)
    await eventually(lambda: not socket.messages.empty())
    assert (await initiate(socket))["participantId"]
    assert len(welcomed) == 1


async def test_what_is_asked_on_a_new_connection_waits_until_it_has_the_place(
    gateway: Gateway, socket: GatewaySocket
) -> None:
    joined = await initiate(socket)
    call = {"callId": joined["callId"]}
    break_off(gateway)
    async with asyncio.timeout(ANSWER_TIMEOUT_S):
        while (await socket.messages.get()).name != RECONNECTED:
            pass
    toggling = asyncio.create_task(socket.ask("call:toggle-audio", call | {"enabled": False}))
    await asyncio.sleep(0.1)
    assert not toggling.done()
    await socket.ask("call:rejoin", call | {"participantId": joined["participantId"]})
    assert (await toggling)["enabled"] is False
