"""Real workers and real bots on loopback."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.worker import WorkerPool, WorkerSettings
from simulator.bots.clip import ensure_clip
from tests.integration.media.bots import Bots


@pytest.fixture(scope="session")
def certificate() -> Certificate:
    return Certificate.generate(SystemClock())


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
async def pool(certificate: Certificate) -> AsyncIterator[WorkerPool]:
    settings = WorkerSettings(certificate=certificate, size=2, base_port=0, pin=False, allow_panic=True)
    async with await WorkerPool.start(settings) as pool:
        yield pool


@pytest.fixture
def bots(clip: Path) -> Iterator[Bots]:
    bots = Bots(clip)
    yield bots
    bots.stop()
