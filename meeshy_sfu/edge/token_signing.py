"""Signing of tokens: one function for each kind, so that it is clear who signs what.

Pure: secret and time are arguments. What a token is checked against is in auth.py; who may do what with it, in the services'
own auth.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import jwt

from meeshy_sfu.edge.auth import ALGORITHM, GATEWAY_AUDIENCE, INVITE_AUDIENCE, MEDIA_AUDIENCE, SERVICE_ROLE


class ConversationClaim(Protocol):
    """One conversation in a user's token."""

    @property
    def id(self) -> str:
        """Of the conversation."""

    @property
    def type(self) -> str:
        """DIRECT, GROUP or another type of the application."""

    @property
    def role(self) -> str:
        """The user's role in it."""


def sign_user_token(
    *,
    secret: str,
    now_s: float,
    lifetime_s: float,
    user_id: str,
    conversations: Iterable[ConversationClaim],
    username: str | None = None,
    anonymous: bool = False,
    guest_since_s: float | None = None,
) -> str:
    """Sign a user's token for the gateway.

    In production the application around the gateway signs these; here the command line, the banner and tests do, and the
    gateway itself for guests, whose first token was signed at `guest_since_s`.
    """
    claims: dict[str, Any] = {
        "aud": GATEWAY_AUDIENCE,
        "sub": user_id,
        "username": username or user_id,
        "kind": "anonymous" if anonymous else "user",
        "conversations": [{"id": one.id, "type": one.type, "role": one.role} for one in conversations],
    }
    if guest_since_s is not None:
        claims["guestSince"] = int(guest_since_s)
    return sign_token(claims, secret=secret, now_s=now_s, lifetime_s=lifetime_s)


def sign_invite(*, secret: str, now_s: float, lifetime_s: float, conversation_id: str, kind: str) -> str:
    """Sign an invite: it lets guests into one conversation, as members and never as admins."""
    claims = {"aud": INVITE_AUDIENCE, "conversation": {"id": conversation_id, "type": kind}}
    return sign_token(claims, secret=secret, now_s=now_s, lifetime_s=lifetime_s)


def sign_media_token(
    *,
    secret: str,
    now_s: float,
    lifetime_s: float,
    role: str = "participant",
    call_id: str | None = None,
    participant_id: str | None = None,
    subject: str | None = None,
) -> str:
    """Sign a token for the media server, as a rule for one participant of one call: the gateway does.

    Without a subject it is the participant, or else the role.
    """
    claims: dict[str, object] = {
        "aud": MEDIA_AUDIENCE,
        "sub": subject or participant_id or role,
        "role": role,
    }
    if call_id is not None:
        claims["callId"] = call_id
    if participant_id is not None:
        claims["participantId"] = participant_id
    return sign_token(claims, secret=secret, now_s=now_s, lifetime_s=lifetime_s)


def sign_service_token(*, secret: str, now_s: float, lifetime_s: float, subject: str = SERVICE_ROLE) -> str:
    """Sign a token for a program that may act for every call: the gateway's own, and that of `meeshy gateway calls`."""
    return sign_media_token(
        secret=secret, now_s=now_s, lifetime_s=lifetime_s, role=SERVICE_ROLE, subject=subject
    )


def sign_token(claims: Mapping[str, object], *, secret: str, now_s: float, lifetime_s: float) -> str:
    """Sign a token with these claims, valid from now on."""
    payload = {**claims, "iat": int(now_s), "exp": int(now_s + lifetime_s)}
    return jwt.encode(payload, secret, algorithm=ALGORITHM)
