"""One caller: what happens to the tasks that run beside the gateway's events."""

from __future__ import annotations

import gc

from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext
from simulator.client.call_state import CallState
from simulator.client.call_tasks import CallTasks


async def test_work_that_is_not_wanted_before_it_began_ends_without_a_warning() -> None:
    shared = SharedContext(ParticipantIndex(), MediaServers(), lambda *_, **__: None)
    began: list[bool] = []

    async def work() -> None:
        began.append(True)

    async with CallTasks(CallState(1, shared)) as tasks:
        tasks.start(work()).cancel()
    gc.collect()
    assert not began
