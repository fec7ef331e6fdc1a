"""The gateway's own token for media servers, as clocks go on, and back."""

from __future__ import annotations

import jwt

from meeshy_sfu.gateway.media.media_client import TOKEN_LIFETIME_S, MediaServerClient

SECRET = "a-secret-of-at-least-thirty-two-bytes"


class WallClock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def unix_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return 0.0


def claims(token: str) -> dict[str, float]:
    options = {"verify_exp": False, "verify_iat": False}
    return jwt.decode(token, SECRET, algorithms=["HS256"], audience="meeshy-media", options=options)  # type: ignore[arg-type]


def test_the_token_is_kept_until_shortly_before_its_end() -> None:
    clock = WallClock()
    client = MediaServerClient([], secret=SECRET, clock=clock)
    first = client.service_token()
    clock.now_s += TOKEN_LIFETIME_S / 2
    assert client.service_token() == first
    clock.now_s += TOKEN_LIFETIME_S / 2 - 60
    assert claims(client.service_token())["exp"] == clock.now_s + TOKEN_LIFETIME_S


def test_a_clock_that_was_set_back_gives_a_token_that_holds_now() -> None:
    clock = WallClock()
    client = MediaServerClient([], secret=SECRET, clock=clock)
    client.service_token()
    clock.now_s -= 3600
    assert claims(client.service_token())["iat"] == clock.now_s
