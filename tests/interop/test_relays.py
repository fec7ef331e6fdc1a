"""Chromium that may only use relays, in calls of the gateway: RTCPeerConnection and mediasoup-client through coturn."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from simulator.bots.aiortc_legs import AiortcCallBotGenerator
from simulator.bots.clip import ensure_clip
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.client.bot import BotSettings
from simulator.client.call_records import MediaServers, ParticipantIndex, SharedContext, user_name
from simulator.client.caller import Caller
from simulator.client.gateway import GatewaySocket, user_token
from simulator.scenario import Network
from simulator.stack.full import GatewayStack
from tests.coturn import Coturn, Usage, coturn, need_coturn

from . import browser
from .browser import PageServer

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow(reason="starts coturn and a browser, and waits for ICE to settle on a relay"),
    pytest.mark.timeout(200),
]

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _needs_both() -> None:
    need_coturn()
    reason = browser.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class Place:
    """A gateway, a media server, a TURN server and pages of participants who may call."""

    def __init__(self, stack: GatewayStack, turn: Coturn, pages: PageServer, directory: Path) -> None:
        self.stack, self.turn, self.pages = stack, turn, pages
        self._directory = directory

    @asynccontextmanager
    async def browser(self, *numbers: int) -> AsyncIterator[None]:
        """A Chromium with these participants, connected to the gateway; each may only use relays."""
        participants = [{"name": user_name(n), "token": self.token(n)} for n in numbers]
        profile = self._directory / f"chromium-{numbers[0]}"
        async with browser.callers(
            self.pages.origin,
            profile,
            gateway=self.stack.gateway.url,
            participants=participants,
            iceTransportPolicy="relay",
        ):
            for number in numbers:
                await self.wait(number, lambda report: report.get("connected", False))
            yield

    def token(self, number: int) -> str:
        return user_token(self.stack.secret, user_name(number), "c")

    def order(self, number: int, what: str, **more: Any) -> None:
        self.pages.orders[user_name(number)] = {"what": what, **more}

    async def wait(self, number: int, holds: Any, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
        return await self.pages.wait(user_name(number), holds, within_s=within_s)

    async def call_of(self, number: int) -> str:
        """The call that a participant of a page has begun."""
        return str((await self.wait(number, lambda report: report["callId"]))["callId"])

    async def all_leave(self, *numbers: int, packets: int) -> None:
        """Let participants of pages leave; coturn must have relayed so many packets each way for each of them."""
        for number in numbers:
            self.order(number, "leave")
        for number in numbers:
            await self.wait(number, lambda report: report["mode"] == "left")
        # Coturn writes down what went through an allocation when that is given back.
        deadline = time.monotonic() + 20
        while True:
            usages = await self.turn.usages(1)
            if all(min(relayed(usages, number)) > packets for number in numbers):
                return
            assert time.monotonic() < deadline, usages
            await asyncio.sleep(0.2)


def relayed(usages: list[Usage], number: int) -> tuple[int, int]:
    """How many packets coturn relayed from and to one participant."""
    own = [usage for usage in usages if usage.user.endswith(f":{user_name(number)}")]
    return sum(usage.sent for usage in own), sum(usage.received for usage in own)


@asynccontextmanager
async def place(directory: Path, *, transport: str = "") -> AsyncIterator[Place]:
    await browser.build_page()
    async with AsyncExitStack() as things:
        pages = await things.enter_async_context(PageServer().running())
        turn = await things.enter_async_context(coturn(directory / "coturn"))
        stack = GatewayStack(
            directory,
            prewarm=False,
            more={
                "MEESHY_CORS_ORIGINS": pages.origin,
                "MEESHY_TURN_SERVERS": f"turn:{turn.server}?transport={transport}"
                if transport
                else turn.server,
                "MEESHY_TURN_SECRET": turn.secret,
            },
        )
        await things.enter_async_context(stack)
        await stack.start()
        yield Place(stack, turn, pages, directory)


def decodes(streams: list[dict[str, Any]], *, others: int = 1) -> bool:
    """Whether video and audio of so many others are decoded."""
    video = [s for s in streams if s["kind"] == "video" and s["framesDecoded"] >= 20]
    audio = [
        s for s in streams if s["kind"] == "audio" and s["totalAudioEnergy"] > 0 and s["packetsReceived"] > 50
    ]
    return len(video) == len(audio) == others


def is_received(path: dict[str, Any]) -> bool:
    """Whether the remote peer reported that it receives audio and video, and the round-trip time."""
    return {s["kind"] for s in path["heard"] if s.get("roundTripTime") is not None} == {"audio", "video"}


def in_p2p(report: dict[str, Any]) -> bool:
    path = report.get("p2p")
    return bool(report["mode"] == "p2p" and path and decodes(path["inbound"]) and is_received(path))


def in_sfu(report: dict[str, Any], *, others: int) -> bool:
    path = report.get("sfu")
    return bool(
        report["mode"] == "sfu" and path and decodes(path["inbound"], others=others) and is_received(path)
    )


@asynccontextmanager
async def bot_caller(at: Place, kind: str, number: int, directory: Path) -> AsyncIterator[Caller]:
    """A bot: a native one, which has no relay, or one of aiortc, which may use nothing else."""
    clip = await asyncio.to_thread(ensure_clip, directory / "cache")
    settings = BotSettings(
        seed=1,
        network=Network(),
        clip=str(clip),
        bind="127.0.0.1",
        on_event=lambda *_, **__: None,
        relay_only=kind == "aiortc",
    )
    notes: list[tuple[str, Any]] = []

    def note(name: str, _: int, **values: object) -> None:
        notes.append((name, values))

    generator = (
        NativeCallBotGenerator(settings) if kind == "native" else AiortcCallBotGenerator(settings, directory)
    )
    async with generator as spawned, MediaServers() as servers:
        (bot,) = await spawned.spawn_call_bots([number])
        socket = GatewaySocket(at.stack.gateway.url, at.token(number))
        caller = Caller(bot, socket, SharedContext(ParticipantIndex(), servers, note))
        running = asyncio.create_task(caller.run())
        yield caller
        assert not [values for name, values in notes if name == "trouble"]
        await caller.leave()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bot.close()


@pytest.mark.parametrize(
    ("first", "kind", "transport", "remote"),
    [
        ("page", "native", "udp", "host"),
        ("bot", "native", "tcp", "host"),
        ("page", "aiortc", "udp", "relay"),
    ],
)
async def test_a_page_behind_a_relay_talks_to_a_bot(
    tmp_path: Path, first: str, kind: str, transport: str, remote: str
) -> None:
    async with (
        place(tmp_path, transport=transport) as at,
        bot_caller(at, kind, 1, tmp_path) as bot,
        at.browser(2),
    ):
        # The participant who was there first makes the offer.
        if first == "page":
            at.order(2, "initiate")
            await bot.join(await at.call_of(2))
        else:
            at.order(2, "join", callId=await bot.initiate("c"))
        path = (await at.wait(2, in_p2p))["p2p"]
        assert (path["local"], path["relayProtocol"], path["remote"]) == ("relay", transport, remote)
        await at.all_leave(2, packets=50)


async def test_pages_behind_relays_go_from_peer_to_peer_to_the_sfu_and_back(tmp_path: Path) -> None:
    async with place(tmp_path) as at, at.browser(1, 3), at.browser(2):
        at.order(1, "initiate")
        call_id = await at.call_of(1)
        at.order(2, "join", callId=call_id)
        for number in (1, 2):
            path = (await at.wait(number, in_p2p))["p2p"]
            assert (path["local"], path["remote"]) == ("relay", "relay")

        at.order(3, "join", callId=call_id)
        for number in (1, 2, 3):
            report = await at.wait(number, lambda r: in_sfu(r, others=2))
            assert report["p2p"] is None
            for way in ("send", "recv"):
                assert report["sfu"][way]["local"] == "relay"
                assert report["sfu"][way]["dtlsState"] == "connected"
        (switched,) = at.pages.reports[user_name(1)]["switched"]
        assert (switched["mode"], switched["success"]) == ("sfu", True)

        at.order(3, "leave")
        for number in (1, 2):
            report = await at.wait(number, in_p2p)
            assert (report["p2p"]["local"], report["p2p"]["remote"]) == ("relay", "relay")
            assert [s["mode"] for s in report["switched"] if s["success"]] == ["sfu", "p2p"]
            assert report["sfu"] is None
        await at.all_leave(1, 2, packets=200)
