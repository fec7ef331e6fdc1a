"""The small commands, run in this process: what they print and how they end."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

from meeshy_sfu import __version__
from meeshy_sfu.cli import console, doctor, main
from meeshy_sfu.cli.options import read_settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.errors import ConfigError, PortInUseError, UnauthorizedError
from meeshy_sfu.gateway.wire.auth import Conversation, read_invite
from meeshy_sfu.server.auth import read_token
from tests.integration.server.peers import SECRET
from tests.integration.server.test_life_cycle import make_certificate

FREE_PORTS = {"PORT": "0", "RTC_MIN_PORT": "0", "MEESHY_WORKERS": "2"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MEESHY_")]:
        monkeypatch.delenv(name)
    for name, value in FREE_PORTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("MEESHY_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"meeshy {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in ("serve", "token", "ports", "doctor", "settings", "simulate", "report"):
        assert command in text


def test_help_of_serve_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "media", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--max-rooms" in text
    assert "--no-gso" in text
    assert "--jwt-secret" not in text, "arguments can be read by every user"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["token"],
        ["serve", "--nonsense"],
        ["serve", "--port", "x"],
        ["ports", "--port", "99999"],
    ],
)
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_a_token_is_printed_alone_and_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            ["token", "--call", "c", "--participant", "p", "--role", "initiator", "--token-lifetime-s", "60"]
        )
        == 0
    )
    token = capsys.readouterr().out.strip()
    claims = read_token(token, TokenRules(secret=SECRET), now_s=time.time())
    assert (claims.call_id, claims.participant_id, claims.role) == ("c", "p", "initiator")
    assert claims.expires_at_s - claims.issued_at_s == 60


def test_an_invite_is_of_one_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--invite", "--conversation", "demo:GROUP", "--invite-lifetime-s", "60"]) == 0
    made = capsys.readouterr().out.strip()
    rules, now_s = TokenRules(secret=SECRET), time.time()
    assert read_invite(made, rules, now_s=now_s) == Conversation("demo", "GROUP")
    with pytest.raises(UnauthorizedError, match="expired"):
        read_invite(made, rules, now_s=now_s + 61)
    for wrong in (
        [],
        ["--conversation", "demo"],
        ["--conversation", "demo:GROUP:admin"],
        ["--conversation", "a:GROUP", "--conversation", "b:GROUP"],
        ["--conversation", "demo:GROUP", "--user", "ada"],
    ):
        assert main(["token", "--invite", *wrong]) == 2


def test_doctor_prints_a_link_to_checks_in_a_browser(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_INVITES", "true")
    for arguments, page in (
        ([], "http://127.0.0.1:4000/check"),
        (["--gateway-port", "4711"], "http://127.0.0.1:4711/check"),
        (["--origin", "https://calls.example.org/"], "https://calls.example.org/check"),
    ):
        assert main(["doctor", "--client", *arguments]) == 0
        link, _, invite = capsys.readouterr().out.strip().partition("#invite=")
        conversation = read_invite(invite, TokenRules(secret=SECRET), now_s=time.time())
        assert (link, conversation.type) == (page, "GROUP")
        assert conversation.id.startswith("check-"), "the page takes only these for checks"
    for name in ("TOKEN", "MEDIA_TOKEN", "MAX_TOKEN"):
        monkeypatch.setenv(f"MEESHY_{name}_LIFETIME_S", "600")
    assert main(["doctor", "--client"]) == 0
    invite = capsys.readouterr().out.strip().partition("#invite=")[2]
    read_invite(invite, TokenRules(secret=SECRET, max_lifetime_s=600), now_s=time.time())
    for wrong in (["--origin", "https://a.example"], ["--client", "--origin", "calls"]):
        assert main(["doctor", *wrong]) == 2
    monkeypatch.setenv("MEESHY_INVITES", "false")
    assert main(["doctor", "--client"]) != 0
    assert "invites" in capsys.readouterr().err


def test_a_token_needs_good_ids(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--call", "a b", "--participant", "p"]) == 2
    assert "--call" in capsys.readouterr().err


def test_ports_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--port",
        "4000",
        "--gateway-port",
        "4001",
        "--rtc-min-port",
        "5000",
        "--rtc-max-port",
        "5001",
        "--no-tcp",
        "--workers",
        "2",
    ]
    assert main(["ports", *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tcp\t4000\t127.0.0.1\tmedia server: REST and Socket.IO (http, ws)",
        "tcp\t4001\t127.0.0.1\tgateway: REST and Socket.IO (http, ws)",
        "udp\t5000\t127.0.0.1\tmedia, worker 0",
        "udp\t5001\t127.0.0.1\tmedia, worker 1",
    ]


def test_doctor_tries_whether_the_state_directory_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    # even root cannot make a file there, though permissions say so
    assert main(["doctor", "--json", "--state-dir", "/proc/meeshy"]) == 1
    findings = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["state directory"]["status"] == "fail"


def test_settings_are_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    text = capsys.readouterr().out
    assert SECRET not in text
    assert "max_rooms" in text
    assert "MEESHY_MAX_TRANSPORTS_PER_PARTICIPANT " in text, "whole at 80 columns too"
    assert main(["settings", "--env"]) == 0
    assert "#MEESHY_MAX_ROOMS=10\n" in capsys.readouterr().out


def test_doctor_finds_this_machine_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    findings = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    topics = {
        "meeshy",
        "media core",
        "kernel",
        "cores",
        "UDP GSO",
        "UDP GRO",
        "receive buffer",
        "send buffer",
    }
    topics |= {"open files", "ports", "clock", "state directory", "aiortc", "chromium", "node"}
    assert topics <= set(findings)
    assert "fail" not in {finding["status"] for finding in findings.values()}
    assert main(["doctor"]) == 0
    assert "media core" in capsys.readouterr().out


def test_doctor_names_what_must_change(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file in the way")
    (tmp_path / "bad.pem").write_text("no certificate")
    monkeypatch.setenv("MEESHY_TLS_CERT", "bad.pem")
    monkeypatch.setenv("MEESHY_TLS_KEY", "bad.pem")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        assert main(["doctor", "--json"]) == 1
    findings = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    failed = {topic for topic, finding in findings.items() if finding["status"] == "fail"}
    assert failed == {"ports", "state directory", "TLS"}
    assert f"tcp/{port} on 127.0.0.1" in findings["ports"]["found"]
    assert all(findings[topic]["remedy"] for topic in failed)


def test_doctor_looks_at_the_chain_of_the_certificate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    monkeypatch.setenv("MEESHY_TLS_CERT", str(certificate))
    monkeypatch.setenv("MEESHY_TLS_KEY", str(key))
    assert main(["doctor", "--json"]) == 0
    findings = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert "intermediate" in findings["TLS"]["remedy"]


@pytest.mark.parametrize(("days", "status", "code"), [(0, "warn", 0), (3, "fail", 1), (-3, "fail", 1)])
def test_doctor_looks_at_the_age_of_the_certificate(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    days: int,
    status: str,
    code: int,
) -> None:
    certificate, key = make_certificate(tmp_path)  # good for two days
    monkeypatch.setenv("MEESHY_TLS_CERT", str(certificate))
    monkeypatch.setenv("MEESHY_TLS_KEY", str(key))
    now_s = time.time() + days * 86_400
    monkeypatch.setattr(doctor.time, "time", lambda: now_s)
    assert main(["doctor", "--json"]) == code
    findings = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["TLS validity"]["status"] == status
    assert "renew" in findings["TLS validity"]["remedy"] or days < 0


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("unknown key"), 2, "error: unknown key"),
        (PortInUseError("port 1 is taken"), 1, "error: port 1 is taken"),
        (RuntimeError("never thought of"), 1, "RuntimeError: never thought of"),
    ],
)
def test_every_failure_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, words: str
) -> None:
    assert console.fail(error) == code
    assert words in capsys.readouterr().err


def test_addresses_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    address = "2001:db8:a::b:x:1"  # with emoji codes read in it, a letter in a box and a cross
    console.fail(ConfigError(address))
    console.table("", ("address",), [(address,)])
    shown = capsys.readouterr()
    assert address in shown.err
    assert address in shown.out


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MEESHY_MAX_ROOMS=7\n")
    (tmp_path / "meeshy.toml").write_text("max_event_bytes = 9999\n")
    settings = read_settings({"workers": 3}, tmp_path / "meeshy.toml")
    assert (settings.max_rooms, settings.max_event_bytes, settings.workers) == (7, 9999, 3)
