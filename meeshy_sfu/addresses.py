"""Addresses in the settings: what workers listen on, and what clients may be told.

Pure rules over words; nothing is looked up and nothing is bound.
"""

import ipaddress
import re
from collections.abc import Sequence

HOST_NAME = re.compile(r"([A-Za-z0-9_-]{1,63}\.)*(?!\d+$)[A-Za-z0-9_-]{1,63}")
"""As in URLs: what ends in a number is an address, or a wrong one."""


def require_address(address: str) -> None:
    """Refuse what nothing can listen on.

    Raises:
        ValueError: It is neither an IP address without a zone nor localhost.
    """
    if address == "localhost":
        return
    _require_no_zone(address)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(
            f"{address!r} is no IP address; write it like 127.0.0.1, ::1 or 0.0.0.0 (ip addr shows those of this machine)"
        ) from None


def require_network(network: str) -> None:
    """Refuse what is no address and no network.

    Raises:
        ValueError: It is neither, or has a zone.
    """
    _require_no_zone(network)
    try:
        ipaddress.ip_network(network, strict=False)
    except ValueError:
        raise ValueError(
            f"{network!r} is neither an IP address nor a network; write it like 10.0.0.7 or 10.0.0.0/8"
        ) from None


def _require_no_zone(address: str) -> None:
    if "%" in address:
        raise ValueError(
            f"{address!r} has a zone, and zones are not supported; write another address, without %"
        )


def require_told(announced: str) -> None:
    """Refuse what no client could reach.

    Raises:
        ValueError: It is neither a host name nor an address of a host.
    """
    if HOST_NAME.fullmatch(announced):
        return
    _require_no_zone(announced)
    try:
        unspecified = ipaddress.ip_address(announced).is_unspecified
    except ValueError:
        raise ValueError("is neither an IP address nor a host name; write it like 203.0.113.9") from None
    if unspecified:
        raise ValueError("is no address that clients can reach; leave it out, or write it like 203.0.113.9")


def require_family(announced: str, listened: Sequence[str]) -> None:
    """Refuse an announced address of a family that nothing listens on: no client would receive it.

    Raises:
        ValueError: No address listened on is of its family.
    """
    if HOST_NAME.fullmatch(announced):
        return
    version = ipaddress.ip_address(announced).version
    if version not in {ipaddress.ip_address(ip).version for ip in listened}:
        raise ValueError(
            f"announced_ip {announced} is of IPv{version}, and the workers listen on {', '.join(listened)} alone; "
            f"name an IPv{version} address in rtc_listen_ips as well, or announce an address of the other family"
        )


def media_ips(listen: Sequence[str]) -> tuple[str, ...]:
    """Return what workers bind: no names, and for ``::`` alone both families, as a socket of theirs has one."""
    ips = tuple("127.0.0.1" if ip == "localhost" else ip for ip in listen)
    parsed = [ipaddress.ip_address(ip) for ip in ips]
    if ipaddress.ip_address("::") not in parsed or any(ip.version == 4 for ip in parsed):
        return ips
    return ("0.0.0.0", *ips)  # noqa: S104 - what :: means
