"""Invites: what they say, and that no other token of the same secret passes for one, nor one for another."""

from __future__ import annotations

from typing import Any

import pytest

from meeshy_sfu.edge.auth import AUDIENCES, GATEWAY_AUDIENCE, INVITE_AUDIENCE, MEDIA_AUDIENCE, TokenRules
from meeshy_sfu.edge.token_signing import (
    sign_invite,
    sign_media_token,
    sign_service_token,
    sign_token,
    sign_user_token,
)
from meeshy_sfu.errors import UnauthorizedError
from meeshy_sfu.gateway.wire.auth import Conversation, read_invite, read_service_token, read_user_token
from meeshy_sfu.server.auth import read_token

SECRET = "s" * 32
RULES = TokenRules(secret=SECRET)
CONVERSATION: dict[str, Any] = {"id": "c1", "type": "group"}
USER: dict[str, Any] = {
    "sub": "ada",
    "kind": "user",
    "conversations": [{"id": "c1", "type": "GROUP", "role": "admin"}],
}


def signed(**claims: Any) -> str:
    return sign_token(claims, secret=SECRET, now_s=0.0, lifetime_s=60.0)


def invite(**claims: Any) -> str:
    given = {"aud": INVITE_AUDIENCE, "conversation": CONVERSATION} | claims
    return signed(**{name: value for name, value in given.items() if value != "absent"})


def user_token(**claims: Any) -> str:
    return signed(**USER, **claims)


def test_an_invite_names_one_conversation_in_which_guests_are_members() -> None:
    made = sign_invite(secret=SECRET, now_s=0.0, lifetime_s=60.0, conversation_id="c1", kind="GROUP")
    assert read_invite(made, RULES, now_s=59.0) == Conversation("c1", "GROUP", "member")
    promoted = invite(conversation=CONVERSATION | {"role": "admin"})
    assert read_invite(promoted, RULES, now_s=1.0) == Conversation("c1", "GROUP", "member")


@pytest.mark.parametrize(
    "changes",
    [
        {"conversation": "absent"},
        {"conversation": "c1"},
        {"conversation": [CONVERSATION]},
        {"conversation": {"id": "c1"}},
        {"conversation": {"id": "a/b", "type": "GROUP"}},
        {"conversation": {"id": "c1", "type": 1}},
        {"conversation": {"id": "c1", "type": "GR\u202eOUP"}},
        {"aud": "absent"},
        {"aud": 1},
        {"aud": []},
        {"aud": "another"},
        {"exp": "soon"},
    ],
)
def test_what_is_no_invite_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnauthorizedError):
        read_invite(
            invite() if "exp" in changes else invite(**changes),
            RULES,
            now_s=61.0 if "exp" in changes else 1.0,
        )


@pytest.mark.parametrize("other", [name for name in AUDIENCES if name != INVITE_AUDIENCE])
def test_an_invite_that_names_a_service_as_well_is_refused_by_all(other: str) -> None:
    made = signed(
        aud=[INVITE_AUDIENCE, other],
        **USER,
        conversation=CONVERSATION,
        role="service",
        callId="c",
        participantId="p",
    )
    for refuse in (read_invite, read_user_token, read_token):
        with pytest.raises(UnauthorizedError):
            refuse(made, RULES, now_s=1.0)


def test_no_user_media_or_service_token_passes_for_an_invite() -> None:
    common: dict[str, Any] = {"secret": SECRET, "now_s": 0.0, "lifetime_s": 60.0}
    tokens = [
        sign_user_token(user_id="ada", conversations=[Conversation("c1", "GROUP")], **common),
        sign_media_token(call_id="c1", participant_id="p", **common),
        sign_service_token(**common),
        # of an issuer that sets no audience, with what an invite holds beside it
        signed(**USER, conversation=CONVERSATION),
        signed(**USER, conversation=CONVERSATION, aud=GATEWAY_AUDIENCE),
        signed(role="service", sub="x", conversation=CONVERSATION, aud=MEDIA_AUDIENCE),
    ]
    for token in tokens:
        with pytest.raises(UnauthorizedError):
            read_invite(token, RULES, now_s=1.0)


def test_an_invite_passes_for_no_other_token_whatever_else_it_claims() -> None:
    """Also where no audience is required of users' tokens."""
    made = invite(**USER, role="service", callId="c", participantId="p")
    for refuse in (read_user_token, read_token):
        with pytest.raises(UnauthorizedError):
            refuse(made, RULES, now_s=1.0)
    plain = invite(role="service", sub="x")
    with pytest.raises(UnauthorizedError):
        read_service_token(plain, RULES, now_s=1.0)
    assert "guestSince" not in USER
    assert read_user_token(user_token(), RULES, now_s=1.0).guest_since_s is None
    assert read_user_token(user_token(guestSince=7), RULES, now_s=1.0).guest_since_s == 7.0
    with pytest.raises(UnauthorizedError, match="guestSince"):
        read_user_token(user_token(guestSince="long ago"), RULES, now_s=1.0)
