"""The last two of three, whose switch failed, receive each other, with real ICE, DTLS and SRTP."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from meeshy_sfu.gateway.app import Gateway
from simulator.bots.clip import ensure_clip
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.client.bot import BotSettings
from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext, user_name
from simulator.client.caller import Caller
from simulator.client.gateway import GatewaySocket, user_token
from simulator.scenario import Network
from tests.integration.gateway.callers import SECRET
from tests.integration.gateway.conftest import settings_for

pytestmark = [pytest.mark.slow(reason="waits for a leg that never comes up"), pytest.mark.timeout(120)]

PATIENCE_S = 20.0


async def test_two_participants_left_after_a_failed_switch_receive_each_other(tmp_path: Path) -> None:
    clip = str(ensure_clip(tmp_path / "cache"))
    bots = BotSettings(seed=1, network=Network(), clip=clip, bind="127.0.0.1", on_event=lambda *_, **__: None)
    async with AsyncExitStack() as stack:
        settings = settings_for(tmp_path, media_server_urls=["http://127.0.0.1:9"])
        gateway = await stack.enter_async_context(await Gateway.start(settings))
        servers = await stack.enter_async_context(MediaServers())
        generator = await stack.enter_async_context(NativeCallBotGenerator(bots))
        around = SharedContext(ParticipantIndex(), servers, lambda *_, **__: None)
        first, second, third = [
            Caller(bot, GatewaySocket(gateway.url, user_token(SECRET, user_name(number), "c1")), around)
            for number, bot in enumerate(await generator.spawn_call_bots([1, 2, 3]), start=1)
        ]
        running = [asyncio.create_task(caller.run()) for caller in (first, second, third)]
        stack.push_async_callback(asyncio.gather, *running, return_exceptions=True)
        for task in running:
            stack.callback(task.cancel)
        call_id = await first.initiate("c1")
        await second.join(call_id)
        await second.until_receiving([1], PATIENCE_S)
        await third.join(call_id)
        await first.leave()
        await second.until_receiving([3], PATIENCE_S)
        await third.until_receiving([2], PATIENCE_S)
        await second.until("the end of the switch", lambda: second.epoch == third.epoch > 0, PATIENCE_S)
        (change,) = [one for one in second.record.transitions if one.completed_ns]
        assert (change.old, change.new, change.success) == ("p2p", "p2p", True)
        assert gateway.calls.live[call_id].mode.pair == {second.participant_id, third.participant_id}
