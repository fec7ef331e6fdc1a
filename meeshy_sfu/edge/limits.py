"""Rate limits and the caps of what a client may send.

Pure: time and limits are handed in. Which request counts against which limit is decided by the service; caps on
what rooms hold are kept by rooms/.
"""

import ipaddress
import math
import re
from dataclasses import dataclass

from meeshy_sfu.errors import PayloadTooLargeError, RateLimitError

_KEYS_MAX = 50_000
_SWEEP_INTERVAL_S = 10.0
# possessive, and an unterminated string ends with the text: whatever is sent, each byte is looked at once
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit: so many in a window."""

    name: str
    limit: int
    """0 means no limit."""
    window_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands after a request; becomes the X-RateLimit headers."""

    quota: Quota
    remaining: int
    reset_s: float
    """Seconds until the window starts anew."""

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer; Reset counts seconds from now, as Retry-After does."""
        return {
            "X-RateLimit-Limit": str(self.quota.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(max(0, math.ceil(self.reset_s))),
        }


class RateLimitedError(RateLimitError):
    """A limit is used up; carries the standing for the headers."""

    standing: Standing

    def __init__(self, standing: Standing) -> None:
        quota = standing.quota
        retry_after_s = max(1, math.ceil(standing.reset_s))
        super().__init__(
            f"more than {quota.limit} in {quota.window_s:g} s ({quota.name}); try again in {retry_after_s} s",
            {"limit": quota.name, "retryAfter": retry_after_s},
            retry_after_s=retry_after_s,
        )
        self.standing = standing


class RateLimiter:
    """Count requests per quota and key in windows that begin with a key's first request.

    Forgets keys whose window is over, and never holds more than 50,000 keys: beyond that the oldest window is
    given up.

    Example:
        ```python
        from meeshy_sfu.edge.limits import Quota, RateLimiter

        limiter = RateLimiter()
        quota = Quota("rate_create", limit=2, window_s=60.0)
        assert limiter.take(quota, "call", now_s=0.0).remaining == 1
        assert limiter.take(quota, "call", now_s=1.0).remaining == 0
        assert limiter.take(quota, "call", now_s=60.0).remaining == 1
        ```
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[Quota, str], tuple[float, int]] = {}
        self._swept_s = 0.0

    def take(self, quota: Quota, key: str, *, now_s: float, cost: int = 1) -> Standing:
        """Count a request.

        Raises:
            RateLimitedError: The window's limit would be passed; nothing was counted.
        """
        if not quota.limit:
            return Standing(quota, remaining=0, reset_s=0.0)
        self._sweep(now_s)
        begun_s, used = self._windows.get((quota, key), (now_s, 0))
        if now_s - begun_s >= quota.window_s:
            begun_s, used = now_s, 0
        reset_s = begun_s + quota.window_s - now_s
        if used + cost > quota.limit:
            raise RateLimitedError(Standing(quota, remaining=max(0, quota.limit - used), reset_s=reset_s))
        self._windows[(quota, key)] = (begun_s, used + cost)
        return Standing(quota, remaining=quota.limit - used - cost, reset_s=reset_s)

    def forget(self, quota: Quota, key: str) -> None:
        """Drop a key whose owner is gone."""
        self._windows.pop((quota, key), None)

    def __len__(self) -> int:
        """Return the number of keys held."""
        return len(self._windows)

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_s >= _SWEEP_INTERVAL_S:
            self._swept_s = now_s
            # each by its own window: one limiter counts short and long ones
            over = [key for key, (begun_s, _) in self._windows.items() if now_s - begun_s >= key[0].window_s]
            for key in over:
                del self._windows[key]
        while len(self._windows) >= _KEYS_MAX:
            del self._windows[next(iter(self._windows))]


def read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address without its zone, an IPv4 one written as IPv6 as what it is; None if it is none."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def address_key(address: str) -> str:
    """Return what an address counts as: itself, or its /64 for IPv6, as one host owns all of that."""
    parsed = read_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return address if parsed is None else str(parsed)


def check_json_depth(text: bytes, limit: int) -> None:
    """Refuse JSON nested deeper than the limit, before a parser recurses into it.

    Raises:
        PayloadTooLargeError: Too deep.
    """
    if text.count(b"[") + text.count(b"{") <= limit:
        return
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", text)):
        if bracket[0] in b"[{":
            depth += 1
            if depth > limit:
                raise PayloadTooLargeError(f"nested deeper than {limit} levels; the cap is max_json_depth")
        else:
            depth -= 1


class ForwardedFor:
    """Find the client's address: the peer's own, or what trusted proxies say of it.

    Walks X-Forwarded-For from the right and stops at the first address that is no trusted proxy; what stands
    left of it the client may have invented.
    """

    __slots__ = ("_networks",)

    def __init__(self, trusted: tuple[str, ...]) -> None:
        self._networks = tuple(ipaddress.ip_network(network, strict=False) for network in trusted)

    def is_trusted(self, address: str) -> bool:
        """Return whether this peer's forwarded headers count."""
        parsed = read_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(self, peer: str, header: str | None) -> str:
        """Return the client's address for a connection from ``peer`` with all of its X-Forwarded-For, joined."""
        address = peer
        hops = [hop.strip() for hop in (header or "").split(",") if hop.strip()]
        while hops and self.is_trusted(address):
            hop = read_hop(hops.pop())
            if hop is None:
                break
            address = hop
        return address


def read_hop(text: str) -> str | None:
    """Read an address as proxies write it, some with a port or in brackets; None if it is none."""
    bracketed, found, _ = text.removeprefix("[").partition("]")
    candidate = bracketed if text.startswith("[") and found else text
    if candidate.count(":") == 1:
        candidate = candidate.partition(":")[0]
    return candidate if read_address(candidate) is not None else None
