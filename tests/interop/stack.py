"""A media server of our own in a child process, for clients of other projects.

Talks to it as any client would: HTTP with tokens made by PyJWT, nothing imported from the server.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt

from meeshy_sfu.free_ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MediaServer:
    """Where the server is and the secret its tokens are signed with."""

    url: str
    secret: str
    session: aiohttp.ClientSession
    log: Path

    def token(self, call_id: str, participant_id: str, *, role: str = "participant") -> str:
        now = int(time.time())
        claims = {
            "aud": "meeshy-media",
            "sub": participant_id,
            "callId": call_id,
            "participantId": participant_id,
            "role": role,
            "iat": now,
            "exp": now + 3600,
        }
        return jwt.encode(claims, self.secret, algorithm="HS256")

    async def api(self, method: str, path: str, token: str, body: Any = None) -> Any:
        """Call the REST API and unwrap the envelope; anything but success is an error with the server's words."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.request(method, self.url + path, json=body, headers=headers) as answer:
            envelope = await answer.json()
            assert envelope.get("success"), f"{method} {path}: {answer.status} {envelope}"
            return envelope.get("data")

    async def create_room(self, call_id: str, media_codecs: list[dict[str, Any]] | None = None) -> Any:
        body = {"mediaCodecs": media_codecs} if media_codecs else None
        token = self.token(call_id, "service", role="service")
        return await self.api("POST", f"/api/rooms/{call_id}/create", token, body)

    async def destroy_room(self, call_id: str) -> None:
        await self.api("DELETE", f"/api/rooms/{call_id}", self.token(call_id, "service", role="service"))


async def _wait_ready(session: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.returncode is not None:
            raise AssertionError(f"the media server ended with {process.returncode} before it was ready")
        try:
            async with session.get(f"{url}/ready") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("the media server was not ready within 20 s")


@asynccontextmanager
async def media_server(state_dir: Path, *, origin: str = "") -> AsyncIterator[MediaServer]:
    """Start `meeshy serve media` on free loopback ports; ended and waited for on exit."""
    (port,), secret = free_ports(1), secrets.token_urlsafe(48)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("MEESHY_")},
        "PORT": str(port),
        "JWT_SECRET": secret,
        "RTC_MIN_PORT": "0",
        "ANNOUNCED_IP": "127.0.0.1",
        "MEESHY_STATE_DIR": str(state_dir),
    }
    if origin:
        environment["FRONTEND_URL"] = origin
    log = state_dir / "server.out"
    state_dir.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "meeshy_sfu",
            "serve",
            "media",
            env=environment,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            try:
                await _wait_ready(session, url, process)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
            yield MediaServer(url, secret, session, log)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 8)
            except TimeoutError:
                process.kill()
                await process.wait()
