"""Chromium's bandwidth estimate does not depend on how long the answer of `produce` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from . import browser
from .stack import media_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.interop,
    pytest.mark.alone,
    pytest.mark.slow(reason="four browsers, one after the other, each five seconds into its estimate"),
    pytest.mark.timeout(200),
]

AFTER_MS = 5000


@pytest.mark.parametrize("beside", ["nothing", "audio"])
async def test_a_late_answer_of_produce_does_not_slow_the_sender(tmp_path: Path, beside: str) -> None:
    """Media sent before the server knows of it must count as received: 5 s on, the estimate is the same."""
    await browser.build_page()
    pages = browser.PageServer()
    estimates: dict[int, int] = {}
    async with pages.running(), media_server(tmp_path / "state", origin=pages.origin) as server:
        for delay_ms in (0, 100, 200, 500):
            who = f"after-{delay_ms}"
            await server.create_room(who)
            config: dict[str, Any] = {
                "server": server.url,
                "callId": who,
                "videoCodec": "video/VP8",
                "produce": True,
                "consume": False,
                "videoOnly": beside == "nothing",
                # Only the answer differs: how Chromium probes depends on when its tracks begin.
                "videoAfterMs": 1500 if beside == "audio" else 0,
                "produceDelayMs": delay_ms,
                "estimateAfterMs": AFTER_MS,
            }
            token = server.token(who, who)
            async with browser.participant(
                pages.origin, tmp_path / who, **config, participantId=who, token=token
            ):
                report = await pages.wait(who, lambda r: r.get("estimate", 0) > 0, within_s=60)
                estimates[delay_ms] = report["estimate"]
            await server.destroy_room(who)
    print(f"beside {beside}, estimate {AFTER_MS} ms after produce by delay: {estimates}")
    for estimate in estimates.values():
        assert abs(estimate / estimates[0] - 1) <= 0.2, estimates
