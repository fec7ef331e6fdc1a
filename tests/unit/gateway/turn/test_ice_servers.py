from __future__ import annotations

import pytest

from meeshy_sfu.gateway.turn.ice_servers import (
    IceServerError,
    ServerAddress,
    ice_servers,
    parse_server,
    server_address,
    turn_credential,
)

ENTRIES: list[tuple[str, tuple[str, ...]]] = [
    (
        "turn.example.org:3478",
        ("turn:turn.example.org:3478?transport=udp", "turn:turn.example.org:3478?transport=tcp"),
    ),
    ("10.0.0.1", ("turn:10.0.0.1:3478?transport=udp", "turn:10.0.0.1:3478?transport=tcp")),
    ("[::1]:3479", ("turn:[::1]:3479?transport=udp", "turn:[::1]:3479?transport=tcp")),
    ("turn:host?transport=tcp", ("turn:host:3478?transport=tcp",)),
    ("turns:host", ("turns:host:5349?transport=tcp",)),
    ("stun:host:19302", ("stun:host:19302",)),
    (" stun:host\t", ("stun:host:3478",)),
    ("STUN:host", ("stun:host:3478",)),
    ("Turn:Host?Transport=UDP", ("turn:Host:3478?transport=udp",)),
    ("TURNS:[2001:db8::7]:443?transport=TCP", ("turns:[2001:db8::7]:443?transport=tcp",)),
    (
        "turn:[::ffff:192.0.2.1]",
        ("turn:[::ffff:192.0.2.1]:3478?transport=udp", "turn:[::ffff:192.0.2.1]:3478?transport=tcp"),
    ),
    ("turn:xn--bcher-kva.example.?transport=udp", ("turn:xn--bcher-kva.example.:3478?transport=udp",)),
    ("stun:a..b", ("stun:a..b:3478",)),
    ("stun:under_score.example:03478", ("stun:under_score.example:3478",)),
]
"""What may stand in turn_servers, and what clients are told."""
REFUSED = [
    ("turn://host", "// after the scheme"),
    ("stun://host:3478", "// after the scheme"),
    ("//host", "// after the scheme"),
    ("https://host", "neither stun, stuns, turn"),
    ("turn:ada@host", "user before @"),
    ("turn:ada:secret@host:3478", "user before @"),
    ("turn:host/path", "a path"),
    ("turn:host:3478/", "a path"),
    ("turn:host#x", "fragment"),
    ("turn:host?transport=udp#x", "fragment"),
    ("turn:ho st", "the character ' '"),
    ("turn:host\x00", "the character"),
    ("turn:h%6fst", "percent"),
    ("turn:[fe80::1%25eth0]", "percent"),
    ("turn:2001:db8::1", "brackets"),
    ("turn:2001:db8::1:3478", "brackets"),
    ("turn:[2001:db8::1", "brackets"),
    ("turn:[host]", "brackets with no IPv6 address"),
    ("turn:[::1]3478", "brackets"),
    ("turn:[1.2.3.4]", "no IPv6 address"),
    ("turn:1.2.3", "ends in a number"),
    ("turn:1.2.3.256", "ends in a number"),
    ("turn:1.2.3.04", "ends in a number"),
    ("turn:0x7f000001", "ends in a number"),
    ("turn:host.7", "ends in a number"),
    ("turn:3478", "ends in a number"),
    ("turn:", "no host"),
    ("turn::3478", "no host"),
    ("turn:.", "host name"),
    ("turn:" + "a" * 64, "host name"),
    ("turn:" + "a." * 127 + "a", "host name"),
    ("turn:bücher.example", "xn--"),
    ("turn:ho,st", "host name"),
    ("turn:host:", "no port"),
    ("turn:host:0", "port 0"),
    ("turn:host:65536", "port 65536"),
    ("turn:host:99999999999", "port"),
    ("turn:host:٣٤٧٨", "port"),
    ("turn:host:-1", "port"),
    ("turn:host?", "after"),
    ("turn:host?transport", "after"),
    ("turn:host?transport=", "neither udp nor tcp"),
    ("turn:host?transport=sctp", "neither udp nor tcp"),
    ("turn:host?transport=udp&x=1", "neither udp nor tcp"),
    ("turn:host?proto=udp", "after"),
    ("turn:host?transport=udp?transport=tcp", "neither udp nor tcp"),
    ("stun:host?transport=udp", "takes nothing"),
    ("stuns:host?transport=tcp", "takes nothing"),
    ("stun:host?", "takes nothing"),
]


@pytest.mark.parametrize(("entry", "urls"), ENTRIES)
def test_entries_become_urls(entry: str, urls: tuple[str, ...]) -> None:
    assert parse_server(entry) == urls


@pytest.mark.parametrize(
    "entry", ["", "http://host", "host:port", "host:0", "host:70000", "turn:", "a b", "::1"]
)
def test_malformed_entries_are_named(entry: str) -> None:
    with pytest.raises(IceServerError, match=r"port|TURN"):
        parse_server(entry)


@pytest.mark.parametrize(("entry", "why"), REFUSED)
def test_what_a_browser_would_throw_at_is_refused_and_named(entry: str, why: str) -> None:
    for read in (parse_server, server_address):
        with pytest.raises(IceServerError) as caught:
            read(entry)
        assert why in str(caught.value)
        assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["\x00" * 500, "é" * 500 + "://", "turn:" + "\u202e" * 500, "a" * 500 + "@b"]
)
def test_a_long_entry_is_quoted_in_part(entry: str) -> None:
    with pytest.raises(IceServerError) as caught:
        parse_server(entry)
    assert len(str(caught.value)) < 450
    assert str(caught.value).isprintable()


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
