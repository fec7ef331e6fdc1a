"""What the probe, and with it `meeshy doctor`, says of TURN servers that work and of those that do not."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aioice.turn
import pytest
from aioice import stun

from meeshy_sfu.gateway.turn import probe as turn_probe
from meeshy_sfu.gateway.turn.ice_servers import turn_credential
from meeshy_sfu.gateway.turn.probe import LIMIT_S, Credentials, Verdict, probe
from tests.coturn import Coturn, coturn, need_coturn
from tests.integration.server.test_life_cycle import make_certificate

pytestmark = pytest.mark.timeout(90)

SELF = ("127.0.0.1",)


@pytest.fixture(autouse=True)
def _needs_coturn() -> None:
    need_coturn()


def credentials(server: Coturn, **changes: Any) -> Credentials:
    return replace(Credentials(server.secret, time.time(), 600), **changes)


async def tried(server: Coturn, transport: str = "udp", **changes: Any) -> Verdict:
    """What the probe says of it, which must not take longer than it may."""
    began = time.monotonic()
    url = f"turn:127.0.0.1:{server.port}?transport={transport}"
    verdict = await probe(url, credentials(server, **changes), peers=SELF)
    assert time.monotonic() - began < LIMIT_S + 2
    return verdict


@asynccontextmanager
async def held(server: Coturn, number: int) -> AsyncIterator[None]:
    """Keep allocations of another client."""
    made = turn_credential(server.secret, "eve", now_s=time.time(), ttl_s=600)
    async with AsyncExitStack() as stack:
        for _ in range(number):
            relay, _ = await aioice.turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=("127.0.0.1", server.port),
                username=made.username,
                password=made.credential,
            )
            stack.push_async_callback(relay._close)
        yield


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_server_that_works_passes_and_gets_its_relay_address_back(
    tmp_path: Path, transport: str
) -> None:
    async with coturn(tmp_path) as server:
        verdict = await tried(server, transport)
        assert verdict.status == "ok", verdict
        assert "allocated 127.0.0.1:" in verdict.found
        assert "in realm meeshy.test" in verdict.found
        assert server.allocations() == 1
        (usage,) = await server.usages(1)
        assert usage.user.endswith(":doctor")


async def test_tls_passes_with_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    async with coturn(tmp_path / "coturn", tls=(certificate, key)) as server:
        url = f"turns:127.0.0.1:{server.tls_port}?transport=tcp"
        verdict = await probe(url, credentials(server), peers=SELF)
        assert verdict.status == "fail"
        assert verdict.found.startswith("its certificate does not hold for 127.0.0.1")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        verdict = await probe(url, credentials(server), peers=SELF)
        assert verdict.status == "ok", verdict


async def test_tls_where_there_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_probe, "STEP_S", 1.0)
    async with coturn(tmp_path) as server:
        verdict = await probe(f"turns:127.0.0.1:{server.port}?transport=tcp", credentials(server))
        assert verdict.status == "fail"
        assert "no TLS on tcp port" in verdict.found
        assert "tls-listening-port" in verdict.remedy


async def test_a_stun_server_says_how_it_sees_us(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server:
        verdict = await probe(f"stun:127.0.0.1:{server.port}", None)
        assert verdict.status == "ok"
        assert "sees this machine as 127.0.0.1:" in verdict.found


async def test_a_wrong_secret_is_told_from_a_wrong_clock(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server:
        verdict = await tried(server, secret="not the secret")
        assert verdict.status == "fail"
        assert "refuses the credentials made from turn_secret (realm meeshy.test)" in verdict.found
        assert "static-auth-secret" in verdict.remedy
        verdict = await tried(server, now_s=time.time() - 86_400)
        assert verdict.status == "fail"
        assert "as expired" in verdict.found
        assert "clocks" in verdict.remedy


async def test_a_server_with_users_of_its_own_is_told_to_take_the_secret(tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "use_auth_secret": None,
        "static_auth_secret": None,
        "lt_cred_mech": True,
        "user": "ada:pw",
    }
    async with coturn(tmp_path, **own) as server:
        verdict = await tried(server)
        assert verdict.status == "fail"
        assert "use-auth-secret" in verdict.remedy


async def test_a_server_that_relays_without_authentication_is_warned_of(tmp_path: Path) -> None:
    async with coturn(tmp_path, use_auth_secret=None, static_auth_secret=None, no_auth=True) as server:
        verdict = await tried(server)
        assert verdict.status == "warn", verdict
        assert "without credentials" in verdict.found


@pytest.mark.parametrize(
    "forbidding", [{"allow_loopback_peers": None}, {"denied_peer_ip": "127.0.0.0-127.255.255.255"}]
)
async def test_a_server_that_forbids_the_media_servers_address_fails(
    tmp_path: Path, forbidding: dict[str, Any]
) -> None:
    async with coturn(tmp_path, **forbidding) as server:
        verdict = await tried(server)
        assert verdict.status == "fail", verdict
        assert "forbids to relay to the media server's address 127.0.0.1" in verdict.found
        assert "allow-loopback-peers" in verdict.remedy
        url = f"turn:127.0.0.1:{server.port}"
        verdict = await probe(url, credentials(server), peers=())
        assert verdict.status == "warn", verdict
        assert "this machine, which it sees as 127.0.0.1" in verdict.found


async def test_a_quota_that_is_used_up_is_named(tmp_path: Path) -> None:
    async with coturn(tmp_path, total_quota=1) as server, held(server, 1):
        verdict = await tried(server)
        assert verdict.status == "fail"
        assert "486" in verdict.found
        assert "total-quota" in verdict.remedy


async def test_a_server_without_relay_ports_left_is_named(tmp_path: Path) -> None:
    async with coturn(tmp_path, min_port=32_700, max_port=32_700) as server, held(server, 1):
        verdict = await tried(server)
        assert verdict.status == "fail"
        assert "508" in verdict.found
        assert "min-port" in verdict.remedy


async def test_a_relay_address_that_is_not_the_servers_is_out_of_reach(tmp_path: Path) -> None:
    async with coturn(tmp_path, external_ip="127.0.0.9/127.0.0.1") as server:
        verdict = await tried(server)
        assert verdict.status == "fail"
        assert "its relay address 127.0.0.9:" in verdict.found
        assert "external-ip" in verdict.remedy


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_port_without_a_listener_is_reported_at_once(tmp_path: Path, transport: str) -> None:
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    began = time.monotonic()
    verdict = await probe(f"turn:127.0.0.1:{port}?transport={transport}", Credentials("s", time.time(), 600))
    assert time.monotonic() - began < 2
    assert verdict.status == "fail"
    assert f"nothing listens on {transport} port {port} of 127.0.0.1" in verdict.found


@contextmanager
def silent(transport: str) -> Iterator[int]:
    """A port that accepts everything and answers nothing."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as deaf:
        deaf.bind(("127.0.0.1", 0))
        if transport == "tcp":
            deaf.listen()
        yield deaf.getsockname()[1]


@pytest.mark.parametrize("url", ["turn:127.0.0.1:{}?transport=udp", "turn:127.0.0.1:{}?transport=tcp"])
async def test_a_port_that_never_answers_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert turn_probe.STEP_S + turn_probe.TRIP_S < LIMIT_S
    monkeypatch.setattr(turn_probe, "STEP_S", 1.0)
    with silent(url[-3:]) as port:
        began = time.monotonic()
        verdict = await probe(url.format(port), Credentials("s", time.time(), 600))
        assert 0.9 < time.monotonic() - began < 3
        assert verdict.status == "fail"
        assert f"no answer from {url[-3:]} port {port}" in verdict.found


async def test_a_tls_port_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_probe, "STEP_S", 1.0)
    with silent("tcp") as port:
        verdict = await probe(f"turns:127.0.0.1:{port}", Credentials("s", time.time(), 600))
        assert verdict.status == "fail"
        assert f"no TLS on tcp port {port}" in verdict.found


class EndlesslyStale(asyncio.DatagramProtocol):
    """A server that takes no nonce, as several behind one address do."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = stun.parse_message(data)
        code = (438, "Stale Nonce") if "USERNAME" in request.attributes else (401, "Unauthorized")
        attributes = {"ERROR-CODE": code, "REALM": "meeshy.test", "NONCE": os.urandom(8)}
        answer = stun.Message(request.message_method, stun.Class.ERROR, request.transaction_id, attributes)
        self.transport.sendto(bytes(answer), addr)


async def test_a_nonce_that_is_always_stale_is_named() -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        EndlesslyStale, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    verdict = await probe(f"turn:127.0.0.1:{port}", Credentials("s", time.time(), 600))
    transport.close()
    assert verdict.status == "fail"
    assert "takes no nonce" in verdict.found
    assert "stale-nonce" in verdict.remedy


async def test_an_address_that_cannot_be_sent_to_is_reported() -> None:
    # The kernel allows broadcasts only after SO_BROADCAST.
    verdict = await probe("turn:255.255.255.255:3478", Credentials("s", time.time(), 600))
    assert verdict.status == "fail"
    assert "cannot send to udp port 3478 of 255.255.255.255" in verdict.found


class OldFashioned(asyncio.DatagramProtocol):
    """A STUN server of before RFC 5389, or of none at all: it says where one is in the old way, or not."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = stun.parse_message(data)
        answer = stun.Message(
            request.message_method, stun.Class.RESPONSE, request.transaction_id, dict(self.attributes)
        )
        self.transport.sendto(bytes(answer), addr)


@pytest.mark.parametrize(
    ("attributes", "status", "words"),
    [
        ({"MAPPED-ADDRESS": ("127.0.0.1", 7)}, "ok", "sees this machine as 127.0.0.1:7"),
        ({}, "fail", "answers without saying"),
    ],
)
async def test_a_stun_server_of_another_kind_is_understood_or_named(
    attributes: dict[str, Any], status: str, words: str
) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: OldFashioned(attributes), local_addr=("127.0.0.1", 0)
    )
    verdict = await probe(f"stun:127.0.0.1:{transport.get_extra_info('sockname')[1]}", None)
    transport.close()
    assert verdict.status == status
    assert words in verdict.found


async def test_a_name_that_does_not_resolve_is_reported() -> None:
    verdict = await probe("turn:turn..example", Credentials("s", time.time(), 600))  # no label may be empty
    assert verdict.status == "fail"
    assert "turn..example does not resolve" in verdict.found


async def test_a_resolver_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_probe, "STEP_S", 0.2)

    def slow(*_: Any, **__: Any) -> Any:
        time.sleep(1)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr("socket.getaddrinfo", slow)
    verdict = await probe("turn:turn.example", Credentials("s", time.time(), 600))
    assert verdict.status == "fail"
    assert "not resolved within" in verdict.found
    await asyncio.sleep(1)


async def doctor(directory: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meeshy_sfu", "doctor", "--json", "--state-dir", str(directory), *options),
        env={k: v for k, v in os.environ.items() if not k.startswith("MEESHY_")} | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_doctor_tries_every_server_and_fails_for_one(tmp_path: Path) -> None:
    ports = ("--port", "0", "--gateway-port", "0", "--rtc-min-port", "0")
    async with coturn(tmp_path / "coturn") as server:
        with silent("udp") as deaf:
            servers = f"{server.server},turn:127.0.0.1:{deaf}?transport=udp,turn:127.0.0.1:99999"
            told = {"MEESHY_TURN_SERVERS": servers, "MEESHY_TURN_SECRET": server.secret}
            code, output = await doctor(tmp_path, *ports, **told)
        findings = {finding["topic"]: finding for finding in json.loads(output)}
        assert code == 1
        assert server.secret not in output
        assert findings[f"turn:127.0.0.1:{server.port}?transport=udp"]["status"] == "ok"
        assert findings[f"turn:127.0.0.1:{server.port}?transport=tcp"]["status"] == "ok"
        assert findings[f"turn:127.0.0.1:{deaf}?transport=udp"]["status"] == "fail"
        assert "99999" in findings["TURN"]["found"]

        code, output = await doctor(
            tmp_path, *ports, "--turn-servers", server.server, MEESHY_TURN_SECRET=server.secret
        )
        assert code == 0, output
        code, output = await doctor(tmp_path, *ports, "--turn-servers", server.server)
        assert code == 1
        assert "without turn_secret" in output
