"""Checks of tokens: signature, algorithm, lifetime, audience. What other claims mean is in the services' own auth.py.

Pure: secret and time are arguments. Tokens are signed in token_signing.py.
"""

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeGuard

import jwt
from jwt.types import Options

from meeshy_sfu.config import Settings
from meeshy_sfu.errors import InvalidRequestError, UnauthorizedError
from meeshy_sfu.names import MAX_NAME_CHARS, name_problem

ALGORITHM = "HS256"
"""The only one accepted; the token's own header is not asked."""
GATEWAY_AUDIENCE = "meeshy-gateway"
"""Claim aud of users' tokens."""
MEDIA_AUDIENCE = "meeshy-media"
"""Claim aud of tokens for the media server, those of services included."""
INVITE_AUDIENCE = "meeshy-invite"
"""Claim aud of invites, which let a guest into a conversation and are good for nothing else."""
AUDIENCES = (GATEWAY_AUDIENCE, MEDIA_AUDIENCE, INVITE_AUDIENCE)
"""A token is for one of them only."""
USER_CLAIMS = frozenset(("kind", "conversations"))
"""What every user's token has and no other."""
MAX_LIFETIME_S = 31_536_000.0
"""Farthest expiry that is accepted, unless the settings say otherwise: a year."""
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
_SHORT_CHARS = 4096
"""Of tokens so long the signature is checked by the library, which can also say what else is wrong."""
_REMEMBERED_CHARS = 2_000_000
"""How much of tokens is remembered as well signed; a client sends the same one with every request."""
_MOMENT_MAX = 1e15
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What every token is checked against."""

    secret: str = field(repr=False)
    """The shared secret it must be signed with."""
    leeway_s: float = 0.0
    """Tolerated difference between the clocks."""
    max_lifetime_s: float = MAX_LIFETIME_S
    """How far ahead its expiry may be."""
    require_audience: bool = False
    """Whether a token without aud is refused."""

    @classmethod
    def of(cls, settings: Settings, secret: str) -> Self:
        """Take the rules out of the settings."""
        return cls(
            secret=secret,
            leeway_s=settings.token_leeway_s,
            max_lifetime_s=settings.max_token_lifetime_s,
            require_audience=settings.require_token_audience,
        )


def open_token(token: object, rules: TokenRules, *, now_s: float) -> dict[str, Any]:
    """Check signature, algorithm and lifetime of a token and return its claims.

    Raises:
        UnauthorizedError: The token is not valid; the message says why, without repeating it.
    """
    if not isinstance(token, str) or not token:
        raise UnauthorizedError("no token; send Authorization: Bearer <JWT>, or auth.token in the handshake")
    if len(token) > MAX_TOKEN_CHARS:
        raise UnauthorizedError(f"the token is longer than {MAX_TOKEN_CHARS:,} characters")
    try:
        payload = dict(_signed.claims(token, rules.secret))
    except jwt.InvalidAlgorithmError:
        raise UnauthorizedError(f"the token must be signed with {ALGORITHM}") from None
    except jwt.InvalidSignatureError:
        raise UnauthorizedError("the token was signed with another secret") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise UnauthorizedError("the token is no valid JWT") from None
    check_lifetime(payload, rules, now_s=now_s)
    return payload


class SignedTokens:
    """Remember which tokens were well signed: a signature does not expire, a lifetime does. Failures are forgotten.

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
        if len(token) > _SHORT_CHARS and not _is_signed(token, secret):
            # parsing costs forty times as much, and unauthenticated clients can send such
            raise jwt.InvalidSignatureError
        made: dict[str, Any] = jwt.decode(token, secret, algorithms=[ALGORITHM], options=_CHECKED_HERE)
        self._known[key] = made
        self.chars += len(token)
        while self.chars > self._max_chars:
            (oldest, _), _ = self._known.popitem(last=False)
            self.chars -= len(oldest)
        return made


def _is_signed(token: str, secret: str) -> bool:
    """Check the HS256 signature of a token of which nothing has been parsed."""
    if not token.isascii():
        return False
    content, _, signature = token.encode().rpartition(b".")
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), signature)


_signed = SignedTokens()


def check_audience(payload: Mapping[str, object], audience: str, *, required: bool = False) -> None:
    """Check that a token is for this service and for no other.

    A token without aud is accepted while no audience is required, but not a user's token by the media server: what
    applications put into their users' tokens (a claim role, say) must open nothing there.

    Raises:
        UnauthorizedError: It is for another service, or does not say for which and has to.
    """
    if "aud" not in payload:
        if required:
            raise UnauthorizedError(f"the token's claim aud is missing; sign it with aud {audience}")
        if audience == MEDIA_AUDIENCE and USER_CLAIMS & payload.keys():
            raise UnauthorizedError(
                f"the token's claim aud is missing and it is a user's: tokens for the media server have aud {audience} "
                "and no claims kind and conversations"
            )
        return
    named = payload["aud"]
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UnauthorizedError("the token's claim aud is neither a string nor a list of strings")
    if audience not in names:
        raise UnauthorizedError(
            f"the token's claim aud names another service; this one takes tokens with aud {audience}"
        )
    ours = [name for name in AUDIENCES if name in names]
    if len(ours) > 1:
        raise UnauthorizedError(
            f"the token's claim aud names both {ours[0]} and {ours[1]}; sign one token for each"
        )


def check_lifetime(payload: Mapping[str, object], rules: TokenRules, *, now_s: float) -> None:
    """Check that a token with these claims is valid now, and not for longer than a token may be.

    Raises:
        UnauthorizedError: It has expired, is not valid yet, or would be valid for too long.
    """
    leeway_s, max_lifetime_s = rules.leeway_s, rules.max_lifetime_s
    expires_s = moment(payload, "exp")
    if now_s >= expires_s + leeway_s:
        raise UnauthorizedError("the token has expired", {"reason": "expired"})
    if expires_s - now_s > max_lifetime_s + leeway_s:
        raise UnauthorizedError(
            f"the token's claim exp is more than {max_lifetime_s:.0f} s ahead; "
            "sign it for less, or raise max_token_lifetime_s"
        )
    if now_s < moment(payload, "iat") - max(leeway_s, 60.0):
        raise UnauthorizedError("the token was issued in the future; check the clocks")
    if "nbf" in payload and now_s < moment(payload, "nbf") - leeway_s:
        raise UnauthorizedError("the token is not valid yet")


def moment(payload: Mapping[str, object], name: str) -> float:
    """Return a claim that is a time.

    Raises:
        UnauthorizedError: It is missing or no number.
    """
    value = payload.get(name)
    if not _is_number(value):
        raise UnauthorizedError(f"the token's claim {name} is missing or no number")
    return float(value)


def subject(payload: Mapping[str, object]) -> str:
    """Return the claim sub.

    Raises:
        UnauthorizedError: It is missing or no name.
    """
    return name_claim(payload.get("sub"), "sub", max_chars=256)


def name_claim(value: object, claim: str, *, max_chars: int = MAX_NAME_CHARS) -> str:
    """Check a claim that is a name, and return it.

    Raises:
        UnauthorizedError: It is missing or no name; the message says why, without repeating it.
    """
    problem = name_problem(value, max_chars=max_chars)
    if not isinstance(value, str) or problem is not None:
        raise UnauthorizedError(f"the token's claim {claim} {'is missing' if value is None else problem}")
    return value


def id_claim(payload: Mapping[str, object], name: str) -> str:
    """Return a claim that is an id.

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
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _MOMENT_MAX
