"""Requests are counted per key and window; addresses are taken from proxies only if these are trusted."""

from __future__ import annotations

import time

import pytest

from meeshy_sfu.config import load_settings
from meeshy_sfu.edge.limits import (
    ForwardedFor,
    Quota,
    RateLimitedError,
    RateLimiter,
    address_key,
    check_json_depth,
)
from meeshy_sfu.errors import PayloadTooLargeError
from meeshy_sfu.server.quotas import Quotas

QUOTA = Quota("rate_test", limit=3, window_s=60.0)


def test_the_limit_holds_within_a_window_and_ends_with_it() -> None:
    limiter = RateLimiter()
    assert [limiter.take(QUOTA, "a", now_s=t).remaining for t in (0.0, 1.0, 2.0)] == [2, 1, 0]
    with pytest.raises(RateLimitedError):
        limiter.take(QUOTA, "a", now_s=59.9)
    assert limiter.take(QUOTA, "a", now_s=60.0).remaining == 2


def test_a_refusal_tells_when_to_come_back() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        limiter.take(QUOTA, "a", now_s=10.0)
    with pytest.raises(RateLimitedError) as caught:
        limiter.take(QUOTA, "a", now_s=30.5)
    assert caught.value.retry_after_s == 40
    assert caught.value.details == {"limit": "rate_test", "retryAfter": 40}
    assert caught.value.standing.headers() == {
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "40",
    }


def test_refused_requests_do_not_prolong_the_window() -> None:
    limiter = RateLimiter()
    for _ in range(3):
        limiter.take(QUOTA, "a", now_s=0.0)
    for second in range(1, 60):
        with pytest.raises(RateLimitedError):
            limiter.take(QUOTA, "a", now_s=float(second))
    limiter.take(QUOTA, "a", now_s=60.0)


def test_keys_and_quotas_do_not_share() -> None:
    limiter = RateLimiter()
    other = Quota("rate_other", limit=3, window_s=60.0)
    for _ in range(3):
        limiter.take(QUOTA, "a", now_s=0.0)
    assert limiter.take(QUOTA, "b", now_s=0.0).remaining == 2
    assert limiter.take(other, "a", now_s=0.0).remaining == 2


def test_a_costly_request_counts_more_than_once() -> None:
    limiter = RateLimiter()
    assert limiter.take(QUOTA, "a", now_s=0.0, cost=2).remaining == 1
    with pytest.raises(RateLimitedError):
        limiter.take(QUOTA, "a", now_s=0.0, cost=2)
    assert limiter.take(QUOTA, "a", now_s=0.0).remaining == 0


def test_zero_lifts_a_limit() -> None:
    limiter = RateLimiter()
    for _ in range(1000):
        limiter.take(Quota("free", limit=0, window_s=60.0), "a", now_s=0.0)
    assert len(limiter) == 0


def test_old_keys_are_forgotten_and_memory_is_bounded() -> None:
    limiter = RateLimiter()
    for number in range(60_000):
        limiter.take(QUOTA, str(number), now_s=0.0)
    assert len(limiter) == 50_000
    limiter.take(QUOTA, "later", now_s=120.0)
    assert len(limiter) == 1


def test_the_defaults_are_those_of_the_api() -> None:
    quotas = Quotas.of(load_settings())
    limits = [
        q.limit for q in (quotas.create, quotas.transports, quotas.connect, quotas.consume, quotas.other)
    ]
    assert limits == [10, 50, 50, 100, 200]
    assert quotas.create.window_s == 60.0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_host_counts_by_its_network(address: str, key: str) -> None:
    assert address_key(address) == key


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "evil, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9:4711", "198.51.100.9"),
        ("10.0.0.1", "[2001:db8::9]:4711", "2001:db8::9"),
        ("10.0.0.1", "2001:db8::9", "2001:db8::9"),
        ("10.0.0.1", "203.0.113.5, unknown", "10.0.0.1"),
    ],
)
def test_forwarded_addresses_count_from_trusted_proxies_alone(
    peer: str, header: str | None, client: str
) -> None:
    assert ForwardedFor(("10.0.0.0/8",)).client(peer, header) == client


def test_without_trusted_proxies_headers_are_ignored() -> None:
    assert ForwardedFor(()).client("10.0.0.1", "198.51.100.9") == "10.0.0.1"


@pytest.mark.parametrize(
    "text", [b"[" * 5 + b"]" * 5, b'{"a":' * 5 + b"1" + b"}" * 5, b'"[[[[[[[["', b'["\\"[[[[["]']
)
def test_shallow_json_passes(text: bytes) -> None:
    check_json_depth(text, 5)


@pytest.mark.parametrize("text", [b"[" * 6, b'{"a":' * 6, b'["x",' * 100_000])
def test_deep_json_is_refused(text: bytes) -> None:
    with pytest.raises(PayloadTooLargeError, match="max_json_depth"):
        check_json_depth(text, 5)


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b"]"])
def test_looking_at_the_depth_takes_no_longer_than_reading(end: bytes) -> None:
    began_s = time.process_time()
    check_json_depth(b'"' + b'\\"' * 200_000 + end, 32)
    check_json_depth(b'"' * 200_001 + end, 32)
    assert time.process_time() - began_s < 1.0


def test_brackets_in_strings_do_not_count_and_those_behind_them_do() -> None:
    check_json_depth(b'["[[[", "\\"[[[", "\\\\", "]"]', 1)
    with pytest.raises(PayloadTooLargeError):
        check_json_depth(b'["\\\\", [1]]', 1)
    with pytest.raises(PayloadTooLargeError):
        check_json_depth(b'["\\"", [1]]', 1)


def test_a_long_window_outlives_requests_that_count_in_a_short_one() -> None:
    limiter = RateLimiter()
    long, short = Quota("rate_calls", limit=2, window_s=900.0), Quota("rate_signals", limit=2, window_s=10.0)
    for _ in range(2):
        limiter.take(long, "a", now_s=0.0)
    limiter.take(short, "b", now_s=20.0)
    limiter.take(short, "b", now_s=40.0)
    with pytest.raises(RateLimitedError):
        limiter.take(long, "a", now_s=41.0)


def test_keys_whose_window_is_over_are_forgotten() -> None:
    limiter = RateLimiter()
    for number in range(100):
        limiter.take(QUOTA, f"old {number}", now_s=0.0)
    limiter.take(QUOTA, "new", now_s=70.0)
    assert len(limiter) == 1
