"""Tokens as such: signature, algorithm and lifetime. What their claims mean is known to the services' own auth.py.

Pure: secret and time are handed in.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeGuard

import jwt
from jwt.types import Options

from meeshy_sfu.errors import InvalidRequestError, UnauthorizedError

ALGORITHM = "HS256"
"""The only one accepted; the token's own header is not asked."""
SERVICE_ROLE = "service"
"""Role of programs such as the gateway: any call, any participant."""
MAX_TOKEN_CHARS = 131_072
"""The one limit for tokens, in headers and in sockets of both services: room for 1,000 conversations with UUIDs."""
_CHECKED_HERE: Options = {
    # claims are checked by who reads them, lifetimes against the clock that was handed in
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
_REMEMBERED_CHARS = 2_000_000
"""How much of tokens is remembered as well signed; a person sends the same one with every request."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


def open_token(
    token: object,
    *,
    secret: str,
    now_s: float,
    leeway_s: float = 0.0,
) -> dict[str, Any]:
    """Check signature, algorithm and lifetime of a token and give its claims.

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
        raise UnauthorizedError(f"the token is longer than {MAX_TOKEN_CHARS:,} characters")
    try:
        return dict(_signed.claims(token, secret))
    except jwt.InvalidAlgorithmError:
        raise UnauthorizedError(f"the token must be signed with {ALGORITHM}") from None
    except jwt.InvalidSignatureError:
        raise UnauthorizedError("the token was signed with another secret") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise UnauthorizedError("the token is no valid JWT") from None


class SignedTokens:
    """Remember which tokens were well signed: that stays so for ever, unlike lifetimes. Failures are forgotten.

    Bounded by the characters of all tokens, as one of a thousand conversations is as long as four hundred others.
    """

    def __init__(self, max_chars: int = _REMEMBERED_CHARS) -> None:
        self._known: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        self._max_chars = max_chars
        self.chars = 0
        """Of all that are remembered."""

    def claims(self, token: str, secret: str) -> dict[str, Any]:
        """Check signature and algorithm, and return the claims.

        Raises:
            PyJWTError: The token is none, or signed otherwise.
        """
        key = (token, secret)
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        made: dict[str, Any] = jwt.decode(token, secret, algorithms=[ALGORITHM], options=_CHECKED_HERE)
        self._known[key] = made
        self.chars += len(token)
        while self.chars > self._max_chars:
            (oldest, _), _ = self._known.popitem(last=False)
            self.chars -= len(oldest)
        return made


_signed = SignedTokens()


def check_lifetime(payload: Mapping[str, object], *, now_s: float, leeway_s: float = 0.0) -> None:
    """Check that a token with these claims holds now.

    Raises:
        UnauthorizedError: It has expired, or does not hold yet.
    """
    if now_s >= moment(payload, "exp") + leeway_s:
        raise UnauthorizedError("the token has expired", {"reason": "expired"})
    if now_s < moment(payload, "iat") - max(leeway_s, 60.0):
        raise UnauthorizedError("the token was issued in the future; check the clocks")
    not_before = payload.get("nbf")
    if _is_number(not_before) and now_s < float(not_before) - leeway_s:
        raise UnauthorizedError("the token is not valid yet")


def sign_token(claims: Mapping[str, object], *, secret: str, now_s: float, lifetime_s: float) -> str:
    """Sign a token with these claims that holds from now on."""
    payload = {**claims, "iat": int(now_s), "exp": int(now_s + lifetime_s)}
    return jwt.encode(payload, secret, algorithm=ALGORITHM)


def moment(payload: Mapping[str, object], name: str) -> float:
    """Give a claim that is a time.

    Raises:
        UnauthorizedError: It is missing or no number.
    """
    value = payload.get(name)
    if not _is_number(value):
        raise UnauthorizedError(f"the token's claim {name} is missing or no number")
    return float(value)


def subject(payload: Mapping[str, object]) -> str:
    """Give the claim sub.

    Raises:
        UnauthorizedError: It is missing or no string.
    """
    value = payload.get("sub")
    if not isinstance(value, str) or not value or len(value) > 256:
        raise UnauthorizedError("the token's claim sub is missing or no string")
    return value


def id_claim(payload: Mapping[str, object], name: str) -> str:
    """Give a claim that is an id.

    Raises:
        UnauthorizedError: It is missing or no id.
    """
    value = payload.get(name)
    try:
        return check_id(value, name)
    except InvalidRequestError:
        problem = "is missing" if value is None else "is no valid id"
        raise UnauthorizedError(f"the token's claim {name} {problem}") from None


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


def bearer(header: str | None) -> str | None:
    """Take the token out of an Authorization header; None when there is none."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15
