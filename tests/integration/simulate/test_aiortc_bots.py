"""aiortc bots in their child process, against an echo server that is not ours."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from simulator.bots.aiortc import AiortcGenerator
from simulator.bots.aiortc_media import ClipVideo, SendClock
from simulator.bots.aiortc_peer import Peer
from simulator.bots.clip import Clip, ensure_clip
from simulator.client.bot import Bot, BotSettings, Incoming
from simulator.errors import BotError
from simulator.samples.schema import KINDS, LATENCY, PLAYOUT, SENT, STREAMS
from simulator.scenario import Network

from .echo import Echo

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


async def connect_to_echo(bot: Bot | InProcess, echo: Echo, sender: int) -> None:
    """Connect a bot to the echo server, and let it receive what it sends."""
    for which, transport in (("send", echo.send), ("recv", echo.recv)):
        dtls = await bot.connect(which, await transport.open())  # type: ignore[arg-type]
        assert dtls["role"] == "client"
        await asyncio.wait_for(transport.accept(dtls), 10)
    parameters = [await bot.produce(kind) for kind in KINDS]
    await bot.consume(
        [Incoming(tag, sender, kind, p) for tag, (kind, p) in enumerate(zip(KINDS, parameters, strict=True))]
    )
    echo.start()
    for kind in KINDS:
        await bot.start_sending(kind)


class InProcess:
    """A peer of this process with the interface of a bot."""

    def __init__(self, peer: Peer) -> None:
        self.connect, self.produce, self.start_sending = peer.connect, peer.produce, peer.start_sending
        self._peer = peer

    async def consume(self, streams: Sequence[Incoming]) -> None:
        await self._peer.consume([asdict(stream) for stream in streams])


def check(
    streams: list[dict[str, Any]], latency: list[dict[str, Any]], playout: list[dict[str, Any]]
) -> None:
    """A whole stream of each kind came, was decoded, and took a few milliseconds."""
    by_kind = {row["kind"]: row for row in streams}
    for kind, least in ((0, 60), (1, 40)):
        row = by_kind[kind]
        assert row["packets"] == row["expected"] > least
        assert row["missing"] == row["foreign"] == row["duplicates"] == 0
        assert row["frames_decoded"] > 30
        delays = [sample["owd_ns"] for sample in latency if sample["kind"] == kind]
        assert len(delays) > 5
        assert 0 < sorted(delays)[len(delays) // 2] < 50_000_000
        assert [frame for frame in playout if frame["kind"] == kind]
    assert by_kind[0]["audio_energy"] > 0.001


def rows(collected: Mapping[str, Sequence[Any]], table: str) -> list[dict[str, Any]]:
    return [row for batch in collected[table] for row in batch.to_pylist()]


async def test_a_bot_in_a_child_measures_and_decodes_what_it_sends_itself(clip: Path, tmp_path: Path) -> None:
    echo = Echo()
    async with AiortcGenerator(settings(clip), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await connect_to_echo(bot, echo, sender=7)
        await asyncio.sleep(2)
        collected = await generator.collect(0)
        check(rows(collected, "streams"), rows(collected, "latency"), rows(collected, "playout"))
        (health,) = rows(collected, "generator")
        assert health["sends"] > 100
        assert health["generator"] == "aiortc-0"
        await bot.close()
        await bot.close()
    await echo.close()
    assert generator.failures() == []


@pytest.mark.parametrize("synthetic", [False, True])
async def test_a_peer_measures_and_decodes_what_it_sends_itself(
    clip: Path, monkeypatch: pytest.MonkeyPatch, synthetic: bool
) -> None:
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    samples, playouts, sent, notices, echo = [], [], [], [], Echo()
    peer = Peer(
        7,
        clip=Clip.load(clip),
        synthetic=synthetic,
        network=Network.model_validate({"up": {"jitter_ms": 1}}),
        seeds=(1, 2),
        on_sample=samples.append,
        on_playout=playouts.append,
        on_sent=sent.append,
        notice=lambda event, **values: notices.append((event, values)),
    )
    await connect_to_echo(InProcess(peer), echo, sender=7)
    await asyncio.sleep(2)
    streams = [dict(zip(STREAMS.names, row, strict=True)) for row in peer.rows(0)]
    check(
        streams,
        [dict(zip(LATENCY.names, sample, strict=True)) for sample in samples],
        [dict(zip(PLAYOUT.names, playout, strict=True)) for playout in playouts],
    )
    assert all(clock.sends > 40 for clock in peer.clocks)
    recorded = [dict(zip(SENT.names, frame, strict=True)) for frame in sent]
    received = [dict(zip(LATENCY.names, sample, strict=True)) for sample in samples]
    assert {(row["kind"], row["seq"]) for row in received} <= {(row["kind"], row["seq"]) for row in recorded}
    await peer.close()
    await peer.close()
    await echo.close()
    assert ("dtls", {"bot": 7, "which": "recv", "state": "connected"}) in notices


async def test_a_key_frame_request_makes_the_clip_go_on_at_a_key_frame(clip: Path) -> None:
    track = ClipVideo(Clip.load(clip), SendClock(0.0))
    frames = [bytes(await track.recv()) for _ in range(5)]
    track.request_key_frame()
    assert frames[0][0] & 1 == 0
    assert all(frame[0] & 1 == 1 for frame in frames[1:])
    assert bytes(await track.recv())[0] & 1 == 0


async def test_media_that_is_late_is_counted_and_not_rushed() -> None:
    clock = SendClock(0.001)
    await clock.wait()
    await asyncio.sleep(1.05)
    await clock.wait()
    await clock.wait()
    assert (clock.sends, clock.late) == (3, 1)


async def test_loss_and_foreign_stamps_are_counted(clip: Path, tmp_path: Path) -> None:
    echo = Echo(drop=lambda number: number % 8 == 5)
    async with AiortcGenerator(settings(clip), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await connect_to_echo(bot, echo, sender=8)
        await asyncio.sleep(2)
        audio = next(row for row in rows(await generator.collect(0), "streams") if row["kind"] == 0)
        assert audio["missing"] / audio["expected"] == pytest.approx(0.125, abs=0.03)
        assert audio["missing_first"] == audio["missing"]
        assert audio["foreign"] > 3
    await echo.close()


async def test_an_emulated_delay_is_measured(clip: Path, tmp_path: Path) -> None:
    echo = Echo()
    network = {"down": {"delay_ms": 100}, "up": {"delay_ms": 50}}
    async with AiortcGenerator(settings(clip, network=network), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await connect_to_echo(bot, echo, sender=7)
        await asyncio.sleep(2)
        delays = sorted(row["owd_ns"] / 1e6 for row in rows(await generator.collect(0), "latency"))
        assert delays[len(delays) // 2] == pytest.approx(150, abs=10)
        assert delays[0] >= 149  # timers of the event loop count in milliseconds
    await echo.close()


async def test_a_child_that_was_killed_is_reported(clip: Path, tmp_path: Path) -> None:
    events: list[Any] = []
    async with AiortcGenerator(settings(clip, events), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        os.kill(await generator._children[0].order("setup", **_setup(clip)), signal.SIGKILL)
        with pytest.raises(BotError, match="aiortc-0 was killed by SIGKILL"):
            await bot.connect("send", {})
        await asyncio.sleep(0.1)
        assert "aiortc-0 was killed by SIGKILL; its log is aiortc-0.log" in generator.failures()[0]


async def test_an_order_that_fails_says_why(clip: Path, tmp_path: Path) -> None:
    async with AiortcGenerator(settings(clip), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        with pytest.raises(BotError, match="aiortc-0: KeyError"):
            await bot.connect("send", {})


def _setup(clip: Path) -> dict[str, Any]:
    return {"seed": 1, "bind": "127.0.0.1", "clip": str(clip), "synthetic": False, "network": {}}


@pytest.mark.parametrize("way", ["up", "down"])
async def test_an_emulated_jitter_is_measured_as_it_was_given(way: str, clip: Path, tmp_path: Path) -> None:
    echo = Echo()
    async with AiortcGenerator(settings(clip, network={way: {"jitter_ms": 80}}), tmp_path) as generator:
        (bot,) = await generator.spawn([7])
        await connect_to_echo(bot, echo, sender=7)
        await asyncio.sleep(4)
        collected = await generator.collect(0)
        delays = sorted(row["owd_ns"] / 1e6 for row in rows(collected, "latency"))
        at = [delays[len(delays) * share // 100] for share in (10, 50, 90)]
        # Evenly from 0 to 80; a busy machine adds some.
        assert at == [pytest.approx(10, abs=8), pytest.approx(42, abs=8), pytest.approx(74, abs=8)]
        assert all(row["out_of_order"] == 0 for row in rows(collected, "streams"))
    await echo.close()
