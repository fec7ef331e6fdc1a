"""A connection of Engine.IO by hand, over WebSocket or long polling, for packets that no client library would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

from tests.integration.hearing import DEADLINE_S, eventually
from tests.wire_check import check_packet

SEPARATOR = "\x1e"


class WireSocket:
    """One connection; what the server sent is in `got`, why it closed the WebSocket in `close_reason`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, *, polling: bool) -> None:
        self.got: list[str] = []
        self.posted: list[tuple[int, str]] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.answers_pings = True
        self._http, self._url, self._polling = http, f"{url}/socket.io/?EIO=4", polling
        self._ws: Any = None
        self._sid = ""
        self._reading: asyncio.Task[None] | None = None

    async def open(self, token: str | None = None) -> WireSocket:
        """Connect, and present a token if there is one."""
        if self._polling:
            async with self._http.get(f"{self._url}&transport=polling") as answer:
                self._sid = json.loads((await answer.text())[1:])["sid"]
        else:
            self._ws = await self._http.ws_connect(f"{self._url}&transport=websocket", max_msg_size=0)
            self._sid = json.loads((await self._ws.receive_str())[1:])["sid"]
        self._reading = asyncio.create_task(self._read())
        if token is not None:
            await self.send("40" + json.dumps({"token": token}))
            await self.until(lambda: any(packet.startswith("40") for packet in self.got))
        return self

    async def send(self, *packets: str | bytes) -> None:
        """Send packets: each in a frame of its own, or all in one POST; what a closed connection refuses is no error."""
        if self._polling:
            body = SEPARATOR.join(p if isinstance(p, str) else "bAAAA" for p in packets)
            async with self._http.post(f"{self._url}&transport=polling&sid={self._sid}", data=body) as answer:
                self.posted.append((answer.status, await answer.text()))
            return
        try:
            for packet in packets:
                await (self._ws.send_str(packet) if isinstance(packet, str) else self._ws.send_bytes(packet))
        except ConnectionError:
            pass

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something the server sends, or for its end."""
        await eventually(holds)

    async def ended(self) -> None:
        """Wait until the server has closed the connection."""
        assert self._reading is not None
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(self._reading)

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed it."""
        return self._reading is not None and not self._reading.done()

    def told(self, needle: str) -> bool:
        """Whether something in the server's packets, answers or close frame says this."""
        texts = [*self.got, *(text for _, text in self.posted), self.close_reason]
        return any(needle in text for text in texts)

    async def close(self) -> None:
        """End it from here."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._ws is not None:
            await self._ws.close()

    async def _read(self) -> None:
        if self._polling:
            while await self._poll():
                pass
            return
        while (message := await self._ws.receive()).type is aiohttp.WSMsgType.TEXT:
            self.got.append(message.data)
            check_packet(message.data)
            if message.data == "2" and self.answers_pings:
                await self._ws.send_str("3")
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.close_code, self.close_reason = message.data, message.extra or ""

    async def _poll(self) -> bool:
        async with self._http.get(f"{self._url}&transport=polling&sid={self._sid}") as answer:
            text = await answer.text()
            packets = text.split(SEPARATOR) if answer.status == 200 else []
        self.got += packets
        for packet in packets:
            check_packet(packet)
        if "2" in packets and self.answers_pings:
            await self.send("3")
        return bool(packets) and "1" not in packets and packets != [""]
