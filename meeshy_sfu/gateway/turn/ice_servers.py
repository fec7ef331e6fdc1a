"""STUN and TURN servers for clients, with credentials that expire (the TURN REST scheme coturn checks).

Pure: the time is an argument. The media server itself is ICE-lite and needs none of this.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
import reprlib
from dataclasses import dataclass
from typing import Any

_LABEL = re.compile(r"[A-Za-z0-9_-]{0,63}")
"""Of a host name; an empty one resolves nowhere, but no browser throws at it."""
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")
"""A last label that makes a host an IPv4 address, or a wrong one, wherever URLs are read."""
HOST_CHARS_MAX = 253
_SHORT = reprlib.Repr()
"""Quotes what was written; an escape counts with all its characters, and the middle of a long text is left out."""
_SHORT.maxstring = 200
DEFAULT_PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}


class IceServerError(ValueError):
    """An entry of the list of servers is malformed; the message names it."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where one URL leads."""

    scheme: str
    host: str
    port: int
    transport: str
    """`udp` or `tcp`; with `turns`, TLS over it."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What one entry says; None for what it leaves out."""

    scheme: str
    host: str
    port: int
    transport: str | None


def server_address(url: str) -> ServerAddress:
    """Take one URL apart.

    Raises:
        IceServerError: It is none of a STUN or TURN server.
    """
    found = _read(url)
    transport = found.transport or ("tcp" if found.scheme.endswith("s") else "udp")
    return ServerAddress(found.scheme, found.host.strip("[]"), found.port, transport)


def parse_server(entry: str) -> tuple[str, ...]:
    """Turn `host:port` or a full `turn:`/`turns:`/`stun:` URI (RFC 7064, RFC 7065) into the URLs for clients.

    A bare `host:port` is a TURN server reachable by UDP and TCP. Scheme and transport may be in any case; clients get
    them in lower case, as some know no other.

    Raises:
        IceServerError: The entry is not of that form: a browser would throw for all servers because of it.
    """
    found = _read(entry)
    base = f"{found.scheme}:{found.host}:{found.port}"
    if found.scheme.startswith("stun"):
        return (base,)
    if found.transport:
        return (f"{base}?transport={found.transport}",)
    return (
        (f"{base}?transport=tcp",)
        if found.scheme == "turns"
        else (f"{base}?transport=udp", f"{base}?transport=tcp")
    )


@dataclass(frozen=True, slots=True)
class TurnCredential:
    """A user name that carries its expiry, and the password made from it."""

    username: str
    credential: str


def turn_credential(secret: str, user_id: str, *, now_s: float, ttl_s: int) -> TurnCredential:
    """Make a credential: `<unix expiry>:<user id>` and the base64 HMAC-SHA1 of it under the shared secret.

    Example:
        ```python
        made = turn_credential("s3cret", "ada", now_s=1_000_000.0, ttl_s=3600)
        assert made.username == "1003600:ada"
        ```
    """
    username = f"{int(now_s) + ttl_s}:{user_id}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return TurnCredential(username, base64.b64encode(digest).decode())


def ice_servers(
    servers: tuple[str, ...], secret: str | None, user_id: str, *, now_s: float, ttl_s: int
) -> list[dict[str, Any]]:
    """The `iceServers` value for one client: W3C RTCIceServer dictionaries, TURN entries with a fresh credential.

    TURN servers are left out when there is no secret: a client could not use them.
    """
    urls = [url for entry in servers for url in parse_server(entry)]
    stun = [url for url in urls if url.startswith("stun")]
    turn = [url for url in urls if url.startswith("turn")]
    answer: list[dict[str, Any]] = [{"urls": stun}] if stun else []
    if turn and secret:
        made = turn_credential(secret, user_id, now_s=now_s, ttl_s=ttl_s)
        answer.append({"urls": turn, "username": made.username, "credential": made.credential})
    return answer


def _read(entry: str) -> _Parts:
    text = entry.strip()
    try:
        return _parts(text)
    except IceServerError as error:
        # a password may stand before the @
        shown = _SHORT.repr(re.sub(r"(^|:)[^:@]*(:[^@]*)?@", r"\1***@", text))
        raise IceServerError(
            f"{shown} {error}; TURN and STUN servers are written turn:host:3478?transport=udp, stun:host:3478 or host:3478"
        ) from None


def _parts(text: str) -> _Parts:
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in DEFAULT_PORTS:
        if "://" in text:
            raise IceServerError("has a scheme that is neither stun, stuns, turn nor turns")
        scheme, rest = "turn", text
    where, question, query = rest.partition("?")
    _check_shape(where, rest)
    host, port = _host_and_port(where)
    return _Parts(scheme, host, port or DEFAULT_PORTS[scheme], _transport(scheme, question, query))


def _check_shape(where: str, rest: str) -> None:
    """Refuse what URLs of other kinds have."""
    found = next(
        (character for character in rest if character.isspace() or not character.isprintable()), None
    )
    if found is not None:
        raise IceServerError(f"holds the character {found!r}")
    for sign, problem in (
        ("@", "has a user before @; credentials are made from turn_secret"),
        ("//", "has // after the scheme"),
        ("/", "has a path"),
        ("%", "has a percent sign; neither escapes nor zones are possible"),
    ):
        if sign in where:
            raise IceServerError(problem)
    if "#" in rest:
        raise IceServerError("has a fragment (#)")


def _host_and_port(where: str) -> tuple[str, int | None]:
    if where.startswith("["):
        address, bracket, after = where[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise IceServerError("has brackets that are not those of an IPv6 address")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise IceServerError("has brackets with no IPv6 address in them") from None
        return f"[{address}]", _port(after[1:]) if after else None
    if where.count(":") > 1:
        raise IceServerError("has more than one colon; an IPv6 address must stand in brackets")
    host, colon, port = where.partition(":")
    _check_host(host)
    return host, _port(port) if colon else None


def _check_host(host: str) -> None:
    if not host:
        raise IceServerError("has no host")
    if not host.isascii():
        raise IceServerError("has a host that is not ASCII; write the name as in DNS, with xn--")
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise IceServerError("has a host that ends in a number and is no IPv4 address") from None
    if len(host) > HOST_CHARS_MAX or not any(labels) or not all(_LABEL.fullmatch(label) for label in labels):
        raise IceServerError("has a host that is no host name")


def _port(digits: str) -> int:
    if not digits:
        raise IceServerError("has a colon and no port")
    if not re.fullmatch(r"0*[0-9]{1,5}", digits, re.ASCII) or not 0 < int(digits[-5:]) < 65536:
        raise IceServerError(f"has the port {digits[:20]}, which does not exist")
    return int(digits[-5:])


def _transport(scheme: str, question: str, query: str) -> str | None:
    if not question:
        return None
    if scheme.startswith("stun"):
        raise IceServerError(f"has something after ?, where a {scheme}: URL takes nothing")
    name, equals, value = query.partition("=")
    if name.lower() != "transport" or not equals:
        raise IceServerError("has something else after ? than transport=udp or transport=tcp")
    if value.lower() not in ("udp", "tcp"):
        raise IceServerError("has a transport that is neither udp nor tcp")
    return value.lower()
