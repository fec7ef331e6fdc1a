"""The client address of a request, whatever its headers claim."""

from __future__ import annotations

import pytest

from tests.integration.edge.conftest import StartService
from tests.integration.raw_http import RawAnswer, raw_connection

CLIENT = "198.51.100.9"


async def ask(url: str, line: str, *headers: str) -> RawAnswer:
    """Send one request on a connection of its own."""
    async with raw_connection(url) as connection:
        connection.ask(line, *headers)
        return await connection.answer()


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Forwarded-For: {invented}", "X-Forwarded-For: {client}"],
        ["X-Forwarded-For: {invented}, 192.0.2.1", "X-Forwarded-For: {client}"],
        ["X-Forwarded-For: {invented}", "x-forwarded-for: {client}, 127.0.0.9"],
        ["X-Forwarded-For: {client}", "X-Forwarded-For: 127.0.0.9", "X-Forwarded-For: 127.0.0.8"],
        ["X-Forwarded-For: {invented}", "X-Forwarded-For:", "X-Forwarded-For: {client}"],
    ],
)
async def test_an_invented_line_of_x_forwarded_for_does_not_beat_the_rate_limit(
    start_service: StartService, lines: list[str]
) -> None:
    url = await start_service(rate_other=3, rate_calls=3, trusted_proxies=["127.0.0.0/8"])
    statuses = []
    for number in range(5):
        headers = [line.format(invented=f"203.0.113.{number}", client=CLIENT) for line in lines]
        # each service has one of the two
        answers = [await ask(url, f"GET {path}", *headers) for path in ("/api/rooms/c", "/api/calls/c")]
        statuses.append({answer.status for answer in answers} - {404})
    assert statuses == [{401}] * 3 + [{429}] * 2


FORWARDED = [
    "Via: 1.1 proxy.example",
    "Forwarded: for=198.51.100.9",
    "X-Forwarded-For: 198.51.100.9",
    "X-Forwarded-Host: sfu.example.org",
    "X-Forwarded-Proto: https",
    "X-Real-IP: 198.51.100.9",
    "CF-Connecting-IP: 198.51.100.9",
    "VIA: HTTP/2 another",
]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:3001",
    "localhost.evil.example",
    "127.0.0.1.evil.example:3001",
    "localhost@evil.example",
    "198.51.100.9:3001",
    "notlocalhost",
    "[2001:db8::1]:3001",
    "",
    "[::1",
]
OWN_HOSTS = ["localhost", "localhost:3001", "LocalHost.", "sfu.localhost:1", "127.0.0.1:3001", "[::1]:3001"]


async def test_the_figures_are_for_this_machine_and_not_for_clients_behind_it(
    start_service: StartService,
) -> None:
    url = await start_service(metrics_token="let-me-see")
    for path in ("/metrics", "/api/stats"):
        if (await ask(url, f"GET {path}")).status != 404:  # the gateway has no /api/stats
            await check_figures(url, path)


async def check_figures(url: str, path: str) -> None:
    """Ask for figures in many ways; one of them is right."""

    async def status(host: str, *headers: str, version: str = "1.1") -> int:
        async with raw_connection(url) as connection:
            connection.send("\r\n".join([f"GET {path} HTTP/{version}", f"Host: {host}", *headers, "", ""]))
            return (await connection.answer()).status

    for host in OWN_HOSTS:
        assert await status(host) == 200, host
    for header in FORWARDED:
        assert await status("localhost", header) == 401, header
    for host in FOREIGN_HOSTS:
        assert await status(host) in (400, 401), host
        assert await status(host, "Origin: http://" + host) in (400, 401), host
    assert await status("localhost", version="1.0") == 401
    assert await status("evil.example", "Via: 1.1 proxy", "Authorization: Bearer let-me-see") == 200


async def test_a_trusted_proxy_does_not_open_the_figures(start_service: StartService) -> None:
    url = await start_service(trusted_proxies=["127.0.0.1"])
    for client in ("127.0.0.1", "::1", "198.51.100.9"):
        answer = await ask(url, "GET /metrics", f"X-Forwarded-For: {client}")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
