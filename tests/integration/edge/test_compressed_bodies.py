"""A body that no handler reads is never inflated and never waited for, whatever its path."""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from typing import Any

import aiohttp
import brotli
import pytest
from aiohttp import compression_utils

from tests.integration.raw_http import RawAnswer, raw_connection

UNPACKED = bytes(8 << 20)
BOMBS = {
    "gzip": gzip.compress(UNPACKED),
    "deflate": zlib.compress(UNPACKED),
    "br": brotli.compress(UNPACKED, quality=1),
}
REQUESTS = [
    "POST /nothing/here",
    "GET /health",
    "HEAD /health",
    "DELETE /health",
    "OPTIONS /api/rooms/call-1",
    "POST /api/rooms/call-1/create",
    "POST /api/calls/call-1/join",
    "POST /socket.io/?EIO=4&transport=polling",
    "GET /socket.io/?EIO=4&transport=polling",
    "PUT /socket.io/",
    "POST /metrics",
    "GET /",
]


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much each call of a decompressor of aiohttp was handed."""
    seen: list[int] = []
    for name in ("ZLibDecompressor", "BrotliDecompressor", "ZSTDDecompressor"):
        kind = getattr(compression_utils, name)

        def note(self: Any, data: bytes, *args: Any, real: Any = kind.decompress_sync, **named: Any) -> Any:
            seen.append(len(data))
            return real(self, data, *args, **named)

        monkeypatch.setattr(kind, "decompress_sync", note)
    return seen


def by_length(body: bytes) -> tuple[str, bytes]:
    """The header and the bytes of a body with its length in front."""
    return f"Content-Length: {len(body)}", body


def in_chunks(body: bytes) -> tuple[str, bytes]:
    """The same in one chunk."""
    return "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def refused(url: str, line: str, *headers: str, body: bytes) -> RawAnswer:
    """Send a request that must be refused and its connection closed; gives the answer."""
    async with raw_connection(url) as connection:
        connection.ask(line, *headers, body=body)
        answer = await connection.answer(has_body=not line.startswith("HEAD"))
        assert await connection.is_closed()
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer


@pytest.mark.parametrize("line", REQUESTS)
async def test_a_compressed_body_is_refused_before_anything_is_inflated(
    url: str, inflated: list[int], line: str
) -> None:
    for encoding, bomb in BOMBS.items():
        for framed in (by_length, in_chunks):
            framing, body = framed(bomb)
            answer = await refused(url, line, f"Content-Encoding: {encoding}", framing, body=body)
            assert answer.status == 415
            if not line.startswith("HEAD"):
                assert answer.code == "UNSUPPORTED_MEDIA_TYPE"
    assert inflated == []


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Encoding: identity"],
        ["Content-Encoding: x-gzip"],
        ["CONTENT-ENCODING: GzIp"],
        ["Content-Encoding: gzip, br"],
        ["Content-Encoding: gzip", "Content-Encoding: br"],
        ["Content-Encoding: identity", "content-encoding: gzip"],
        ["Content-Encoding: zstd"],
        ["Content-Encoding: nothing-known"],
        ["Content-Encoding:"],
        ["Content-Encoding: gzip", "Expect: 100-continue"],
        ["Content-Encoding: gzip", "Expect: something-else"],
    ],
)
async def test_any_content_encoding_is_refused_however_it_is_written(
    url: str, inflated: list[int], headers: list[str]
) -> None:
    for framed in (by_length, in_chunks):
        framing, body = framed(BOMBS["gzip"])
        answer = await refused(url, "POST /api/rooms/call-1/create", *headers, framing, body=body)
        assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert inflated == []


@pytest.mark.parametrize(
    "headers",
    [
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: GZIP , Chunked"],
        ["transfer-encoding: deflate,chunked"],
    ],
)
async def test_a_transfer_coding_that_compresses_is_refused_as_well(
    url: str, inflated: list[int], headers: list[str]
) -> None:
    answer = await refused(url, "POST /nothing", *headers, body=in_chunks(BOMBS["gzip"])[1])
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert inflated == []


async def test_a_body_without_content_encoding_is_read_as_it_is(url: str, inflated: list[int]) -> None:
    async with raw_connection(url) as connection:
        framing, body = by_length(b'{"a": 1}')
        for _ in range(2):
            connection.ask("POST /nothing", framing, "Accept-Encoding: gzip, br", body=body)
            assert (await connection.answer()).code == "NOT_FOUND"
    assert inflated == []


@pytest.mark.parametrize("line", ["POST /nothing", "DELETE /health", "POST /socket.io/?EIO=4&sid=none"])
async def test_an_unread_body_closes_the_connection(url: str, line: str) -> None:
    for framing in ("Content-Length: 4000000000", "Transfer-Encoding: chunked"):
        async with raw_connection(url) as connection:
            connection.ask(line, framing, body=b"ff\r\n")
            answer = await connection.answer()
            assert answer.headers["connection"] == "close"
            assert 400 <= answer.status < 500
            assert await connection.is_closed()


async def test_an_unknown_expectation_is_refused_in_the_envelope(url: str) -> None:
    async with raw_connection(url) as connection:
        connection.ask("GET /health", "Expect: the-unexpected")
        assert (await connection.answer()).code == "INVALID_REQUEST"


async def test_a_web_socket_agrees_to_no_compression(url: str) -> None:
    headers = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ]
    async with raw_connection(url) as connection:
        connection.ask("GET /socket.io/?EIO=4&transport=websocket", *headers)
        answer = await connection.answer()
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers


async def test_health_answers_while_bombs_arrive(
    url: str, http: aiohttp.ClientSession, inflated: list[int]
) -> None:
    longest_s = 0.0

    async def throw() -> None:
        for encoding, bomb in BOMBS.items():
            for line in REQUESTS:
                async with raw_connection(url) as connection:
                    connection.ask(line, f"Content-Encoding: {encoding}", by_length(bomb)[0], body=bomb)
                    await connection.answer(has_body=False)

    attack = asyncio.gather(*(throw() for _ in range(8)))
    while not attack.done():
        began_s = time.perf_counter()
        async with http.get(f"{url}/health") as answer:
            assert answer.status == 200
        longest_s = max(longest_s, time.perf_counter() - began_s)
        await asyncio.sleep(0.01)
    await attack
    assert inflated == []
    assert longest_s < 2, f"/health took {longest_s:.2f} s"
