"""Tokens of people: what they say, and every way in which they do not hold."""

from __future__ import annotations

import time
from typing import Any

import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import load_settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.token_signing import sign_media_token, sign_token, sign_user_token
from meeshy_sfu.errors import CallsNotSupportedError, PermissionDeniedError, UnauthorizedError
from meeshy_sfu.gateway.banner import banner as gateway_banner
from meeshy_sfu.gateway.calls.call_mode import ConversationType
from meeshy_sfu.gateway.media.media_client import MediaServerClient
from meeshy_sfu.gateway.wire.auth import MAX_CONVERSATIONS, Conversation, read_user_token
from meeshy_sfu.server.auth import read_token
from meeshy_sfu.server.banner import banner as media_banner
from simulator.client.gateway import user_token
from simulator.client.media_server import Credentials

SECRET = "s" * 32
GOOD: dict[str, Any] = {
    "sub": "ada",
    "username": "Ada",
    "kind": "user",
    "conversations": [{"id": "c1", "type": "group", "role": "Admin"}, {"id": "d1", "type": "DIRECT"}],
}


def token(**changes: Any) -> str:
    claims = {name: value for name, value in (GOOD | changes).items() if value != "absent"}
    return sign_token(claims, secret=SECRET, now_s=0.0, lifetime_s=60.0)


def test_a_good_token_says_who_and_where() -> None:
    user = read_user_token(token(), TokenRules(secret=SECRET), now_s=1.0)
    assert (user.id, user.username, user.anonymous, user.key) == ("ada", "Ada", False, "user:ada")
    assert user.conversation("c1").is_admin
    assert not user.conversation("d1").is_admin
    assert user.call_type("c1") is ConversationType.GROUP
    assert user.view().wire() == {"id": "ada", "username": "Ada", "kind": "user"}
    guest = read_user_token(token(kind="anonymous", username="absent"), TokenRules(secret=SECRET), now_s=1.0)
    assert (guest.key, guest.username) == ("guest:ada", "ada")


def test_other_conversations_and_types_are_refused() -> None:
    made = token(conversations=[{"id": "b1", "type": "BROADCAST"}])
    user = read_user_token(made, TokenRules(secret=SECRET), now_s=1.0)
    with pytest.raises(PermissionDeniedError):
        user.conversation("c1")
    with pytest.raises(CallsNotSupportedError):
        user.call_type("b1")


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "absent"},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "x" * 129},
        {"kind": "absent"},
        {"kind": "service"},
        {"kind": 1},
        {"username": 1},
        {"username": ""},
        {"username": "x" * 129},
        {"conversations": "absent"},
        {"conversations": {}},
        {"conversations": ["c1"]},
        {"conversations": [{"id": "c1"}]},
        {"conversations": [{"id": "a/b", "type": "GROUP"}]},
        {"conversations": [{"id": "c1", "type": 1}]},
        {"conversations": [{"id": "c1", "type": "GROUP", "role": 1}]},
        {"conversations": [{"id": f"c{n}", "type": "GROUP"} for n in range(MAX_CONVERSATIONS + 1)]},
    ],
)
def test_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnauthorizedError):
        read_user_token(token(**changes), TokenRules(secret=SECRET), now_s=1.0)


DECEPTIVE = [
    "a\x00",
    "\x1b[31m",
    "a\nb",
    "a\x7f",
    "\u202eada",
    "a\u2066b",
    "\u061c",
    "a\u0085",
    "\u2029",
    "\u200b",
]


@pytest.mark.parametrize("bad", DECEPTIVE)
@pytest.mark.parametrize(
    "claims",
    [
        lambda bad: {"username": bad},
        lambda bad: {"kind": "anonymous", "username": bad},
        lambda bad: {"conversations": [{"id": "c1", "type": bad}]},
        lambda bad: {"conversations": [{"id": "c1", "type": "GROUP", "role": bad}]},
    ],
)
def test_names_with_control_or_bidirectional_characters_are_refused(claims: Any, bad: str) -> None:
    with pytest.raises(UnauthorizedError, match=r"holds the \w+ character U\+") as caught:
        read_user_token(token(**claims(bad)), TokenRules(secret=SECRET), now_s=1.0)
    assert bad not in caught.value.message


@pytest.mark.parametrize(
    "name", ["Zoë", "Ада", "李小龍", "עדה", "عایشه", "می\u200cخواهم", "👩\u200d🚀", "O'Brien-Łuk"]
)
def test_names_of_people_are_taken(name: str) -> None:
    assert read_user_token(token(username=name), TokenRules(secret=SECRET), now_s=1.0).username == name


def test_a_name_that_shows_nothing_is_refused() -> None:
    with pytest.raises(UnauthorizedError, match="username has nothing to show"):
        read_user_token(token(username="  "), TokenRules(secret=SECRET), now_s=1.0)


@pytest.mark.parametrize("now_s", [60.0, 1e6, -1000.0])
def test_tokens_hold_for_their_time(now_s: float) -> None:
    with pytest.raises(UnauthorizedError):
        read_user_token(token(), TokenRules(secret=SECRET), now_s=now_s)


def test_a_made_token_reads_back() -> None:
    made = sign_user_token(
        secret=SECRET,
        now_s=0.0,
        lifetime_s=60.0,
        user_id="eve",
        conversations=[Conversation("c1", "GROUP", "admin")],
        anonymous=True,
    )
    user = read_user_token(made, TokenRules(secret=SECRET), now_s=1.0)
    assert (user.key, user.conversation("c1")) == ("guest:eve", Conversation("c1", "GROUP", "admin"))


def test_every_token_of_ours_names_its_audience() -> None:
    now_s = time.time()
    media = [
        sign_media_token(secret=SECRET, now_s=now_s, lifetime_s=60, role="service"),
        sign_media_token(
            secret=SECRET, now_s=now_s, lifetime_s=60, call_id="c", participant_id="p", subject="ada"
        ),
        MediaServerClient([], secret=SECRET, clock=SystemClock()).service_token(),
        Credentials(secret=SECRET).for_participant("c", "p"),
        Credentials(secret=SECRET).for_service(),
    ]
    for made in media:
        assert read_token(made, TokenRules(secret=SECRET, leeway_s=2, require_audience=True), now_s=now_s)
    people = [
        sign_user_token(secret=SECRET, now_s=now_s, lifetime_s=60, user_id="ada", conversations=[]),
        user_token(SECRET, "ada", "c1"),
    ]
    for made in people:
        assert read_user_token(
            made, TokenRules(secret=SECRET, leeway_s=2, require_audience=True), now_s=now_s
        )
    settings = load_settings(flags={"jwt_secret": SECRET, "development": True})
    for lines, reader in (
        (media_banner(settings, "http://x", [], SystemClock()), read_token),
        (gateway_banner(settings, "http://x", SystemClock()), read_user_token),
    ):
        made = next(line.strip() for line in lines if line.strip().startswith("eyJ"))
        assert reader(made, TokenRules(secret=SECRET, leeway_s=2, require_audience=True), now_s=now_s)


def test_the_media_server_takes_the_tokens_made_for_it_and_no_others() -> None:
    made = sign_media_token(
        secret=SECRET, now_s=0.0, lifetime_s=60.0, call_id="call", participant_id="p", subject="ada"
    )
    claims = read_token(made, TokenRules(secret=SECRET), now_s=1.0)
    assert (claims.call_id, claims.participant_id, claims.role) == ("call", "p", "participant")
    with pytest.raises(UnauthorizedError):
        read_user_token(made, TokenRules(secret=SECRET), now_s=1.0)
    with pytest.raises(UnauthorizedError):
        read_token(token(), TokenRules(secret=SECRET), now_s=1.0)
