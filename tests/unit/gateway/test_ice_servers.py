from __future__ import annotations

import pytest

from meeshy_sfu.gateway.ice_servers import (
    IceServerError,
    ServerAddress,
    ice_servers,
    parse_server,
    server_address,
    turn_credential,
)


@pytest.mark.parametrize(
    ("entry", "urls"),
    [
        (
            "turn.example.org:3478",
            ("turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"),
        ),
        ("10.0.0.1", ("turn:10.0.0.1:3478?transport=udp", "turn:10.0.0.1:3478?transport=tcp")),
        ("[::1]:3479", ("turn:[::1]:3479?transport=udp", "turn:[::1]:3479?transport=tcp")),
        ("turn:host?transport=tcp", ("turn:host:3478?transport=tcp",)),
        ("turns:host", ("turns:host:5349?transport=tcp",)),
        ("stun:host:19302", ("stun:host:19302",)),
    ],
)
def test_entries_become_urls(entry: str, urls: tuple[str, ...]) -> None:
    assert parse_server(entry) == urls


@pytest.mark.parametrize(
    "entry", ["", "http://host", "host:port", "host:0", "host:70000", "turn:", "a b", "::1"]
)
def test_malformed_entries_are_named(entry: str) -> None:
    with pytest.raises(IceServerError, match=r"port|TURN"):
        parse_server(entry)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("turn:host?transport=tcp", ServerAddress("turn", "host", 3478, "tcp")),
        ("turn:host:99", ServerAddress("turn", "host", 99, "udp")),
        ("turns:[::1]", ServerAddress("turns", "::1", 5349, "tcp")),
        ("stun:10.0.0.1", ServerAddress("stun", "10.0.0.1", 3478, "udp")),
    ],
)
def test_urls_are_taken_apart(url: str, address: ServerAddress) -> None:
    assert server_address(url) == address
    assert server_address(parse_server(url)[0]) == address


def test_credential_is_the_hmac_that_coturn_computes() -> None:
    # The vector was made with: printf '1003600:ada' | openssl dgst -sha1 -hmac s3cret -binary | base64
    made = turn_credential("s3cret", "ada", now_s=1_000_000.9, ttl_s=3600)
    assert made.username == "1003600:ada"
    assert made.credential == "+pDhGlWzHZNZm2XrdxKjjrTtsb4="


def test_turn_servers_without_a_secret_are_left_out() -> None:
    servers = ("stun:s.example.org", "t.example.org")
    assert ice_servers(servers, None, "ada", now_s=0.0, ttl_s=60) == [{"urls": ["stun:s.example.org:3478"]}]
    stun, turn = ice_servers(servers, "secret", "ada", now_s=0.0, ttl_s=60)
    assert turn["username"] == "60:ada"
    assert len(turn["urls"]) == 2
    assert "username" not in stun
