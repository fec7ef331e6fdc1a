"""The commands around the gateway: its database, its tokens, its event log."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from pathlib import Path

import pytest

from meeshy_sfu.cli import main
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import load_settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.errors import ConfigError, PortInUseError, StartError
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.banner import banner
from meeshy_sfu.gateway.wire.auth import read_user_token
from tests.integration.gateway.callers import SECRET
from tests.integration.gateway.conftest import settings_for

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEESHY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("JWT_SECRET", SECRET)


def test_the_database_goes_up_and_down_by_command(capsys: Output) -> None:
    assert main(["db", "check"]) == 1
    assert "empty" in capsys.readouterr().err
    for command, code, text in (
        (["db", "current"], 0, "empty (needs gateway_identity)"),
        (["db", "upgrade"], 0, "empty -> gateway_identity"),
        (["db", "check"], 0, "the database is up to date"),
        (["db", "downgrade", "phase_1a"], 0, "gateway_identity -> phase_1a"),
        (["db", "downgrade", "base"], 0, "phase_1a -> empty"),
        (["db", "upgrade", "phase_1a"], 0, "empty -> phase_1a"),
        (["db", "stamp", "call_pages"], 0, "marked as call_pages"),
    ):
        assert main(command) == code
        assert text in capsys.readouterr().out


def test_wrong_revisions_and_databases_are_named(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["db", "upgrade", "no_such_revision"]) == 2
    assert "phase_1a" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    assert main(["db", "current"]) == 2
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hidden@127.0.0.1:9/none")
    assert main(["db", "current"]) == 1
    told = capsys.readouterr().err
    assert "check database_url" in told
    assert "hidden" not in told


async def test_directories_that_cannot_be_made_are_named_with_the_remedy(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEESHY_STATE_DIR", str(tmp_path / "file" / "state"))
    assert await asyncio.to_thread(main, ["db", "current"]) == 1
    assert "MEESHY_STATE_DIR" in capsys.readouterr().err
    servers = {"media_server_urls": ["http://127.0.0.1:9"]}
    with pytest.raises(StartError, match="for the database"):
        await Gateway.start(settings_for(tmp_path, state_dir=tmp_path / "file" / "state", **servers))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "events").touch()
    with pytest.raises(StartError, match="event log"):
        await Gateway.start(settings_for(tmp_path, **servers))


async def test_a_port_that_is_taken_is_named_with_the_flag_of_the_gateway(tmp_path: Path) -> None:
    servers = {"media_server_urls": ["http://127.0.0.1:9"]}
    async with await Gateway.start(settings_for(tmp_path, **servers)) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        with pytest.raises(PortInUseError, match=rf"port {port} .* --gateway-port or MEESHY_GATEWAY_PORT"):
            await Gateway.start(settings_for(tmp_path, gateway_port=port, **servers))


async def test_the_gateway_refuses_a_database_of_a_newer_version(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, media_server_urls=["http://127.0.0.1:9"])
    async with await Gateway.start(settings):
        pass
    database = sqlite3.connect(tmp_path / "state" / "meeshy.db")
    database.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    database.commit()
    database.close()
    with pytest.raises(ConfigError, match="from_the_future"):
        await Gateway.start(settings)


def test_tokens_of_users(capsys: Output) -> None:
    command = ["token", "--user", "ada", "--username", "Ada", "--conversation", "c1:group"]
    assert main([*command, "--conversation", "d:1:DIRECT:admin", "--anonymous"]) == 0
    user = read_user_token(capsys.readouterr().out.strip(), TokenRules(secret=SECRET), now_s=time.time())
    assert (user.key, user.username) == ("guest:ada", "Ada")
    assert {c.id: (c.type, c.role) for c in user.conversations.values()} == {
        "c1": ("GROUP", "member"),
        "d:1": ("DIRECT", "admin"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "ada"],
        ["--user", "ada", "--conversation", "c1"],
        ["--user", "ada", "--conversation", ":GROUP"],
        ["--user", "ada", "--conversation", "c1:GROUP", "--call", "x"],
        ["--user", "ada", "--conversation", "c1:GROUP", "--username", "\u202eada"],
        ["--user", "ada", "--conversation", "c1:GROUP", "--username", "a\x1b[31m"],
        ["--user", "ada", "--conversation", "c1:GR\u2066OUP"],
        [],
    ],
)
def test_incomplete_tokens_are_wrong_usage(arguments: list[str]) -> None:
    assert main(["token", *arguments]) == 2


def test_the_checker_of_event_logs_tells_good_from_bad(capsys: Output, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    start = {"callId": "a", "event": "start", "epoch": 1, "source": "p2p", "target": "sfu"}
    log.write_text(json.dumps(start) + "\n" + json.dumps({**start, "event": "complete"}) + "\n")
    assert main(["gateway", "check-events", str(log)]) == 0
    assert "1 calls, 1 transitions: 1 completed" in capsys.readouterr().out
    log.write_text(json.dumps(start) + "\n" + json.dumps({**start, "epoch": 2}) + "\n")
    assert main(["gateway", "check-events", str(log)]) == 1
    assert "epoch 2 started while 1 was under way" in capsys.readouterr().err
    log.write_text('{"event": "dtls"}\n')
    assert main(["gateway", "check-events", str(log)]) == 2
    assert main(["gateway", "check-events", str(tmp_path / "missing")]) == 2


def test_clients_are_sent_an_address_they_can_reach() -> None:
    secret = {"jwt_secret": SECRET}
    assert load_settings(flags=secret | {"host": "0.0.0.0"}).media_urls == ("http://127.0.0.1:3001",)
    behind_nat = load_settings(flags=secret | {"host": "0.0.0.0", "announced_ip": "192.0.2.1"})
    assert behind_nat.public_media_urls == {"http://127.0.0.1:3001": "http://192.0.2.1:3001"}
    urls = {"media_server_urls": ["http://a:1/", "http://b:1"]}
    proxied = load_settings(flags=secret | urls | {"media_server_public_urls": ["https://a", "https://b"]})
    assert proxied.public_media_urls == {"http://a:1": "https://a", "http://b:1": "https://b"}
    with pytest.raises(ConfigError, match="media_server_public_urls has 1 entries"):
        load_settings(flags=secret | urls | {"media_server_public_urls": ["https://a"]})
    with pytest.raises(ConfigError, match="is no URL"):
        load_settings(flags=secret | {"media_server_urls": ["a:1"]})


def test_the_start_warns_of_media_servers_that_clients_elsewhere_cannot_reach() -> None:
    def told(**flags: object) -> str:
        settings = load_settings(flags={"jwt_secret": SECRET, **flags})
        return "\n".join(banner(settings, "http://127.0.0.1:4000", SystemClock()))

    warning = "http://127.0.0.1:3001, which only this machine can reach: set ANNOUNCED_IP or"
    assert warning in told(host="0.0.0.0")
    assert warning in told(trusted_proxies=["127.0.0.1"])
    assert "http://localhost:1, which only" in told(host="::", media_server_urls=["http://localhost:1"])
    for reachable in (
        {},
        {"host": "0.0.0.0", "announced_ip": "192.0.2.1"},
        {"host": "0.0.0.0", "media_server_urls": ["http://10.0.0.1:3001"]},
        {"host": "0.0.0.0", "media_server_public_urls": ["https://media.example.org"]},
    ):
        assert "only this machine" not in told(**reachable)
    assert "Sent to clients      http://192.0.2.1:3001" in told(host="0.0.0.0", announced_ip="192.0.2.1")
