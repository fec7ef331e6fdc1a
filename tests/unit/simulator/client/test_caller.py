"""One caller: what happens to the tasks that run beside the gateway's events."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

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


async def test_a_switch_found_on_coming_back_is_from_the_gateways_mode_though_the_peer_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A gateway that was killed takes a call of two up, a third joins, and the peer leaves before this socket is back."""
    around = SharedContext(ParticipantIndex(), MediaServers(), lambda *_, **__: None)
    caller = Caller(cast("CallBot", None), GatewaySocket("http://127.0.0.1:1", "token"), around)
    found = {
        "mode": "p2p",
        "phase": "switching_to_sfu",
        "epoch": 2,
        "participants": [],
        "producers": [],
        "mediaServerConfig": {"roomId": "r"},
    }

    async def rejoin() -> dict[str, Any]:
        return found

    monkeypatch.setattr(caller, "_rejoin", rejoin)
    caller._peer = "gone"
    async with asyncio.TaskGroup() as caller._group:
        await caller._come_back(1)
        assert caller._switching is not None
        caller._switching.cancel()
    (transition,) = caller.record.transitions
    assert (transition.epoch, transition.old, transition.new) == (2, "p2p", "sfu")
