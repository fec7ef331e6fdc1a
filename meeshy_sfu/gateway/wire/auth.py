"""Tokens of the gateway: who a user is and which conversations they are a member of; invites; and services' tokens.

Pure: secret and time are handed in. What every token must fulfil is known to edge/auth.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meeshy_sfu.edge.auth import (
    GATEWAY_AUDIENCE,
    INVITE_AUDIENCE,
    MEDIA_AUDIENCE,
    SERVICE_ROLE,
    USER_CLAIMS,
    TokenRules,
    check_audience,
    check_id,
    id_claim,
    moment,
    name_claim,
    open_token,
    subject,
)
from meeshy_sfu.errors import (
    CallsNotSupportedError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthorizedError,
)
from meeshy_sfu.gateway.calls.call_mode import ConversationType
from meeshy_sfu.gateway.wire.schemas import UserView

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_CONVERSATIONS = 1000
MAX_WORD_CHARS = 64
"""Longest type or role of a conversation."""
ADMIN_ROLES = frozenset({"admin", "owner", "moderator"})
"""Roles in a conversation that may end its calls and remove participants."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation of a user."""

    id: str
    type: str
    role: str = "member"

    @property
    def is_admin(self) -> bool:
        """Whether they may end its calls."""
        return self.role in ADMIN_ROLES


@dataclass(frozen=True, slots=True)
class User:
    """Who a checked token speaks for."""

    id: str
    username: str
    anonymous: bool
    conversations: Mapping[str, Conversation]
    expires_at_s: float
    guest_since_s: float | None = None
    """When the first token of a guest who came by an invite was signed; None for all others."""

    @property
    def key(self) -> str:
        """Distinguishes users from guests even if their ids are equal."""
        return f"{'guest' if self.anonymous else 'user'}:{self.id}"

    def conversation(self, conversation_id: str) -> Conversation:
        """Return a conversation of theirs.

        Raises:
            PermissionDeniedError: They are not a member of it.
        """
        found = self.conversations.get(conversation_id)
        if found is None:
            raise PermissionDeniedError(
                f"you are not a member of conversation {conversation_id}; your token does not name it"
            )
        return found

    def call_type(self, conversation_id: str) -> ConversationType:
        """Return the type of a conversation of theirs that can call.

        Raises:
            PermissionDeniedError: They are not a member of it.
            CallsNotSupportedError: It cannot call.
        """
        kind = self.conversation(conversation_id).type
        try:
            return ConversationType(kind)
        except ValueError:
            raise CallsNotSupportedError(
                f"conversation {conversation_id} is of type {kind}; calls are for DIRECT and GROUP"
            ) from None

    def view(self) -> UserView:
        """Return what others see of them."""
        return UserView(id=self.id, username=self.username, kind="anonymous" if self.anonymous else "user")


def read_service_token(token: object, rules: TokenRules, *, now_s: float) -> User | None:
    """Check a service's token, the one that the media server takes; None if it is no service's but a user's.

    A user's token is never a service's, whatever it claims.

    Raises:
        UnauthorizedError: The token is not valid; the message says why, without repeating it.
    """
    payload = open_token(token, rules, now_s=now_s)
    if USER_CLAIMS & payload.keys() or payload.get("role") != SERVICE_ROLE:
        return None
    check_audience(payload, MEDIA_AUDIENCE, required=rules.require_audience)
    name = subject(payload)
    return User(
        id=name, username=name, anonymous=False, conversations={}, expires_at_s=moment(payload, "exp")
    )


def read_user_token(token: object, rules: TokenRules, *, now_s: float) -> User:
    """Check signature, algorithm, claims and lifetime of a user's token.

    Example:
        ```python
        from meeshy_sfu.edge.auth import TokenRules
        from meeshy_sfu.edge.token_signing import sign_user_token

        rules = TokenRules(secret="x" * 32)
        token = sign_user_token(
            secret=rules.secret,
            now_s=0.0,
            lifetime_s=60.0,
            user_id="ada",
            conversations=[Conversation("c1", "GROUP")],
        )
        assert read_user_token(token, rules, now_s=1.0).conversation("c1").type == "GROUP"
        ```

    Raises:
        UnauthorizedError: The token is not valid; the message says why, without repeating it.
    """
    payload = open_token(token, rules, now_s=now_s)
    check_audience(payload, GATEWAY_AUDIENCE, required=rules.require_audience)
    kind = payload.get("kind")
    if kind not in ("user", "anonymous"):
        raise UnauthorizedError("the token's claim kind is neither user nor anonymous")
    user_id = id_claim(payload, "sub")
    user = User(
        id=user_id,
        username=name_claim(payload.get("username", user_id), "username"),
        anonymous=kind == "anonymous",
        conversations={item.id: item for item in _conversations(payload.get("conversations"))},
        expires_at_s=moment(payload, "exp"),
        guest_since_s=moment(payload, "guestSince") if "guestSince" in payload else None,
    )
    return user


def read_invite(invite: object, rules: TokenRules, *, now_s: float) -> Conversation:
    """Check an invite and return the conversation it is for.

    Unlike a user's token it must always name its audience, so that no other token of the same secret passes for one.

    Raises:
        UnauthorizedError: It is not valid; the message says why, without repeating it.
    """
    payload = open_token(invite, rules, now_s=now_s)
    check_audience(payload, INVITE_AUDIENCE, required=True)
    found = payload.get("conversation")
    (conversation,) = _conversations([found if isinstance(found, dict) else None])
    return Conversation(conversation.id, conversation.type)


def _conversations(value: object) -> Iterable[Conversation]:
    if not isinstance(value, list) or len(value) > MAX_CONVERSATIONS:
        raise UnauthorizedError(
            f"the token's claim conversations is missing or no list of at most {MAX_CONVERSATIONS}"
        )
    for item in value:
        if not isinstance(item, dict):
            raise UnauthorizedError("the token's claim conversations holds something else than objects")
        kind, role = item.get("type"), item.get("role", "member")
        try:
            conversation_id = check_id(item.get("id"), "conversations.id")
        except InvalidRequestError:
            raise UnauthorizedError("the token's claim conversations holds an invalid id") from None
        yield Conversation(
            conversation_id,
            name_claim(kind, "conversations.type", max_chars=MAX_WORD_CHARS).upper(),
            name_claim(role, "conversations.role", max_chars=MAX_WORD_CHARS).lower(),
        )
