"""For all tests of the page: what they need is there, or they say how to get it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.people import WebCall, skip_or_fail, web_call


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WebCall]:
    """A stack and a browser; no one has opened the page yet."""
    skip_or_fail()
    async with web_call(tmp_path) as found:
        yield found
