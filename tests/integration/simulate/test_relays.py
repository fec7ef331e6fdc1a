"""Participants who may only use relays, in calls that switch; the relays are a real coturn's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulator.bots.aiortc_leg_worker import LegContext, PeerLeg
from simulator.bots.aiortc_peer import Reach
from simulator.bots.clip import Clip, ensure_clip
from simulator.errors import UsageError
from simulator.runs.base import pattern_of
from simulator.runs.environment import CallEnvironment
from simulator.scenario import Scenario
from simulator.summary import Summary
from tests.coturn import Coturn, Usage, coturn, need_coturn
from tests.integration.simulate.conftest import Simulate
from tests.integration.simulate.steps import Steps

pytestmark = [
    pytest.mark.slow(reason="starts coturn, and aiortc takes seconds to reach a relay"),
    pytest.mark.timeout(200),
]

PATIENCE_S = 20.0
STAY_S = 1.0


@pytest.fixture
async def turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coturn]:
    """A TURN server that the gateway of a run names."""
    need_coturn()
    async with coturn(tmp_path / "coturn") as server:
        monkeypatch.setenv("MEESHY_TURN_SERVERS", server.server)
        monkeypatch.setenv("MEESHY_TURN_SECRET", server.secret)
        yield server


async def there_and_back(environment: CallEnvironment) -> None:
    """Two talk, a third joins and leaves again; in each mode all receive all others."""
    first, second, third = (environment.caller(bot, "c") for bot in environment.bots)
    call_id = await first.initiate("c")
    await second.join(call_id)

    async def all_receive(mode: str, *callers: Any) -> None:
        numbers = {caller.bot.number for caller in callers}
        for caller in callers:
            await caller.until_in(mode, PATIENCE_S)
            await caller.until_receiving(numbers - {caller.bot.number}, PATIENCE_S)
        await asyncio.sleep(STAY_S)

    await all_receive("p2p", first, second)
    await third.join(call_id)
    await all_receive("sfu", first, second, third)
    await environment.dismiss(third)
    await all_receive("p2p", first, second)


async def perform(
    state: Path, tmp_path: Path, bots: str, **participants: Any
) -> tuple[Summary, list[dict[str, Any]]]:
    """Run the steps; returns the summary and all events."""
    scenario = Scenario.load("switch").with_values(
        {"participants": {"bots": bots, "relay_only": True, **participants}}
    )
    _, summary = await Steps(there_and_back).make_run(scenario, state=state, out=tmp_path / "run").execute()
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    return summary, [json.loads(line) for line in lines]


def pairs(events: list[dict[str, Any]], name: str) -> list[tuple[int, str, str]]:
    """The candidate types that each bot's connections use: event `ice` towards the server, `dtls` between peers."""
    return [(e["bot"], e["local"], e["remote"]) for e in events if e["event"] == name and "local" in e]


def relayed(usages: list[Usage], bot: int) -> tuple[int, int]:
    """How many packets coturn relayed from and to one participant."""
    own = [usage for usage in usages if usage.user.endswith(f":person-{bot}")]
    return sum(usage.sent for usage in own), sum(usage.received for usage in own)


async def test_aiortc_bots_talk_through_relays_alone_in_both_modes_and_across_the_change(
    state: Path, tmp_path: Path, turn: Coturn
) -> None:
    summary, events = await perform(state, tmp_path, "aiortc")
    assert summary.verdict != "error", summary.reasons
    assert (summary.dropped_calls, summary.foreign_frames) == (0, 0)
    direct = pairs(events, "dtls")
    assert set(direct) == {(1, "relay", "relay"), (2, "relay", "relay")}
    to_server = pairs(events, "ice")
    assert set(to_server) == {(1, "relay", "host"), (2, "relay", "host"), (3, "relay", "host")}
    # A connection to a peer takes one allocation, one to the server another each way: all of them were used.
    usages = await turn.usages(len(direct) + len(to_server))
    for bot, seconds in ((1, 3), (2, 3), (3, 1)):
        sent, received = relayed(usages, bot)
        assert sent > 50 * seconds * STAY_S
        assert received > 50 * seconds * STAY_S


async def test_an_aiortc_bot_whose_relay_takes_only_tcp_talks_to_native_ones(
    state: Path, tmp_path: Path, turn: Coturn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_TURN_SERVERS", f"turn:127.0.0.1:{turn.port}?transport=tcp")
    summary, events = await perform(state, tmp_path, "mixed", observers=2)
    assert summary.verdict != "error", summary.reasons
    assert (summary.dropped_calls, summary.foreign_frames) == (0, 0)
    # The first is native: the pair is that one, without a relay, and the second, with one.
    direct = pairs(events, "dtls")
    assert direct
    assert set(direct) == {(2, "relay", "host")}
    assert {(bot, local) for bot, local, _ in pairs(events, "ice")} == {(2, "relay"), (3, "relay")}
    usages = await turn.usages(3)
    sent, received = relayed(usages, 2)
    assert min(sent, received) > 100 * STAY_S
    assert relayed(usages, 1) == (0, 0)


async def test_a_relay_that_is_refused_is_named(
    state: Path, tmp_path: Path, turn: Coturn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_TURN_SECRET", "not the secret")

    async def call(environment: CallEnvironment) -> None:
        first, second = (environment.caller(bot, "c") for bot in environment.bots[:2])
        await second.join(await first.initiate("c"))
        await first.until("trouble", lambda: False, 3)

    values = {"participants": {"bots": "aiortc", "relay_only": True}, "switching": {"prewarm": False}}
    scenario = Scenario.load("switch").with_values(values)
    await Steps(call).make_run(scenario, state=state, out=tmp_path / "run").execute()
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    troubles = [event["error"] for event in events if event["event"] == "trouble"]
    place = f"turn:127.0.0.1:{turn.port}?transport=udp"
    assert any(f"only relays may be used, and {place} gave none" in trouble for trouble in troubles), troubles


def test_relays_without_a_turn_server_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURN_SERVERS", "TURN_SECRET"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"MEESHY_{name}", raising=False)
    scenario = Scenario.load("switch").with_values({"participants": {"bots": "aiortc", "relay_only": True}})
    with pytest.raises(UsageError, match="set MEESHY_TURN_SERVERS and MEESHY_TURN_SECRET"):
        pattern_of(scenario).make_run(scenario, state=tmp_path)


@pytest.mark.parametrize(
    ("scenario", "bots", "words"),
    [
        ("switch", "native", "native bots have no TURN client"),
        ("group", "aiortc", "the scenario 'group' does not take this option"),
    ],
)
def test_relays_are_refused_where_there_are_none(
    simulate: Simulate, scenario: str, bots: str, words: str
) -> None:
    run = simulate(scenario, "--bots", bots, "--relay-only")
    assert run.code == 2
    assert words in run.stderr


def test_switches_are_read_from_the_environment(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEESHY_SIMULATE_PREWARM", "false")
    monkeypatch.setenv("MEESHY_SIMULATE_RELAY_ONLY", "true")
    run = simulate("switch", "--bots", "native")
    assert run.code == 2
    assert "native bots have no TURN client" in run.stderr


async def test_bots_ask_no_server_that_was_not_named_to_them(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def ask(_: Any, server: Any) -> None:
        asked.append(server)
        raise ConnectionError("no server is to be asked")

    monkeypatch.setattr("aioice.ice.server_reflexive_candidate", ask)
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    clip = Clip.load(ensure_clip(state / "cache"))
    for reach in (Reach(), Reach.of([{"urls": ["stun:127.0.0.1:9"]}], relay_only=False)):
        context = LegContext(1, clip, [], [], lambda *_, **__: None, sent=[])
        leg = PeerLeg(1, 2, context, reach, lambda *_, **__: None)
        await leg.open(None)
        await leg.close()
    assert asked == [("127.0.0.1", 9)]
