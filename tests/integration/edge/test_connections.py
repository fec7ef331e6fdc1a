"""Connections that take their time, and more of them than there is room for."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meeshy_sfu.edge import deadlines
from meeshy_sfu.edge.deadlines import Stage
from tests.integration.edge.conftest import StartService
from tests.integration.gateway.callers import Caller
from tests.integration.hearing import eventually
from tests.integration.raw_http import RawConnection, raw_connection
from tests.integration.server.peers import Peer
from tests.integration.server.processes import Meeshy, environment

MALLORY, NEIGHBOUR, WATCHER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
OPEN_SOCKET = "GET /socket.io/?EIO=4&transport=websocket"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time that a test can wait for."""
    monkeypatch.setattr(deadlines, "LIMITS_S", dict.fromkeys(deadlines.LIMITS_S, 1.0))


@asynccontextmanager
async def many(
    url: str, number: int, *, source: str, line: str = "GET /health"
) -> AsyncIterator[list[RawConnection]]:
    """Open connections of an unauthenticated client that stay open, each after one answer."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                one = await stack.enter_async_context(raw_connection(url, source=source))
                opened.append(one)
                one.ask(line, *(UPGRADE if line == OPEN_SOCKET else ()))
                await one.answer(has_body=line != OPEN_SOCKET)
        yield opened


async def still_open(connections: list[RawConnection]) -> int:
    """How many of them the service has not closed."""
    closed = await asyncio.gather(*(one.is_closed(within_s=0.3) for one in connections))
    return closed.count(False)


async def health(url: str, source: str) -> int:
    """Ask as whoever comes from there; gives the status."""
    async with raw_connection(url, source=source) as connection:
        connection.ask("GET /health")
        return (await connection.answer()).status


@asynccontextmanager
async def in_call(url: str, kind: type[Peer] | type[Caller], name: str) -> AsyncIterator[Peer | Caller]:
    """A client with a live socket."""
    async with aiohttp.ClientSession() as session:
        one = Peer(session, url, "call-1", name) if kind is Peer else Caller(session, url, name)
        await one.connect()
        try:
            yield one
        finally:
            await one.close()


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> type[Peer] | type[Caller]:
    """The kind of client for the service of the test."""
    return Caller if "gateway" in request.node.callspec.id else Peer


@pytest.mark.parametrize("beginning", ["", "GET /health HT", "GET /health HTTP/1.1\r\nHost: x\r\n"])
async def test_a_connection_that_asks_for_nothing_is_closed(url: str, hurried: None, beginning: str) -> None:
    async with raw_connection(url) as connection:
        connection.send(beginning)
        assert await connection.is_closed(within_s=5)


@pytest.mark.parametrize("drip", ["GET /health HTTP/1.1\r\nHost: x\r\nX: " + "x" * 1000, "\r\n" * 500])
async def test_a_further_head_that_drips_in_is_not_waited_for(url: str, hurried: None, drip: str) -> None:
    async with raw_connection(url) as connection:
        connection.ask("GET /health")
        assert (await connection.answer()).status == 200

        async def send_slowly() -> None:
            for char in drip:
                connection.send(char)
                await asyncio.sleep(0.05)

        slowly = asyncio.create_task(send_slowly())
        assert await connection.is_closed(within_s=5)
        slowly.cancel()


@pytest.mark.parametrize(
    "line", ["POST /socket.io/?EIO=4&transport=polling&sid=none", "GET /socket.io/?EIO=4&transport=polling"]
)
async def test_a_body_that_drips_in_is_not_waited_for(url: str, hurried: None, line: str) -> None:
    async with raw_connection(url) as connection:
        connection.ask(line, "Content-Length: 1000", body=b"4")

        async def send_slowly() -> None:
            for _ in range(100):
                connection.send(b"x")
                await asyncio.sleep(0.05)

        slowly = asyncio.create_task(send_slowly())
        assert await connection.is_closed(within_s=5)
        slowly.cancel()


async def test_a_connection_is_kept_for_its_next_request_but_not_for_long(
    start_service: StartService,
) -> None:
    url = await start_service(keepalive_s=1)
    async with raw_connection(url) as connection:
        for _ in range(3):
            connection.ask("GET /health")
            assert (await connection.answer()).status == 200
            await asyncio.sleep(0.4)
        assert await connection.is_closed(within_s=5)


async def test_an_answer_that_the_client_does_not_read_is_given_up(url: str, hurried: None) -> None:
    port = int(url.rpartition(":")[2])
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.setblocking(False)
        deaf.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)

        given_up = f'closed_early_total{{reason="{Stage.STALLED}"}} 1.0'
        figures = ""
        async with asyncio.timeout(10), raw_connection(url) as connection:
            while given_up not in figures:
                connection.ask("GET /metrics")
                figures = (await connection.answer()).body.decode()


async def test_idle_connections_of_one_address_do_not_keep_others_out(
    start_service: StartService, kind: type[Peer] | type[Caller]
) -> None:
    url = await start_service(max_connections_per_address=20)
    async with in_call(url, kind, "alice") as alice, many(url, 60, source=MALLORY) as idle:
        assert await still_open(idle) <= 20
        # neither newcomers behind the same address nor others
        for source in (MALLORY, NEIGHBOUR, "127.0.0.1"):
            assert await health(url, source) == 200
        assert alice.socket.connected


async def test_sockets_without_a_token_do_not_keep_neighbours_out(
    start_service: StartService, kind: type[Peer] | type[Caller]
) -> None:
    url = await start_service(max_connections_per_address=20)
    async with many(url, 60, source="127.0.0.1", line=OPEN_SOCKET) as nameless:
        assert await still_open(nameless) <= 20
        async with (
            in_call(url, kind, "alice") as alice,
            in_call(url, kind, "bob") as bob,
            many(url, 60, source="127.0.0.1", line=OPEN_SOCKET),
        ):
            assert alice.socket.connected
            assert bob.socket.connected
            assert await health(url, "127.0.0.1") == 200


async def test_when_all_room_is_taken_the_address_with_the_most_strangers_loses(
    start_service: StartService, kind: type[Peer] | type[Caller]
) -> None:
    url = await start_service(max_connections=30)
    async with (
        in_call(url, kind, "alice") as alice,
        many(url, 3, source=NEIGHBOUR) as few,
        many(url, 100, source=MALLORY) as idle,
    ):
        assert await still_open(idle) <= 30
        assert await still_open(few) == 3
        assert await health(url, WATCHER) == 200
        async with in_call(url, kind, "bob") as bob:
            assert bob.socket.connected
        assert alice.socket.connected


async def test_one_client_with_many_sockets_does_not_keep_neighbours_out(
    start_service: StartService, kind: type[Peer] | type[Caller]
) -> None:
    url = await start_service(max_connections_per_address=4)
    async with AsyncExitStack() as stack:
        greedy = [await stack.enter_async_context(in_call(url, kind, "mallory")) for _ in range(4)]
        alice = await stack.enter_async_context(in_call(url, kind, "alice"))
        await eventually(lambda: not greedy[0].socket.connected)
        assert alice.socket.connected
        assert [one.socket.connected for one in greedy[1:]] == [True] * 3


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for HTTPS, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "https.pem", tmp_path / "https.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


async def test_a_tls_handshake_that_does_not_come_counts_and_ends(
    start_service: StartService, hurried: None, certificate: tuple[Path, Path]
) -> None:
    url = await start_service(tls_cert=certificate[0], tls_key=certificate[1], max_connections_per_address=10)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        silent = [await stack.enter_async_context(raw_connection(url)) for _ in range(30)]
        assert await still_open(silent) <= 10
        async with session.get(f"{url}/health", ssl=trusting) as answer:
            assert answer.status == 200
        closed = await asyncio.gather(*(one.is_closed(within_s=5) for one in silent))
        assert all(closed)


@pytest.mark.timeout(90)
async def test_a_thousand_idle_connections_leave_descriptors_for_others(tmp_path: Path) -> None:
    command = f"ulimit -n 300 && exec {sys.executable} -m meeshy_sfu serve media"
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        command,
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = Meeshy(process, tmp_path)
    try:
        await running.wait_for("REST and Socket.IO")
        async with in_call(running.url, Peer, "alice") as alice, AsyncExitStack() as stack:
            for number in range(10):
                source = f"127.0.1.{number}"
                await stack.enter_async_context(many(running.url, 100, source=source))
            for number in range(5):
                assert await health(running.url, f"127.0.2.{number}") == 200
            assert alice.socket.connected
            async with in_call(running.url, Peer, "bob") as bob:
                assert bob.socket.connected
    finally:
        process.kill()
        await process.wait()
