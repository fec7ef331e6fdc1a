"""Calls that switch, through a real gateway and media server: no call is dropped, and no media stalls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pandas as pd
import pytest

from simulator.bots.aiortc_legs import AiortcCallBotGenerator
from simulator.bots.clip import ensure_clip
from simulator.bots.native_legs import NativeCallBotGenerator
from simulator.client.bot import BotSettings
from simulator.client.legs import CallBot, Track
from simulator.runs.base import pattern_of
from simulator.runs.faults import FAULTS, FaultInjector
from simulator.samples.schema import KINDS
from simulator.scenario import Network, Scenario
from simulator.summary import Summary

pytestmark = [
    pytest.mark.slow(reason="whole runs: servers, participants, changes of mode, and the report"),
    pytest.mark.timeout(200),
]

PATIENCE_S = 20.0


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """The media all bots send."""
    return str(ensure_clip(tmp_path / "cache"))


def settings(clip: str) -> BotSettings:
    return BotSettings(seed=1, network=Network(), clip=clip, bind="127.0.0.1", on_event=lambda *_, **__: None)


def run_ready(tmp_path: Path, name: str, **changes: object) -> Summary:
    """Run a ready scenario; what is judged is up to the test, as others may use the machine."""
    scenario = Scenario.load(name).with_values(changes)
    _, summary = asyncio.run(
        pattern_of(scenario).make_run(scenario, state=tmp_path, out=tmp_path / "run").execute()
    )
    assert summary.verdict != "error", summary.reasons
    assert summary.dropped_calls == 0
    assert summary.foreign_frames == 0
    assert summary.leftovers is not None
    assert summary.leftovers.findings == []
    return summary


async def talk(one: CallBot, other: CallBot) -> None:
    """Let one offer and the other answer, until both receive each other's audio and video."""
    offering = await one.offer(other.number)
    answering = await other.answer(one.number, offering.description)
    for leg in (offering, answering):
        await leg.prefer()
    await offering.accept(answering.description)
    async with asyncio.timeout(PATIENCE_S):
        for leg, sender in ((offering, other), (answering, one)):
            tracks: list[Track] = [(sender.number, kind) for kind in KINDS]
            await leg.arrivals.wait_for(tracks.copy)


def test_native_bots_talk_peer_to_peer(clip: str) -> None:
    async def both() -> None:
        async with NativeCallBotGenerator(settings(clip)) as generator:
            one, other = await generator.spawn_call_bots([1, 2])
            await talk(one, other)

    asyncio.run(both())


def test_native_and_aiortc_bots_talk_peer_to_peer_whoever_offers(clip: str, tmp_path: Path) -> None:
    async def both() -> None:
        async with AiortcCallBotGenerator(settings(clip), tmp_path) as others:
            [other] = await others.spawn_call_bots([2])
            async with NativeCallBotGenerator(settings(clip)) as generator:
                [one] = await generator.spawn_call_bots([1])
                await talk(one, other)
                await talk(other, one)

    asyncio.run(both())


@pytest.mark.parametrize("prewarm", [True, False])
def test_ten_changes_each_way_lose_nothing(tmp_path: Path, prewarm: bool) -> None:
    switching = {"transitions": 10, "stay_s": 0.1, "prewarm": prewarm}
    summary = run_ready(tmp_path, "switch", switching=switching)
    changes, gaps = summary.transition_ms, summary.gap_ms
    assert changes is not None
    assert gaps is not None
    assert changes.failed == 0
    assert changes.to_sfu is not None
    assert changes.to_p2p is not None
    assert changes.to_sfu.samples == changes.to_p2p.samples == 20  # two participants each
    assert gaps.audio is not None
    assert gaps.video is not None
    assert gaps.audio.samples == gaps.video.samples == 40
    for figure in (gaps.audio, gaps.video):
        assert figure.max is not None
        # The plan's limit; what a machine alone must hold is in the scenario's objectives.
        assert figure.max < 2000


def test_aiortc_bots_switch_too(tmp_path: Path) -> None:
    switching = {"transitions": 2, "stay_s": 0.1}
    summary = run_ready(tmp_path, "switch", switching=switching, participants={"bots": "aiortc"})
    assert summary.transition_ms is not None
    assert summary.transition_ms.failed == 0
    assert summary.transition_ms.to_sfu is not None
    assert summary.transition_ms.to_sfu.samples == 4


@pytest.mark.parametrize("video", [False, True], ids=["audio", "audio and video"])
def test_all_participants_join_at_once(tmp_path: Path, *, video: bool) -> None:
    # Long enough that a join on a busy machine ends within it: one that does not has no sample.
    values = {"participants": {"count": 12}, "hold": {"duration_s": 4}, "media": {"video": video}}
    summary = run_ready(tmp_path, "storm", **values)
    assert summary.join_ms is not None
    assert summary.join_ms.samples == 11  # all but the initiator
    assert summary.transition_ms is not None
    assert summary.transition_ms.to_sfu is not None
    assert summary.transition_ms.to_sfu.samples == 2  # one change, for the first two


@pytest.mark.timeout(300)
def test_calls_survive_joins_leaves_and_a_fault_of_each_kind(tmp_path: Path) -> None:
    churn = {"calls": 2, "people": 4, "pause_s": 0.5, "chaos": 0.15}
    summary = run_ready(
        tmp_path, "churn", churn=churn, participants={"count": 8}, hold={"duration_s": 60}, seed=3
    )
    assert summary.join_ms is not None
    assert summary.join_ms.samples > 4
    faults = pd.read_parquet(tmp_path / "run" / "deaths.parquet")
    assert set(faults["what"]) == set(FAULTS)


def test_the_same_seed_draws_the_same_faults() -> None:
    def drawn(seed: int) -> list[str]:
        faults = FaultInjector(None, seed)  # type: ignore[arg-type]
        return [faults.next() for _ in range(12)]

    assert drawn(3) == drawn(3)
    assert sorted(drawn(3)[:4]) == sorted(FAULTS)
    assert any(drawn(3) != drawn(seed) for seed in (4, 5, 6))
