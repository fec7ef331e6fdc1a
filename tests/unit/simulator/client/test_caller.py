"""One caller: what happens to the tasks that run beside the gateway's events."""

from __future__ import annotations

import asyncio
import gc
from typing import cast

from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext
from simulator.client.caller import Caller
from simulator.client.gateway import GatewaySocket
from simulator.client.legs import CallBot


async def test_work_that_is_not_wanted_before_it_began_ends_without_a_warning() -> None:
    around = SharedContext(ParticipantIndex(), MediaServers(), lambda *_, **__: None)
    caller = Caller(cast("CallBot", None), GatewaySocket("http://127.0.0.1:1", "token"), around)
    began: list[bool] = []

    async def work() -> None:
        began.append(True)

    async with asyncio.TaskGroup() as caller._group:
        caller._start(work()).cancel()
    gc.collect()
    assert not began
