"""A worker over the stand-in core, for the tests of media and rooms."""

from collections.abc import AsyncIterator

import pytest

from meeshy_sfu.media.worker import Worker
from tests.unit.media.scripted_core import ScriptedCore, make_worker


@pytest.fixture
def core() -> ScriptedCore:
    return ScriptedCore()


@pytest.fixture
async def worker(core: ScriptedCore) -> AsyncIterator[Worker]:
    worker = make_worker(core)
    yield worker
    worker.close()
