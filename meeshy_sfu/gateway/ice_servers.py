"""STUN and TURN servers for clients, with credentials that expire (the TURN REST scheme coturn checks).

Pure: the time is an argument. The media server itself is ICE-lite and needs none of this.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

_ENTRY = re.compile(
    r"(?:(?P<scheme>stuns?|turns?):)?"
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]?\s]+)"
    r"(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)
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


def server_address(url: str) -> ServerAddress:
    """Take one URL apart.

    Raises:
        IceServerError: It is none of a STUN or TURN server.
    """
    match = _match(url)
    scheme = match["scheme"] or "turn"
    transport = match["transport"] or ("tcp" if scheme.endswith("s") else "udp")
    return ServerAddress(
        scheme, match["host"].strip("[]"), int(match["port"] or DEFAULT_PORTS[scheme]), transport
    )


def parse_server(entry: str) -> tuple[str, ...]:
    """Turn `host:port` or a full `turn:`/`turns:`/`stun:` URI (RFC 7064, RFC 7065) into the URLs for clients.

    A bare `host:port` is a TURN server reachable by UDP and TCP.

    Raises:
        IceServerError: The entry is not of that form.
    """
    match = _match(entry)
    scheme = match["scheme"] or "turn"
    port = int(match["port"] or DEFAULT_PORTS[scheme])
    base = f"{scheme}:{match['host']}:{port}"
    if scheme.startswith("stun"):
        return (base,)
    if match["transport"]:
        return (f"{base}?transport={match['transport']}",)
    return (
        (f"{base}?transport=tcp",)
        if scheme == "turns"
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


def _match(entry: str) -> re.Match[str]:
    match = _ENTRY.fullmatch(entry.strip())
    if match is None:
        raise IceServerError(
            f"{entry!r} is no TURN or STUN server; write host:3478 or turn:host:3478?transport=udp"
        )
    if match["port"] and not 0 < int(match["port"]) < 65536:
        raise IceServerError(f"{entry!r} has the port {match['port']}, which does not exist")
    return match
