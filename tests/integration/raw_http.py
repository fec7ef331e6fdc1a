"""Requests written byte by byte, as no client library would send them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

DEADLINE_S = 10.0


@dataclass(frozen=True)
class RawAnswer:
    """One answer, as it came."""

    status: int
    headers: dict[str, str]
    """Names in small letters."""
    body: bytes

    @property
    def code(self) -> str:
        """The code in the error's envelope."""
        envelope: dict[str, Any] = json.loads(self.body)
        assert envelope["success"] is False
        return str(envelope["error"]["code"])


class RawConnection:
    """One TCP connection to a service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes | str) -> None:
        """Write without waiting."""
        self.writer.write(data.encode() if isinstance(data, str) else data)

    def ask(self, line: str, *headers: str, body: bytes = b"") -> None:
        """Write a request: its first line without the version, then its header lines."""
        self.send("\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + body)

    async def answer(self, *, has_body: bool = True) -> RawAnswer:
        """Read one answer."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            pairs = (line.partition(":")[::2] for line in lines)
            headers = {name.strip().lower(): value.strip() for name, value in pairs}
            length = int(headers.get("content-length", "0")) if has_body else 0
            return RawAnswer(int(first.split()[1]), headers, await self.reader.readexactly(length))

    async def is_closed(self, within_s: float = DEADLINE_S) -> bool:
        """Return whether the service closes the connection in time; what it sends before is thrown away."""
        try:
            async with asyncio.timeout(within_s):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def raw_connection(url: str, *, source: str = "127.0.0.1") -> AsyncIterator[RawConnection]:
    """Connect to the service at a URL, from an address of the loopback network."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
