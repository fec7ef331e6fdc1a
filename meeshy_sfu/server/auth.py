"""Tokens: who is calling, for which call, until when, and what they may touch.

Pure: secret and time are handed in. Where a token comes from (header, handshake) is known to rest.py and
signaling.py; who owns which object, to rooms/.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import jwt
from jwt.types import Options

from meeshy_sfu.errors import ForbiddenError, InvalidRequestError, UnauthorizedError

ALGORITHM = "HS256"
"""The only one accepted; the token's own header is not asked."""
SERVICE_ROLE = "service"
"""Role of programs such as the gateway: any call, any participant."""
ROOM_OWNER_ROLES = frozenset({SERVICE_ROLE, "initiator"})
"""Roles that may end a call for everybody."""
MAX_TOKEN_CHARS = 4096
_CHECKED_HERE: Options = {
    # claims are checked in _read_claims, lifetimes against the clock that was handed in
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


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


def check_id(value: object, path: str) -> str:
    """Check an id that callers choose.

    Raises:
        InvalidRequestError: It is no string of 1 to 128 letters, digits and ``. _ : @ -``.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidRequestError(
            "must be 1 to 128 letters, digits, dots, dashes, underscores, colons or @, "
            "beginning with a letter or digit",
            path=path,
        )
    return value


def read_token(token: object, *, secret: str, now_s: float, leeway_s: float = 0.0) -> Claims:
    """Check signature, algorithm, lifetime and claims of a token.

    Args:
        token: What the caller presented.
        secret: The shared secret.
        now_s: Seconds since 1970.
        leeway_s: Difference between the clocks that is forgiven.

    Raises:
        UnauthorizedError: The token does not hold; the message says why, without repeating it.
    """
    if not isinstance(token, str) or not token:
        raise UnauthorizedError("no token; send Authorization: Bearer <JWT>, or auth.token in the handshake")
    if len(token) > MAX_TOKEN_CHARS:
        raise UnauthorizedError("the token is too long")
    try:
        payload: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            options=_CHECKED_HERE,
        )
    except jwt.InvalidAlgorithmError:
        raise UnauthorizedError(f"the token must be signed with {ALGORITHM}") from None
    except jwt.InvalidSignatureError:
        raise UnauthorizedError("the token was signed with another secret") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise UnauthorizedError("the token is no valid JWT") from None
    claims = _read_claims(payload)
    if now_s >= claims.expires_at_s + leeway_s:
        raise UnauthorizedError("the token has expired", {"reason": "expired"})
    if now_s < claims.issued_at_s - max(leeway_s, 60.0):
        raise UnauthorizedError("the token was issued in the future; check the clocks")
    not_before = payload.get("nbf")
    if _is_number(not_before) and now_s < float(not_before) - leeway_s:
        raise UnauthorizedError("the token is not valid yet")
    return claims


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
    payload: dict[str, object] = {
        "sub": subject or participant_id or role,
        "role": role,
        "iat": int(now_s),
        "exp": int(now_s + lifetime_s),
    }
    if call_id is not None:
        payload["callId"] = call_id
    if participant_id is not None:
        payload["participantId"] = participant_id
    return jwt.encode(payload, secret, algorithm=ALGORITHM)


def bearer(header: str | None) -> str | None:
    """Take the token out of an Authorization header; None when there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _read_claims(payload: Mapping[str, object]) -> Claims:
    def text(name: str, *, required: bool) -> str | None:
        value = payload.get(name)
        if value is None and not required:
            return None
        try:
            return check_id(value, name)
        except InvalidRequestError:
            problem = "is missing" if value is None else "is no valid id"
            raise UnauthorizedError(f"the token's claim {name} {problem}") from None

    def moment(name: str) -> float:
        value = payload.get(name)
        if not _is_number(value):
            raise UnauthorizedError(f"the token's claim {name} is missing or no number")
        return float(value)

    role = text("role", required=True)
    is_service = role == SERVICE_ROLE
    subject = payload.get("sub")
    if not isinstance(subject, str) or not subject or len(subject) > 256:
        raise UnauthorizedError("the token's claim sub is missing or no string")
    return Claims(
        subject=subject,
        role=role or "",
        call_id=text("callId", required=not is_service),
        participant_id=text("participantId", required=not is_service),
        issued_at_s=moment("iat"),
        expires_at_s=moment("exp"),
    )


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15
