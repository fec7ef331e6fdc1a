"""Native bots and mediasoup: its own rules on their parameters, its host, and, where there is a worker, a whole run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loadtests.peers.mediasoup import Mediasoup
from loadtests.peers.mediasoup_process import HOST, MediasoupProcess
from loadtests.peers.run import PeerRun
from simulator.bots.clip import ensure_clip
from simulator.bots.native import NativeBot, NativeGenerator
from simulator.client.bot import BotSettings, Incoming
from simulator.errors import StackError, UsageError
from simulator.samples.schema import KINDS
from simulator.scenario import Network, Scenario

WORKER = HOST / "node_modules" / "mediasoup" / "worker" / "out" / "Release" / "mediasoup-worker"


@pytest.fixture(autouse=True)
def mediasoup() -> None:
    """Mediasoup's JavaScript is there."""
    if not (HOST / "node_modules" / "mediasoup").is_dir() or shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("mediasoup is missing: .ci/setup test")
        pytest.skip("SKIPPED LOUDLY: mediasoup is missing; run .ci/setup test")


def ask(request: dict[str, Any]) -> dict[str, Any]:
    """Let mediasoup's own code answer."""
    script = Path(__file__).parent / "mediasoup_ortc.mjs"
    done = subprocess.run(
        ["node", str(script), str(HOST)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_mediasoup_takes_what_bots_produce_and_bots_take_what_it_hands_out(tmp_path: Path) -> None:
    """Its validation, mapping and consumers' parameters, without a worker; the pool takes them without an error."""
    errors: list[tuple[object, ...]] = []

    def note(name: str, unix_ns: int, **values: object) -> None:
        errors.append((name, values))

    async def run() -> dict[str, Any]:
        settings = BotSettings(
            seed=1,
            network=Network(),
            clip=str(ensure_clip(tmp_path)),
            bind="127.0.0.1",
            on_event=note,
            synthetic=False,
            bots_per_process=1,
            audio_stamp_every=1,
        )
        async with NativeGenerator(settings) as generator:
            [bot] = await generator.spawn([0])
            assert isinstance(bot, NativeBot)
            capabilities = bot.capabilities(ask({"capabilities": None}))
            produced = {kind: await bot.produce(kind) for kind in KINDS}
            given = ask({"produced": produced, "capabilities": capabilities})
            await bot.consume([Incoming(tag, 1, kind, given[kind]) for tag, kind in enumerate(KINDS)])
            await generator.collect(-1)
            return given

    given = asyncio.run(run())
    assert errors == []
    assert [codec["mimeType"] for codec in given["audio"]["codecs"]] == ["audio/opus"]
    assert [codec["mimeType"] for codec in given["video"]["codecs"]] == ["video/VP8", "video/rtx"]
    assert given["video"]["encodings"][0]["rtx"]["ssrc"]


def test_a_host_without_a_worker_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host ends at once, and its words reach the user."""
    monkeypatch.setenv("MEDIASOUP_WORKER_BIN", str(tmp_path / "none"))

    async def start() -> None:
        async with MediasoupProcess(tmp_path):
            pass

    with pytest.raises(StackError, match="no worker that starts"):
        asyncio.run(start())


def test_a_host_that_was_not_installed_is_a_usage_error(tmp_path: Path) -> None:
    """The error names the command."""
    with pytest.raises(UsageError, match="npm install"):
        MediasoupProcess(tmp_path, host=tmp_path)


@pytest.mark.slow(reason="a whole run through a server that is started for it")
def test_three_bots_through_mediasoup_get_a_verdict(tmp_path: Path) -> None:
    """All streams flow, and what was sent arrives unchanged."""
    if not WORKER.exists() and "MEDIASOUP_WORKER_BIN" not in os.environ:
        pytest.skip(
            "SKIPPED LOUDLY: mediasoup has no worker here: its package neither contains nor could build it"
        )
    scenario = Scenario.load("group").with_values(
        {"participants": {"count": 3, "bots": "native"}, "hold": {"duration_s": 3.0}}
    )
    _, summary = asyncio.run(PeerRun(Mediasoup(), scenario, state=tmp_path, out=tmp_path / "run").execute())
    assert summary.verdict in {"pass", "void"}, summary.reasons
    assert summary.model_dump()["streams"]["flowing"] == 12
