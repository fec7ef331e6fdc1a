"""aiortc bots in their child process, against a mirror that is not our server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulator.bot import Bot, BotSettings, Incoming
from simulator.bots.aiortc import AiortcGenerator
from simulator.clip import ensure_clip
from simulator.errors import BotError
from simulator.scenario import Network
from simulator.tables import KINDS

from .mirror import Mirror

pytestmark = pytest.mark.timeout(60)


def settings(clip: Path, events: list[Any] | None = None, **more: Any) -> BotSettings:
    noted = [] if events is None else events
    return BotSettings(
        seed=1,
        network=Network.model_validate(more.pop("network", {})),
        clip=str(clip),
        bind="127.0.0.1",
        on_event=lambda name, unix_ns, **values: noted.append((name, values)),
        **more,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_clip(tmp_path_factory.mktemp("cache"))


async def reflect(bot: Bot, mirror: Mirror, sender: int) -> None:
    """Connect a bot to the mirror, and let it receive what it sends."""
    for which, transport in (("send", mirror.send), ("recv", mirror.recv)):
        dtls = await bot.connect(which, await transport.open())  # type: ignore[arg-type]
        assert dtls["role"] == "client"
        await asyncio.wait_for(transport.accept(dtls), 10)
    parameters = [await bot.produce(kind) for kind in KINDS]
    await bot.consume(
        [Incoming(tag, sender, kind, p) for tag, (kind, p) in enumerate(zip(KINDS, parameters, strict=True))]
    )
    mirror.start()
    for kind in KINDS:
        await bot.start_sending(kind)


def rows(collected: Mapping[str, Sequence[Any]], table: str) -> list[dict[str, Any]]:
    return [row for batch in collected[table] for row in batch.to_pylist()]


@pytest.mark.parametrize("synthetic", [False, True])
async def test_a_bot_measures_and_decodes_what_it_sends_itself(
    clip: Path, tmp_path: Path, synthetic: bool
) -> None:
    mirror = Mirror()
    async with AiortcGenerator(settings(clip, synthetic=synthetic), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await reflect(bot, mirror, sender=7)
        await asyncio.sleep(3)
        collected = await generator.collect(0)
        streams = {row["kind"]: row for row in rows(collected, "streams")}
        for kind, least in ((0, 100), (1, 60)):
            assert streams[kind]["packets"] == streams[kind]["expected"] > least
            assert streams[kind]["missing"] == streams[kind]["foreign"] == 0
            assert streams[kind]["frames_decoded"] > 50
            delays = [row["owd_ns"] for row in rows(collected, "latency") if row["kind"] == kind]
            assert len(delays) > 8
            assert 0 < min(delays) < 50_000_000
            assert [row for row in rows(collected, "playout") if row["kind"] == kind]
        assert streams[0]["audio_energy"] > 0.001
        (health,) = rows(collected, "generator")
        assert health["sends"] > 200
        assert health["generator"] == "aiortc-0"
        await bot.close()
        await bot.close()
    await mirror.close()
    assert generator.failures() == []


async def test_loss_and_foreign_stamps_are_counted(clip: Path, tmp_path: Path) -> None:
    mirror = Mirror(drop=lambda number: number % 8 == 5)
    async with AiortcGenerator(settings(clip), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await reflect(bot, mirror, sender=8)
        await asyncio.sleep(3)
        audio = next(row for row in rows(await generator.collect(0), "streams") if row["kind"] == 0)
        assert audio["missing"] / audio["expected"] == pytest.approx(0.125, abs=0.015)
        assert audio["missing_first"] == audio["missing"]
        assert audio["foreign"] > 5
    await mirror.close()


async def test_an_emulated_delay_is_measured(clip: Path, tmp_path: Path) -> None:
    mirror = Mirror()
    network = {"down": {"delay_ms": 100}, "up": {"delay_ms": 50}}
    async with AiortcGenerator(settings(clip, network=network), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await reflect(bot, mirror, sender=7)
        await asyncio.sleep(3)
        delays = sorted(row["owd_ns"] / 1e6 for row in rows(await generator.collect(0), "latency"))
        assert delays[len(delays) // 2] == pytest.approx(150, abs=10)
        assert delays[0] >= 149  # timers of the event loop count in milliseconds
    await mirror.close()


async def test_a_child_that_was_killed_is_reported(clip: Path, tmp_path: Path) -> None:
    events: list[Any] = []
    async with AiortcGenerator(settings(clip, events), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        os.kill(await generator._children[0].order("setup", **_setup(clip)), signal.SIGKILL)
        with pytest.raises(BotError, match="aiortc-0 has ended"):
            await bot.connect("send", {})
        await asyncio.sleep(0.1)
        assert "aiortc-0 has ended (code -9)" in generator.failures()[0]


async def test_an_order_that_fails_says_why(clip: Path, tmp_path: Path) -> None:
    async with AiortcGenerator(settings(clip), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        with pytest.raises(BotError, match="aiortc-0: KeyError"):
            await bot.connect("send", {})


def _setup(clip: Path) -> dict[str, Any]:
    return {"seed": 1, "bind": "127.0.0.1", "clip": str(clip), "synthetic": False, "network": {}}
