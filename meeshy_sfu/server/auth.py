"""Tokens of the media server: which participant of which call, until when, and what they may access.

Pure: secret and time are arguments. Where a token comes from (header, handshake) is in rest_dispatch.py and signaling.py; who
owns which object, in rooms/; what every token is checked against, in edge/auth.py; signing, in edge/token_signing.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from meeshy_sfu.edge.auth import (
    MEDIA_AUDIENCE,
    SERVICE_ROLE,
    TokenRules,
    check_audience,
    id_claim,
    moment,
    open_token,
    subject,
)
from meeshy_sfu.errors import ForbiddenError

ROOM_OWNER_ROLES = frozenset({SERVICE_ROLE, "initiator"})
"""Roles that may end a call for all participants."""


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
            ForbiddenError: It is another participant; ``what`` names what was requested.
        """
        if not self.is_service and self.participant_id != participant_id:
            raise ForbiddenError(
                f"the token is for participant {self.participant_id}; the {what} is another participant's"
            )


def read_token(token: object, rules: TokenRules, *, now_s: float) -> Claims:
    """Check signature, algorithm, claims and lifetime of a token.

    Raises:
        UnauthorizedError: The token is not valid; the message says why, without repeating it.
    """
    payload = open_token(token, rules, now_s=now_s)
    check_audience(payload, MEDIA_AUDIENCE, required=rules.require_audience)
    return _read_claims(payload)


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
