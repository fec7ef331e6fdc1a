"""A router on the worker over the stand-in core, for the media objects' tests."""

import pytest

from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS
from meeshy_sfu.media.router import Router
from meeshy_sfu.media.worker import Worker


@pytest.fixture
async def router(worker: Worker) -> Router:
    return await worker.create_router(DEFAULT_MEDIA_CODECS)
