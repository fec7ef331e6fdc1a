"""A proxy of HTTP and Socket.IO that announces fewer producers than there are.

Passes everything on as it is, but leaves hidden producers out of the answer to a join and drops their `new-producer` events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

Hidden = tuple[str, str]
"""Participant and kind of a producer that nobody is told of."""
_EVENT = "42"
_SHUTDOWN_S = 1.0
_HOP_BY_HOP = frozenset({"connection", "content-length", "content-encoding", "transfer-encoding", "host"})


class SignallingProxy:
    """Serves on a free port of loopback. Use as an async context manager."""

    url: str
    """Where clients reach it, once entered."""
    withheld: set[tuple[str, str]]
    """Participant and id of a producer that this participant was not told of."""

    def __init__(self, server: str, hidden: Collection[Hidden]) -> None:
        self.url = ""
        self.withheld = set()
        self._server = server
        self._hidden = frozenset(hidden)
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=True)
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        body = await request.read()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        async with self._client.request(
            request.method, self._server + request.path_qs, data=body or None, headers=headers
        ) as answer:
            content = await answer.read()
            if request.path.endswith("/join") and answer.status == 200:
                content = self._without_hidden(json.loads(content), json.loads(body))
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            return web.Response(status=answer.status, body=content, headers=kept)

    def _without_hidden(self, answer: dict[str, Any], asked: dict[str, Any]) -> bytes:
        data = answer.get("data") or {}
        receiver = str(asked.get("participantId"))
        if "producers" in data:
            data["producers"] = [p for p in data["producers"] if not self._hides(receiver, p)]
        return json.dumps(answer).encode()

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse()
        await near.prepare(request)
        participant = ""
        async with self._client.ws_connect(self._server + request.path_qs) as far:

            async def towards_server() -> None:
                nonlocal participant
                async for message in near:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        continue
                    event = _event(message.data)
                    if event is not None and event[0] == "join-room":
                        participant = str(event[1].get("participantId"))
                    await far.send_str(message.data)
                await far.close()

            async def towards_client() -> None:
                async for message in far:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        continue
                    event = _event(message.data)
                    if event is None or event[0] != "new-producer" or not self._hides(participant, event[1]):
                        await near.send_str(message.data)
                await near.close()

            await asyncio.gather(towards_server(), towards_client())
        return near

    def _hides(self, receiver: str, producer: dict[str, Any]) -> bool:
        owner = str(producer.get("participantId"))
        if (owner, str(producer.get("kind"))) not in self._hidden or owner == receiver:
            return False
        self.withheld.add((receiver, str(producer.get("producerId"))))
        return True

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the proxy is not started")
        return self._session


def _event(text: str) -> tuple[str, dict[str, Any]] | None:
    """Read an event of Socket.IO with one object; None for anything else."""
    if not text.startswith(_EVENT):
        return None
    try:
        values = json.loads(text[len(_EVENT) :].lstrip("0123456789"))
    except ValueError:
        return None
    if isinstance(values, list) and len(values) > 1 and isinstance(values[1], dict):
        return str(values[0]), values[1]
    return None
