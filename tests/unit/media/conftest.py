"""A worker over the stand-in core, for the media objects' tests."""

from collections.abc import AsyncIterator

import pytest

from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS
from meeshy_sfu.media.router import Router
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


@pytest.fixture
async def router(worker: Worker) -> Router:
    return await worker.create_router(DEFAULT_MEDIA_CODECS)
