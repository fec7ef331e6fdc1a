"""Tokens of the media server: who is calling, for which call, until when, and what they may touch.

Pure: secret and time are handed in. Where a token comes from (header, handshake) is known to rest.py and
signaling.py; who owns which object, to rooms/; what every token must fulfil, to edge/auth.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from meeshy_sfu.edge.auth import (
    MAX_LIFETIME_S,
    MEDIA_AUDIENCE,
    SERVICE_ROLE,
    check_audience,
    id_claim,
    moment,
    open_token,
    sign_token,
    subject,
)
from meeshy_sfu.errors import ForbiddenError

ROOM_OWNER_ROLES = frozenset({SERVICE_ROLE, "initiator"})
"""Roles that may end a call for everybody."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a checked token says."""

    subject: str
    role: str
    call_id: str | None
    """None only for services, which may name any call."""
    participant_id: str | None
    """None only for services."""
    issued_at_s: float
    expires_at_s: float

    @property
    def owner(self) -> str:
        """Whose connections they are: a participant's of a call, or a service's."""
        return f"{self.call_id}/{self.participant_id}" if self.participant_id else self.subject

    @property
    def is_service(self) -> bool:
        """Whether the bearer acts for the whole system."""
        return self.role == SERVICE_ROLE

    def require_call(self, call_id: str) -> None:
        """Check that the token is for this call.

        Raises:
            ForbiddenError: It is for another one.
        """
        if self.call_id is None or self.call_id != call_id:
            if self.is_service:
                return
            raise ForbiddenError(f"the token is for call {self.call_id}, not for {call_id}")

    def require_participant(self, participant_id: str, what: str = "participant") -> None:
        """Check that the bearer is this participant, or a service.

        Raises:
            ForbiddenError: It is somebody else; ``what`` says what they reached for.
        """
        if not self.is_service and self.participant_id != participant_id:
            raise ForbiddenError(
                f"the token is for participant {self.participant_id}; the {what} is another's"
            )


def read_token(
    token: object,
    *,
    secret: str,
    now_s: float,
    leeway_s: float = 0.0,
    max_lifetime_s: float = MAX_LIFETIME_S,
    require_audience: bool = False,
) -> Claims:
    """Check signature, algorithm, claims and lifetime of a token.

    Args:
        token: What the caller presented.
        secret: The shared secret.
        now_s: Seconds since 1970.
        leeway_s: Difference between the clocks that is forgiven.
        max_lifetime_s: How far ahead its expiry may be.
        require_audience: Whether a token without aud is refused.

    Raises:
        UnauthorizedError: The token does not hold; the message says why, without repeating it.
    """
    payload = open_token(token, secret=secret, now_s=now_s, leeway_s=leeway_s, max_lifetime_s=max_lifetime_s)
    check_audience(payload, MEDIA_AUDIENCE, required=require_audience)
    return _read_claims(payload)


def make_token(
    *,
    secret: str,
    now_s: float,
    lifetime_s: float,
    role: str = "participant",
    call_id: str | None = None,
    participant_id: str | None = None,
    subject: str | None = None,
) -> str:
    """Sign a token as the gateway would; for tools, tests and development."""
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


def _read_claims(payload: Mapping[str, object]) -> Claims:
    role = id_claim(payload, "role")
    is_service = role == SERVICE_ROLE

    def owner(name: str) -> str | None:
        return None if is_service and payload.get(name) is None else id_claim(payload, name)

    return Claims(
        subject=subject(payload),
        role=role,
        call_id=owner("callId"),
        participant_id=owner("participantId"),
        issued_at_s=moment(payload, "iat"),
        expires_at_s=moment(payload, "exp"),
    )
