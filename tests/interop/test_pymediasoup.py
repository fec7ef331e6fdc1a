"""Unmodified pymediasoup talks through the server: our DTLS client role, sha-512, no mid on receive."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from .pymediasoup_peer import MovingBar, PyMediasoupPeer, Tone
from .stack import media_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(90),
    # pymediasoup uses pydantic's version 1 names; that is its business.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def test_two_pymediasoup_participants_receive_each_other(tmp_path: Path) -> None:
    async with media_server(tmp_path) as server:
        await server.create_room("duet")
        ada, bob = PyMediasoupPeer(server, "duet", "ada"), PyMediasoupPeer(server, "duet", "bob")
        try:
            for peer in (ada, bob):
                await peer.load()
            from_ada = await ada.produce(Tone(), MovingBar())
            from_bob = await bob.produce(Tone(), MovingBar())
            await ada.consume(*from_bob)
            await bob.consume(*from_ada)

            deadline = time.monotonic() + 30
            sinks = [*ada.sinks.values(), *bob.sinks.values()]
            while any(sink.frames < (150 if sink.kind == "audio" else 60) for sink in sinks):
                assert time.monotonic() < deadline, [(sink.kind, sink.frames) for sink in sinks]
                await asyncio.sleep(0.1)
            for sink in sinks:
                assert sink.energy > (4000 if sink.kind == "audio" else 180), (sink.kind, sink.energy)
        finally:
            await ada.close()
            await bob.close()
