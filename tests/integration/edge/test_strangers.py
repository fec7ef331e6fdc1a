"""What one hostile client with few bytes tries: floods of frames, requests ahead of answers, headers that are kept."""

from __future__ import annotations

import asyncio
import json

import pytest

from meeshy_sfu.edge import http_protocol
from tests.integration.edge.conftest import StartService
from tests.integration.edge.test_connections import OPEN_SOCKET, UPGRADE
from tests.integration.raw_http import RawConnection, raw_connection

PING, PONG = bytes((0x89, 0x80, 0, 0, 0, 0)), bytes((0x8A, 0x80, 0, 0, 0, 0))
LONG = "a" * 100_000


async def open_socket(connection: RawConnection) -> None:
    connection.ask(OPEN_SOCKET, *UPGRADE)
    assert (await connection.answer(has_body=False)).status == 101


async def test_pings_and_pongs_of_websocket_count_as_packets(start_service: StartService) -> None:
    url = await start_service(rate_events=50, rate_window_s=60.0)
    for frame in (PING, PONG):
        async with raw_connection(url) as connection:
            await open_socket(connection)
            connection.send(frame * 200)
            assert await connection.is_closed(), "as many beyond the limit as within end the connection"


async def test_a_few_pings_of_websocket_are_answered(url: str) -> None:
    async with raw_connection(url) as connection:
        await open_socket(connection)
        connection.send(bytes((0x89, 0x82, 0, 0, 0, 0)) + b"hi")
        async with asyncio.timeout(10):
            await connection.reader.readuntil(bytes((0x8A, 2)) + b"hi")


async def test_few_requests_are_read_ahead_of_their_answers(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []
    data_received = http_protocol.Protocol.data_received

    def note(self: http_protocol.Protocol, data: bytes) -> None:
        data_received(self, data)
        waiting.append(len(self._messages))

    monkeypatch.setattr(http_protocol.Protocol, "data_received", note)
    async with raw_connection(url) as connection:
        for _ in range(30):
            connection.ask("GET /ready", f"X-Long: {LONG}")
        for _ in range(30):
            assert (await connection.answer()).status == 200
    assert max(waiting) <= http_protocol.REQUESTS_AHEAD


async def test_requests_of_the_socket_transport_have_small_heads(url: str) -> None:
    for line, added in ((OPEN_SOCKET, UPGRADE), ("GET /socket.io/?EIO=4&transport=polling", ())):
        async with raw_connection(url) as connection:
            connection.ask(line, *added, f"X-Long: {LONG}")
            answer = await connection.answer()
            assert (answer.status, answer.code) == (431, "HEADERS_TOO_LARGE")


async def test_a_bearer_that_is_no_utf_8_is_no_internal_error(start_service: StartService) -> None:
    url = await start_service(metrics_token="the-metrics-token-of-this-test-0123")
    for path in ("/metrics", "/api/stats", "/api/rooms/call-1"):
        async with raw_connection(url) as connection:
            connection.send(
                b"GET %s HTTP/1.1\r\nHost: somewhere\r\nAuthorization: Bearer \xff\xfe\xed\xa0\x80\r\n\r\n"
                % path.encode()
            )
            assert (await connection.answer()).status in (401, 404)


async def test_pages_of_other_origins_read_no_figures_whatever_origins_may_call(
    start_service: StartService,
) -> None:
    url = await start_service(cors_origins=["*"])
    for header, status in (
        ("X-Nothing: 1", 200),
        ("Origin: http://localhost:5173", 200),
        ("Origin: https://evil.example", 401),
        ("Origin: null", 401),
    ):
        async with raw_connection(url) as connection:
            connection.ask("GET /metrics", header)
            assert (await connection.answer()).status == status, header


async def test_a_host_that_is_none_opens_no_figures(url: str) -> None:
    for host in (
        "localhost/.evil.example",
        "localhost?.evil.example",
        "evil.example@localhost",
        "localhost#evil",
    ):
        async with raw_connection(url) as connection:
            connection.send(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")
            assert (await connection.answer()).status == 401, host


async def test_what_to_send_is_said_without_stars(url: str) -> None:
    async with raw_connection(url) as connection:
        connection.ask("GET /api/rooms/call-1")
        assert b"***" not in (await connection.answer()).body


async def test_a_long_poll_is_told_in_the_envelope_why_its_packets_ended_it(url: str) -> None:
    for body, code in ((b"4" + b"a" * 20_000, "INVALID_REQUEST"), (b"451-[]", "INVALID_REQUEST")):
        async with raw_connection(url) as connection:
            connection.ask("GET /socket.io/?EIO=4&transport=polling")
            sid = json.loads((await connection.answer()).body[1:])["sid"]
            connection.ask(
                f"POST /socket.io/?EIO=4&transport=polling&sid={sid}",
                f"Content-Length: {len(body)}",
                body=body,
            )
            answer = await connection.answer()
            assert answer.code == code
            assert b"no request of Engine.IO" not in answer.body, "its own reason, not the engine's words"


async def test_a_client_that_leaves_in_its_handshake_leaves_no_traceback(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(30):
        async with raw_connection(url) as connection:
            connection.ask(OPEN_SOCKET, *UPGRADE)
            await connection.writer.drain()
            connection.writer.transport.abort()
    async with raw_connection(url) as connection:
        connection.ask("GET /ready")
        assert (await connection.answer()).status == 200
    await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.exc_info]
