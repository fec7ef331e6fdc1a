"""What the border decides without a socket: bodies, origins, envelopes, packets."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import NoReturn

import pytest
from socketio.packet import EVENT, Packet

from meeshy_sfu.cli.options import as_environment
from meeshy_sfu.cli.supervisor import RESTART_DELAYS_S, restart_delay_s
from meeshy_sfu.clock import ManualClock
from meeshy_sfu.config import load_settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.client_address import is_loopback
from meeshy_sfu.edge.cors import Origins
from meeshy_sfu.edge.envelope import failure, success
from meeshy_sfu.edge.json_body import parse_object
from meeshy_sfu.edge.secret import same_secret, signing_secret
from meeshy_sfu.edge.socketio_server import JsonPacket, PacketJson, SocketServer
from meeshy_sfu.edge.wire import read
from meeshy_sfu.errors import (
    ForbiddenError,
    InvalidRequestError,
    PayloadTooLargeError,
    RateLimitError,
    StartError,
    UnauthorizedError,
)
from meeshy_sfu.server import schemas
from meeshy_sfu.server.auth import read_token
from meeshy_sfu.server.banner import banner

SECRET = "s" * 32


def test_a_success_has_data_or_a_message() -> None:
    assert json.loads(success({"a": 1}).text or "") == {"success": True, "data": {"a": 1}}
    assert json.loads(success(message="done").text or "") == {"success": True, "message": "done"}


def test_a_failure_has_code_status_and_details() -> None:
    answer = failure(ForbiddenError("no", {"why": "because"}))
    assert answer.status == 403
    body = {"code": "FORBIDDEN", "message": "no", "details": {"why": "because"}}
    assert json.loads(answer.text or "") == {"success": False, "error": body}


def test_failures_carry_their_headers() -> None:
    limited = failure(RateLimitError("slow down", retry_after_s=1.2))
    assert limited.headers["Retry-After"] == "2"
    assert json.loads(limited.text or "")["retryAfter"] == 2
    assert failure(UnauthorizedError("who?")).headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("text", [b"", b"  ", b"{}", b'{"a": [1, "x", null]}'])
def test_small_objects_are_read(text: bytes) -> None:
    assert parse_object(text, max_depth=5) == json.loads(text or b"{}" if text.strip() else b"{}")


@pytest.mark.parametrize(
    "text", [b"[]", b"1", b"nul", b"{", b'{"a": Infinity}', b"\xff", b'{"a": 1' + b"0" * 9999]
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        parse_object(text, max_depth=5)


def test_deep_objects_are_refused() -> None:
    with pytest.raises(PayloadTooLargeError):
        parse_object(b'{"a":' * 6 + b"1" + b"}" * 6, max_depth=5)


@pytest.mark.parametrize("text", ["[" * 99 + "]" * 99, "NaN", "{", '{"a": -Infinity}', "\ud800"])
def test_packets_are_read_with_the_same_care(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        PacketJson(32).loads(text)


def test_packets_are_written_compactly() -> None:
    assert PacketJson(32).dumps({"a": [1, "é"]}) == '{"a":[1,"é"]}'


@pytest.mark.parametrize(
    ("origins", "development", "origin", "allowed"),
    [
        ((), False, "https://a.example", False),
        (("https://a.example",), False, "https://a.example", True),
        (("https://a.example",), False, "https://b.example", False),
        (("*",), False, "https://b.example", True),
        ((), True, "http://localhost:5173", True),
        ((), True, "http://app.localhost", True),
        ((), True, "http://localhost.evil.example", False),
        ((), True, "null", False),
        ((), True, "http://[", False),
    ],
)
def test_origins_are_exact(origins, development: bool, origin: str, allowed: bool) -> None:
    flags = {"cors_origins": origins or None, "development": development, "jwt_secret": SECRET}
    assert Origins(load_settings(flags=flags)).allowed(origin) is allowed


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False),
     ("unknown", False)],
)  # fmt: skip
def test_loopback_is_known(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_absent_secrets_equal_nothing() -> None:
    assert not same_secret(None, None)
    assert not same_secret("", "")
    assert not same_secret("a", "b")
    assert same_secret("a", "a")


def test_errors_name_the_path_of_the_field() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(schemas.ConsumeRequest, {"participantId": "p", "producerIds": ["a", 7]})
    assert caught.value.path == "producerIds[1]"
    with pytest.raises(InvalidRequestError) as caught:
        read(schemas.ConnectTransportRequest, {"dtlsParameters": {"fingerprints": [{"algorithm": "md5"}]}})
    assert caught.value.path == "dtlsParameters.fingerprints[0].algorithm"
    with pytest.raises(InvalidRequestError) as caught:
        read(schemas.ConsumeRequest, {"participantId": "a b"})
    assert caught.value.path == "participantId"


def test_null_is_absent_and_unknown_fields_are_ignored() -> None:
    body = {"participantId": "p", "direction": "send", "forceTcp": None, "somethingElse": 1}
    assert read(schemas.CreateTransportRequest, body).force_tcp is False


def test_app_data_has_a_cap() -> None:
    with pytest.raises(InvalidRequestError, match="4096"):
        read(schemas.JoinRequest, {"participantId": "p", "appData": {"a": "x" * 5000}})


def test_restarts_back_off_and_the_first_is_at_once() -> None:
    delays = [restart_delay_s(failures) for failures in range(1, 12)]
    assert delays[0] == 0.0
    assert delays == sorted(delays)
    assert delays[-1] == RESTART_DELAYS_S[-1]


def test_settings_reach_a_child_unchanged() -> None:
    settings = load_settings(
        flags={"jwt_secret": SECRET, "gso": False, "cors_origins": ["https://a.example"]}
    )
    assert load_settings(environ=as_environment(settings)) == settings


def test_the_development_secret_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    settings = load_settings(flags={"state_dir": tmp_path / "state"})
    secret = signing_secret(settings)
    assert len(secret) >= 32
    assert signing_secret(settings) == secret
    assert (tmp_path / "state" / "development-secret").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_cannot_be_kept_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(StartError, match="MEESHY_STATE_DIR"):
        signing_secret(load_settings(flags={"state_dir": tmp_path / "state"}))


def test_a_secret_that_cannot_be_kept_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StartError, match="No space left"):
        signing_secret(load_settings(flags={"state_dir": tmp_path}))
    assert list(tmp_path.iterdir()) == []


def test_the_banner_prints_a_good_token_in_development_only(tmp_path: Path) -> None:
    clock = ManualClock()
    settings = load_settings(flags={"state_dir": tmp_path})
    lines = banner(settings, "http://127.0.0.1:1", ["udp 127.0.0.1:2"], clock)
    assert any("udp 127.0.0.1:2" in line for line in lines)
    (token,) = [line.strip() for line in lines if line.strip().startswith("eyJ")]
    assert read_token(token, TokenRules(secret=signing_secret(settings)), now_s=clock.unix_s()).is_service
    settings = load_settings(flags={"jwt_secret": SECRET})
    assert not any("eyJ" in line for line in banner(settings, "http://127.0.0.1:1", [], clock))


class Untouched(dict[str, object]):
    """JSON to write, of which nothing is looked at before."""

    def values(self) -> NoReturn:
        raise AssertionError("somebody searched it")


def test_a_packet_is_not_searched_for_bytes_before_it_is_sent() -> None:
    packet = JsonPacket(EVENT, data=["call:join", Untouched(producers=[1, 2])])
    assert packet.encode() == '2["call:join",{"producers":[1,2]}]'


async def test_sockets_have_a_codec_of_their_own() -> None:
    """Clients in the same process, as in these tests, are not held to a server's limits."""
    settings = load_settings(flags={"jwt_secret": SECRET})
    server = SocketServer(settings, Origins(settings), ManualClock())
    deep = "[" * 100 + "]" * 100
    with pytest.raises(ValueError, match="max_json_depth"):
        server.packet_class(encoded_packet=f"2{deep}")
    assert Packet(encoded_packet=f"2{deep}").data
