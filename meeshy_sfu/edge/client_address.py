"""Where a request comes from: the client's address behind proxies, and whether it is a program on this machine."""

import re
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from meeshy_sfu.edge.cors import is_loopback_origin
from meeshy_sfu.edge.limits import ForwardedFor, read_address

ADDRESS = web.RequestKey("address", str)


def address_of(request: web.BaseRequest, forwarded: ForwardedFor) -> str:
    """Return the client's address."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    host = str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"
    # one list, however many lines it came in (RFC 9110 §5.3): the last is the nearest proxy's
    return forwarded.client(host, ",".join(request.headers.getall("X-Forwarded-For", [])))


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own."""
    parsed = read_address(address)
    return parsed is not None and parsed.is_loopback


def is_local(request: web.BaseRequest) -> bool:
    """Return whether a program on this machine asks for itself: not through a proxy, and not for a page from elsewhere.

    A page can let its own name point to 127.0.0.1 and read what answers (DNS rebinding); its Host shows that. Where
    cors_origins is ``*``, it can also ask 127.0.0.1 by that name; its Origin shows that.
    """
    origin = request.headers.get("Origin")
    return (
        is_loopback(request[ADDRESS])
        and not is_forwarded(request)
        and _is_loopback_host(request.headers.get("Host", ""))
        and (origin is None or is_loopback_origin(origin))
    )


def is_forwarded(request: web.BaseRequest) -> bool:
    """Return whether a proxy may have passed the request on, so that a peer on loopback proves nothing.

    One that adds no header, as nginx without settings does not, still shows by its HTTP/1.0.
    """
    return request.version < HttpVersion11 or any(
        name in _PROXY_HEADERS or name.startswith("x-forwarded") for name in map(str.lower, request.headers)
    )


_NO_HOST = re.compile(r"[/?#@\\\s]")
"""What no Host holds (RFC 9110 §7.2), and what would hide the name it leads to."""
_PROXY_HEADERS = frozenset(
    (
        "via",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "true-client-ip",
        "cf-connecting-ip",
    )
)


def _is_loopback_host(host: str) -> bool:
    if _NO_HOST.search(host):
        return False
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = read_address(name)
    # 0.0.0.0 and :: lead to this machine as well, and a number is no name that could be pointed here
    return address is not None and (address.is_loopback or address.is_unspecified)
