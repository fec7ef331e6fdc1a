"""Unmodified mediasoup-client in Debian's Chromium, through the server and back."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from . import browser
from .stack import media_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.interop, pytest.mark.timeout(150)]


@pytest.fixture(autouse=True)
def _needs_browser() -> None:
    reason = browser.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def decoded(report: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [stream for stream in report["inbound"] if stream["kind"] == kind]


def receives_audio_and_video(report: dict[str, Any]) -> bool:
    video, audio = decoded(report, "video"), decoded(report, "audio")
    return (
        bool(video)
        and bool(audio)
        and all(stream["framesDecoded"] >= 30 for stream in video)
        and all(stream["totalAudioEnergy"] > 0 and stream["packetsReceived"] > 50 for stream in audio)
    )


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264", "video/VP9", "video/AV1"])
async def test_two_browsers_exchange_audio_and_video(tmp_path: Path, codec: str) -> None:
    await browser.build_page()
    pages = browser.PageServer()
    async with pages.running(), media_server(tmp_path / "state", origin=pages.origin) as server:
        await server.create_room("pair")
        common = {
            "server": server.url,
            "callId": "pair",
            "produce": True,
            "consume": True,
            "videoCodec": codec,
        }
        async with (
            browser.participant(
                pages.origin,
                tmp_path / "one",
                **common,
                participantId="one",
                token=server.token("pair", "one"),
            ),
            browser.participant(
                pages.origin,
                tmp_path / "two",
                **common,
                participantId="two",
                token=server.token("pair", "two"),
            ),
        ):
            for who in ("one", "two"):
                report = await pages.wait(who, receives_audio_and_video, within_s=60)
                assert {stream["codec"].lower() for stream in decoded(report, "video")} == {codec.lower()}


@pytest.mark.slow(reason="waits for Chromium's estimate to climb")
async def test_send_rate_climbs_and_ice_restart_keeps_the_call(tmp_path: Path) -> None:
    """Transport-wide feedback must lift Chromium past 1 Mbit/s; an ICE restart must not stop the video."""
    await browser.build_page()
    pages = browser.PageServer()
    async with pages.running(), media_server(tmp_path / "state", origin=pages.origin) as server:
        await server.create_room("climb")
        common = {"server": server.url, "callId": "climb", "videoCodec": "video/VP8"}
        async with (
            browser.participant(
                pages.origin,
                tmp_path / "sender",
                **common,
                produce=True,
                consume=False,
                participantId="sender",
                token=server.token("climb", "sender"),
            ),
            browser.participant(
                pages.origin,
                tmp_path / "watcher",
                **common,
                produce=False,
                consume=True,
                participantId="watcher",
                token=server.token("climb", "watcher"),
            ),
        ):
            await pages.wait("watcher", receives_audio_and_video, within_s=60)
            await pages.wait("sender", lambda r: r["availableOutgoingBitrate"] > 1_000_000, within_s=60)

            pages.orders.update(sender="restart-ice", watcher="restart-ice")
            for who in ("sender", "watcher"):
                await pages.wait(who, lambda r: r.get("restarted", False), within_s=15)
            await asyncio.sleep(2)
            before = decoded(pages.reports["watcher"], "video")[0]["framesDecoded"]
            await pages.wait(
                "watcher", lambda r: decoded(r, "video")[0]["framesDecoded"] > before + 30, within_s=20
            )
