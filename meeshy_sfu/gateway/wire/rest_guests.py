"""The gateway's REST API for guests: who comes by an invite gets a token of their own, and what a page asks at its start.

What invites and tokens hold is in auth.py; calls are in rest.py.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from meeshy_sfu import __version__
from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.edge.token_signing import sign_user_token
from meeshy_sfu.errors import ForbiddenError, UnauthorizedError
from meeshy_sfu.gateway.wire import schemas
from meeshy_sfu.gateway.wire.auth import read_invite
from meeshy_sfu.gateway.wire.times import iso_s
from meeshy_sfu.names import MAX_NAME_CHARS

if TYPE_CHECKING:
    from aiohttp import web

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.auth import TokenRules
    from meeshy_sfu.gateway.wire.auth import Conversation
    from meeshy_sfu.gateway.wire.rest_dispatch import RestRequest

GUESTS = "Guests"
GUEST_PREFIX = "guest-"
"""Of a guest's id, so that it is seen in lists; other issuers' ids are distinguished by their kind."""


class GuestApi:
    """Let guests in by an invite, and renew their tokens.

    Nothing is stored: whoever holds an invite may become any number of guests while it lasts, each a user of their own.
    """

    def __init__(self, settings: Settings, rules: TokenRules, clock: Clock) -> None:
        self._settings = settings
        self._rules = rules
        self._clock = clock

    @handles(
        Route(
            "POST",
            "/api/guests",
            "Become a guest of the conversation that an invite names; each request makes another guest",
            GUESTS,
            body=schemas.GuestRequest,
            data=schemas.GuestData,
            quota="guests",
            access="counted",
            status=201,
            errors=(UnauthorizedError, ForbiddenError),
        )
    )
    async def admit(self, body: schemas.GuestRequest) -> web.Response:
        """Make a new guest."""
        self._require_invites()
        now_s = self._clock.unix_s()
        try:
            conversation = read_invite(body.invite, self._rules, now_s=now_s)
        except UnauthorizedError as error:
            raise _of_invite(error) from None
        guest_id = GUEST_PREFIX + secrets.token_hex(16)
        return success(self._guest(guest_id, body.name, conversation, since_s=int(now_s)), status=201)

    @handles(
        Route(
            "POST",
            "/api/guests/renew",
            "Renew a guest's token, with that token; the guest stays the same",
            GUESTS,
            body=schemas.RenewRequest,
            data=schemas.GuestData,
            quota="guests",
            per_user=True,
            errors=(UnauthorizedError, ForbiddenError),
        )
    )
    async def renew(self, request: RestRequest, body: schemas.RenewRequest) -> web.Response:
        """Sign a new token for the same guest."""
        self._require_invites()
        user = request.user
        if user.guest_since_s is None or not user.anonymous or len(user.conversations) != 1:
            raise ForbiddenError(
                "only tokens of POST /api/guests are renewed here; ask the token's issuer for another"
            )
        if self._clock.unix_s() >= user.guest_since_s + self._settings.guest_session_s:
            raise UnauthorizedError(
                "the guest's session is over; enter again with an invite", {"reason": "expired"}
            )
        (conversation,) = user.conversations.values()
        name = user.username if body.name is None else body.name
        return success(self._guest(user.id, name, conversation, since_s=user.guest_since_s))

    @handles(
        Route(
            "GET",
            "/api/web-config",
            "What a page needs to know at its start: addresses, limits, the server's time",
            "Server",
            data=schemas.WebConfig,
            quota="page",
            access="counted",
        )
    )
    async def web_config(self) -> web.Response:
        """Return what a page needs at its start."""
        settings = self._settings
        config = schemas.WebConfig(
            version=__version__,
            development=settings.is_development,
            server_time=iso_s(self._clock.unix_s()),
            media_server_urls=list(settings.public_media_urls.values()),
            turn=bool(settings.turn_servers) and settings.turn_secret is not None,
            invites=settings.takes_invites,
            max_participants=settings.max_participants_per_room,
            ring_timeout_s=settings.ring_timeout_s,
            reconnect_grace_s=settings.reconnect_grace_s,
            max_name_chars=MAX_NAME_CHARS,
        )
        return success(config)

    def _require_invites(self) -> None:
        if not self._settings.takes_invites:
            raise ForbiddenError("this gateway takes no invites; its operator can set invites to true")

    def _guest(
        self, guest_id: str, name: str, conversation: Conversation, *, since_s: float
    ) -> schemas.GuestData:
        """Sign the token of a guest, which never outlives the session."""
        settings, now_s = self._settings, self._clock.unix_s()
        until_s = since_s + settings.guest_session_s
        lifetime_s = min(settings.guest_token_lifetime_s, settings.max_token_lifetime_s, until_s - now_s)
        token = sign_user_token(
            secret=self._rules.secret,
            now_s=now_s,
            lifetime_s=lifetime_s,
            user_id=guest_id,
            username=name,
            conversations=[conversation],
            anonymous=True,
            guest_since_s=since_s,
        )
        return schemas.GuestData(
            token=token,
            user_id=guest_id,
            name=name,
            conversation_id=conversation.id,
            conversation_type=conversation.type,
            expires_at=iso_s(int(now_s + lifetime_s)),
            renewable_until=iso_s(until_s),
        )


def _of_invite(error: UnauthorizedError) -> UnauthorizedError:
    """Say of the invite what was found of the token that it is."""
    remedy = "; ask for a new link" if error.details.get("reason") == "expired" else ""
    return UnauthorizedError(error.message.replace("the token", "the invite", 1) + remedy, error.details)
