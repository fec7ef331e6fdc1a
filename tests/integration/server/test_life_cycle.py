"""Starting, stopping and failing of the media server and its supervisor, as processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest

from tests.integration.hearing import eventually
from tests.integration.server.peers import SECRET, Peer
from tests.integration.server.processes import is_running, meeshy, run

READY = "as offered to clients"


async def in_call(session: aiohttp.ClientSession, url: str) -> Peer:
    alice = Peer(session, url, "call-1", "alice")
    await alice.join(create=True)
    await alice.connect()
    await alice.join_room()
    return alice


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_calls_in_order_within_five_seconds(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with meeshy(tmp_path, "serve", "media") as server, aiohttp.ClientSession() as session:
        await server.wait_for(READY)
        alice = await in_call(session, server.url)
        began_s = time.monotonic()
        server.signal(number)
        assert (await alice.wait("room-closed"))["reason"] == "server-shutdown"
        assert await server.ended(within_s=6) == 0, server.output
        assert time.monotonic() - began_s < 5
        assert "stopped" in server.output
        assert "Traceback" not in server.output
        await alice.close()


async def test_a_client_that_reads_nothing_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    async with meeshy(tmp_path, "serve", "media") as server, aiohttp.ClientSession() as session:
        await server.wait_for(READY)
        alice = await in_call(session, server.url)
        alice.socket.eio.ws._response.connection.transport.pause_reading()
        server.signal(signal.SIGTERM)
        assert await server.ended(within_s=5) == 0, server.output
        alice.socket.eio.ws._response.connection.transport.abort()


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    variables = {"MEESHY_SHUTDOWN_TIMEOUT_S": "30"}
    async with meeshy(tmp_path, "serve", "media", **variables) as server, aiohttp.ClientSession() as session:
        await server.wait_for(READY)
        alice = await in_call(session, server.url)
        alice.socket.eio.ws._response.connection.transport.pause_reading()
        server.signal(signal.SIGINT)
        await server.wait_for("shutting down")
        server.signal(signal.SIGINT)
        assert await server.ended(within_s=2) in (0, 130)
        alice.socket.eio.ws._response.connection.transport.abort()


async def test_the_start_says_where_everything_is(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {"RTC_MIN_PORT": str(port), "RTC_MAX_PORT": str(port), "ANNOUNCED_IP": "203.0.113.7"}
    async with meeshy(tmp_path, "serve", "media", **variables) as server:
        await server.wait_for(READY)
        assert f"tcp 203.0.113.7:{port}" in server.output.partition(READY)[2]
        assert f"udp 203.0.113.7:{port}" in server.output
        assert SECRET not in server.output
        assert (tmp_path / "certs" / "dtls-key.pem").stat().st_mode & 0o777 == 0o600
        log = tmp_path / "logs" / "media.log"
        await eventually(lambda: "listening on" in log.read_text())  # a thread writes it


async def test_without_a_secret_development_mode_prints_a_token_that_works(tmp_path: Path) -> None:
    async with (
        meeshy(tmp_path, "serve", "media", JWT_SECRET="") as server,
        aiohttp.ClientSession() as session,
    ):
        await server.wait_for("Try: curl")
        token = re.search(r"^\s+(eyJ\S+)$", server.output, re.MULTILINE)
        assert token is not None
        headers = {"Authorization": f"Bearer {token[1]}"}
        async with session.post(f"{server.url}/api/rooms/demo/create", headers=headers) as answer:
            assert answer.status == 200
        code, made = await run(tmp_path, "token", "--call", "demo", "--participant", "p", JWT_SECRET="")
        assert code == 0
        headers = {"Authorization": f"Bearer {made.strip()}"}
        async with session.get(f"{server.url}/api/rooms/demo", headers=headers) as answer:
            assert answer.status == 200
        assert (tmp_path / "development-secret").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "development-secret").read_text().strip() not in server.output
        assert token[1] not in (tmp_path / "logs" / "media.log").read_text()


@pytest.mark.parametrize(
    ("variables", "arguments", "code", "words"),
    [
        ({"MEESHY_MAX_ROMS": "1"}, (), 2, ["MEESHY_MAX_ROMS", "did you mean MEESHY_MAX_ROOMS"]),
        ({"PORT": "x"}, (), 2, ["PORT in the environment", "whole number"]),
        (
            {"JWT_SECRET": "", "MEESHY_HOST": "0.0.0.0"},
            (),
            2,
            ["refusing to listen on 0.0.0.0", "JWT_SECRET"],
        ),
        ({"JWT_SECRET": "short"}, (), 2, ["at least 32 bytes"]),
        ({}, ("--config", "nowhere.toml"), 2, ["cannot read nowhere.toml"]),
        ({}, ("--no-such-flag",), 2, ["No such option"]),
        ({"MEESHY_TLS_CERT": "no.pem", "MEESHY_TLS_KEY": "no.pem"}, (), 1, ["no.pem", "PEM files"]),
        ({"MEESHY_HOST": "203.0.113.1"}, (), 1, ["203.0.113.1"]),
        ({"MEESHY_STATE_DIR": "/proc/nothing"}, (), 1, ["/proc/nothing", "MEESHY_STATE_DIR"]),
    ],
    ids=["unknown key", "bad value", "open", "short secret", "no file", "flag", "tls", "address", "state"],
)
async def test_a_failing_start_says_cause_and_remedy(
    tmp_path: Path, variables: dict[str, str], arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    found, output = await run(tmp_path, "serve", "media", *arguments, **variables)
    assert found == code, output
    for word in words:
        assert word in output
    assert "Traceback" not in output


async def test_a_service_that_cannot_start_ends_its_supervisor(tmp_path: Path) -> None:
    code, output = await run(tmp_path, "serve", MEESHY_HOST="203.0.113.1")
    assert code == 1, output
    assert "203.0.113.1" in output
    assert "the lines above say why" in output


@pytest.mark.parametrize("kind", ["http", "media"])
async def test_a_taken_port_is_named_with_the_remedy(tmp_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "http" else socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        if kind == "http":
            other.listen()
        port = str(other.getsockname()[1])
        variables = {"PORT": port} if kind == "http" else {"RTC_MIN_PORT": port, "RTC_MAX_PORT": port}
        code, output = await run(tmp_path, "serve", "media", **variables)
    assert code == 1, output
    assert port in output
    assert "error: " in output
    assert "Traceback" not in output


def make_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "tls.pem", directory / "tls-key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return certificate, key


async def test_with_a_certificate_everything_is_encrypted(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    variables = {"MEESHY_TLS_CERT": str(certificate), "MEESHY_TLS_KEY": str(key)}
    async with meeshy(tmp_path, "serve", "media", **variables) as server:
        await server.wait_for(READY)
        assert server.url.startswith("https://")
        trust = ssl.create_default_context(cafile=certificate)
        connector = aiohttp.TCPConnector(ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            alice = Peer(session, server.url, "call-1", "alice")
            alice.socket.eio.http = session
            await alice.join(create=True)
            await alice.connect()
            assert (await alice.join_room())["success"]
            await alice.close()


async def test_a_key_that_does_not_belong_to_the_certificate_is_named(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, key = make_certificate(tmp_path / "other")
    variables = {"MEESHY_TLS_CERT": str(certificate), "MEESHY_TLS_KEY": str(key)}
    code, output = await run(tmp_path, "serve", "media", **variables)
    assert code == 1
    assert "belong together" in output


# ---- the supervisor ------------------------------------------------------------------------------------------------


async def test_the_supervisor_restarts_a_crashed_service(tmp_path: Path) -> None:
    async with meeshy(tmp_path, "serve") as supervisor:
        await supervisor.wait_for(READY)
        first = await supervisor.service()
        os.kill(first, signal.SIGKILL)
        await supervisor.wait_for(READY, times=2)
        assert "it starts again in 0 s" in supervisor.output
        second = await supervisor.service()
        assert second != first
        os.kill(second, signal.SIGKILL)
        await supervisor.wait_for("it starts again in 0.5 s")
        await supervisor.wait_for(READY, times=3)
        last = await supervisor.service()
        supervisor.signal(signal.SIGINT)
        assert await supervisor.ended(within_s=6) == 0, supervisor.output
        assert not is_running(last)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
async def test_no_orphan_stays_however_the_supervisor_ends(tmp_path: Path, number: signal.Signals) -> None:
    async with meeshy(tmp_path, "serve") as supervisor:
        await supervisor.wait_for(READY)
        child = await supervisor.service()
        supervisor.signal(number)
        await supervisor.ended(within_s=6)
        await eventually(lambda: not is_running(child), within_s=6)


async def test_a_hanging_service_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    variables = {"MEESHY_SHUTDOWN_TIMEOUT_S": "0.5"}
    async with meeshy(tmp_path, "serve", **variables) as supervisor:
        await supervisor.wait_for(READY)
        child = await supervisor.service()
        os.kill(child, signal.SIGSTOP)
        supervisor.signal(signal.SIGTERM)
        await supervisor.ended(within_s=4)
        assert not is_running(child)


async def test_a_second_signal_to_the_supervisor_ends_at_once(tmp_path: Path) -> None:
    variables = {"MEESHY_SHUTDOWN_TIMEOUT_S": "30"}
    async with meeshy(tmp_path, "serve", **variables) as supervisor:
        await supervisor.wait_for(READY)
        child = await supervisor.service()
        os.kill(child, signal.SIGSTOP)
        for _ in range(2):
            supervisor.signal(signal.SIGINT)
            await asyncio.sleep(0.3)
        await supervisor.ended(within_s=2)
        assert not is_running(child)


async def test_everything_works_on_ipv6(tmp_path: Path) -> None:
    async with (
        meeshy(tmp_path, "serve", "media", "--host", "::1") as server,
        aiohttp.ClientSession() as session,
    ):
        await server.wait_for(READY)
        assert server.url.startswith("http://[::1]:")
        alice = await in_call(session, server.url)
        assert "udp [::1]:" in server.output
        await alice.close()


async def test_arguments_show_no_secret(tmp_path: Path) -> None:
    async with meeshy(tmp_path, "serve") as supervisor:
        await supervisor.wait_for(READY)
        child = await supervisor.service()
        for pid in (supervisor.process.pid, child):
            assert SECRET not in Path(f"/proc/{pid}/cmdline").read_text()
        assert f"JWT_SECRET={SECRET}" in Path(f"/proc/{child}/environ").read_text().split("\0")


async def test_flags_of_the_supervisor_reach_the_service(tmp_path: Path) -> None:
    async with meeshy(tmp_path, "serve", "--max-rooms", "1", "--log-format", "json") as supervisor:
        await supervisor.wait_for(READY)
        assert '"logger": "meeshy_sfu.edge.process"' in supervisor.output
        async with aiohttp.ClientSession() as session:
            await Peer(session, supervisor.url, "call-1", "a").create()
            full = await Peer(session, supervisor.url, "call-2", "a").post("create")
            assert full.code == "SERVER_AT_CAPACITY"


async def test_options_before_the_service_are_refused_not_ignored(tmp_path: Path) -> None:
    code, output = await run(tmp_path, "serve", "--max-rooms", "1", "media")
    assert code == 2
    assert "behind" in output


async def test_the_port_file_has_the_url_for_tools(tmp_path: Path) -> None:
    file = tmp_path / "url"
    async with meeshy(tmp_path, "serve", "media", "--port-file", str(file)) as server:
        await server.wait_for(READY)
        await eventually(file.is_file)
        assert file.read_text().strip() == server.url
