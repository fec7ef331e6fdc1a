"""The credentials the gateway hands out, at a real coturn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aioice.stun
import aioice.turn
import pytest

from meeshy_sfu.errors import ConfigError
from meeshy_sfu.gateway.turn.ice_servers import turn_credential
from tests.coturn import Coturn, coturn, need_coturn
from tests.integration.gateway.conftest import MakeCaller, StartGateway


@pytest.fixture
async def turn(tmp_path: Path) -> AsyncIterator[Coturn]:
    """A TURN server of this test's own."""
    need_coturn()
    async with coturn(tmp_path / "coturn") as server:
        yield server


async def allocate(server: Coturn, username: str, credential: str, transport: str = "udp") -> tuple[str, int]:
    """Get a relay address, and give it back."""
    relay, _ = await aioice.turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server_addr=("127.0.0.1", server.port),
        username=username,
        password=credential,
        transport=transport,
    )
    address: tuple[str, int] = relay.get_extra_info("sockname")
    await relay._close()
    return address


async def refusal(server: Coturn, username: str, credential: str) -> int:
    """The code coturn refuses an allocation with."""
    with pytest.raises(aioice.stun.TransactionFailed) as caught:
        await allocate(server, username, credential)
    return int(caught.value.response.attributes["ERROR-CODE"][0])


def settings_for(turn: Coturn, **more: Any) -> dict[str, Any]:
    """The settings that name this TURN server."""
    return {"turn_servers": [turn.server], "turn_secret": turn.secret, **more}


async def test_what_the_join_answer_says_allocates(
    turn: Coturn, start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(**settings_for(turn, turn_credential_ttl_s=600))
    ada = await caller(gateway, "ada")
    before = time.time()
    (entry,) = (await ada.initiate())["iceServers"]
    expiry, user = entry["username"].split(":")
    assert user == "ada"
    assert int(before) + 600 <= int(expiry) <= time.time() + 600
    assert entry["urls"] == [
        f"turn:127.0.0.1:{turn.port}?transport=udp",
        f"turn:127.0.0.1:{turn.port}?transport=tcp",
    ]
    for transport in ("udp", "tcp"):
        address, _ = await allocate(turn, entry["username"], entry["credential"], transport)
        assert address == "127.0.0.1"
    assert turn.allocations() == 2


async def test_what_a_mode_switch_says_allocates(
    turn: Coturn, start_gateway: StartGateway, caller: MakeCaller
) -> None:
    gateway = await start_gateway(**settings_for(turn))
    ada, bob, cleo = [await caller(gateway, name) for name in ("ada", "bob", "cleo")]
    await ada.initiate()
    await bob.join(ada.call_id)
    await cleo.join(ada.call_id)
    (entry,) = (await bob.wait("call:mode-switch"))["iceServers"]
    assert entry["username"].endswith(":bob")
    await allocate(turn, entry["username"], entry["credential"])


@pytest.mark.parametrize("age_s", [1, 86_400])
async def test_an_expired_credential_is_refused(turn: Coturn, age_s: int) -> None:
    lifetime_s = 60
    made = turn_credential(turn.secret, "ada", now_s=time.time() - lifetime_s - age_s, ttl_s=lifetime_s)
    assert await refusal(turn, made.username, made.credential) == 401
    still_good = turn_credential(turn.secret, "ada", now_s=time.time() - lifetime_s + 20, ttl_s=lifetime_s)
    await allocate(turn, still_good.username, still_good.credential)


async def test_an_allocation_outlives_its_credential(tmp_path: Path) -> None:
    need_coturn()
    async with coturn(tmp_path, stale_nonce=1) as server:
        made = turn_credential(server.secret, "ada", now_s=time.time(), ttl_s=2)
        relay, _ = await aioice.turn.create_turn_endpoint(
            asyncio.DatagramProtocol,
            server_addr=("127.0.0.1", server.port),
            username=made.username,
            password=made.credential,
        )
        await asyncio.sleep(3.5)
        assert await refusal(server, made.username, made.credential) == 401
        client = relay._TurnTransport__inner_protocol
        nonce = client.nonce
        await client.channel_bind(0x4000, ("127.0.0.1", 9))
        assert client.nonce != nonce
        await relay._close()


async def test_a_credential_of_another_secret_or_for_another_name_is_refused(turn: Coturn) -> None:
    other = turn_credential("not the secret", "ada", now_s=time.time(), ttl_s=600)
    assert await refusal(turn, other.username, other.credential) == 401
    good = turn_credential(turn.secret, "ada", now_s=time.time(), ttl_s=600)
    later = f"{int(time.time()) + 900}:ada"
    assert await refusal(turn, later, good.credential) == 401
    assert await refusal(turn, good.username.replace("ada", "eve"), good.credential) == 401
    assert turn.allocations() == 0


async def test_a_malformed_server_keeps_the_gateway_from_starting(start_gateway: StartGateway) -> None:
    with pytest.raises(ConfigError, match=r"turn_servers: 'turn:host:99999' has the port 99999"):
        await start_gateway(turn_servers=["turn:host:99999"], turn_secret="s" * 32)
