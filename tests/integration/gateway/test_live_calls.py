"""Live calls at a glance: `GET /api/calls` and `meeshy gateway calls`."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from meeshy_sfu.cli import console, main
from meeshy_sfu.edge.token_signing import sign_media_token, sign_token
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SECRET, Caller
from tests.integration.gateway.conftest import MakeCaller
from tests.integration.gateway.test_switch import trio

Output = pytest.CaptureFixture[str]
SERVICE = {"role": "service"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEESHY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setattr(console.out, "_width", 200)


def signed(**claims: object) -> str:
    return sign_token(claims, secret=SECRET, now_s=time.time(), lifetime_s=60)


async def two_calls(gateway: Gateway, caller: MakeCaller) -> tuple[Caller, Caller]:
    """A call of three on the SFU, whose third has no socket now; and one that is still ringing."""
    ada, _, eve = await trio(gateway, caller)
    await eve.vanish()
    await ada.wait("call:participant-connection")
    zoe = await caller(gateway, "zoe", conversations=[Conversation("c2", "GROUP", "admin")])
    await zoe.initiate("c2")
    return ada, zoe


async def command(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["gateway", "calls", *arguments])


async def test_meeshy_gateway_calls_lists_live_calls(
    gateway: Gateway, media: MediaServer, caller: MakeCaller, capsys: Output
) -> None:
    ada, zoe = await two_calls(gateway, caller)
    capsys.readouterr()
    assert await command("--url", gateway.url, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == 2
    first, second = told["calls"]
    assert (first["callId"], first["mode"], first["status"]) == (ada.call_id, "sfu", "active")
    assert (first["participantCount"], first["connectedCount"]) == (3, 2)
    assert first["mediaServerUrl"] == media.url
    assert (second["callId"], second["conversationId"], second["mode"]) == (zoe.call_id, "c2", "p2p")
    assert await command("--url", f"{gateway.url}/") == 0
    shown = capsys.readouterr().out
    for text in (ada.call_id, zoe.call_id, media.url, "2/3", "1/1", "group video", "sfu"):
        assert text in shown
    await ada.ask("call:end", {"callId": ada.call_id})
    assert await command("--url", gateway.url, "--json") == 0
    assert [call["callId"] for call in json.loads(capsys.readouterr().out)["calls"]] == [zoe.call_id]


async def test_an_admin_sees_the_calls_of_their_conversations_and_others_none(
    gateway: Gateway, caller: MakeCaller, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, zoe = await two_calls(gateway, caller)
    answer = await zoe.request("GET", "/api/calls")
    assert [call["callId"] for call in answer.data["calls"]] == [zoe.call_id]
    assert (await ada.request("GET", "/api/calls")).code == "PERMISSION_DENIED"
    monkeypatch.setenv("MEESHY_TOKEN", ada.token)
    assert await command("--url", gateway.url) == 1
    assert "PERMISSION_DENIED" in capsys.readouterr().err


async def test_only_a_service_s_token_opens_all_calls(gateway: Gateway, caller: MakeCaller) -> None:
    _, zoe = await two_calls(gateway, caller)
    user = {"kind": "user", "conversations": [], "sub": "eve", **SERVICE}

    async def code(token: str) -> str | None:
        return (await zoe.request("GET", "/api/calls", token=token)).code

    service = sign_media_token(secret=SECRET, now_s=time.time(), lifetime_s=60, role="service")
    assert (await zoe.request("GET", "/api/calls?limit=1", token=service)).data["total"] == 2
    assert await code(signed(aud="meeshy-gateway", **user)) == "PERMISSION_DENIED"
    assert await code(signed(**user)) == "PERMISSION_DENIED"
    assert await code(signed(aud="meeshy-media", **user)) == "UNAUTHORIZED"
    assert await code(signed(aud="meeshy-gateway", sub="x", **SERVICE)) == "UNAUTHORIZED"
    assert await code(signed(aud="meeshy-media", sub="x", role="participant", callId="c")) == "UNAUTHORIZED"
    assert await code("x") == "UNAUTHORIZED"
    # and a service's token opens nothing else
    for path in (f"/api/calls/{zoe.call_id}", "/api/conversations/c2/calls"):
        assert (await zoe.request("GET", path, token=service)).status == 401
    for limit in ("0", "10001", "many", "-1"):
        answer = await zoe.request("GET", f"/api/calls?limit={limit}", token=service)
        assert (answer.status, answer.body["error"]["details"]["path"]) == (400, "limit")


async def test_errors_of_the_command_say_what_to_do(
    gateway: Gateway, media: MediaServer, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await command("--url", "http://127.0.0.1:9") == 1
    assert "no gateway answers at http://127.0.0.1:9" in capsys.readouterr().err
    assert await command("--url", media.url) == 1
    assert "--url" in capsys.readouterr().err
    assert await command("--url", "127.0.0.1:4000") == 2
    assert "is no URL of a gateway" in capsys.readouterr().err
    monkeypatch.setenv("JWT_SECRET", "some-other-secret-of-thirty-two-bytes")
    assert await command("--url", gateway.url) == 1
    told = capsys.readouterr().err
    assert "JWT_SECRET" in told
    assert "another secret" in told
