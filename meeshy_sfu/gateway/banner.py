"""What the gateway says at its start: its URL, and in development a token and a link. Only writes lines; cli/ prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meeshy_sfu import __version__
from meeshy_sfu.edge.client_address import is_loopback
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.token_signing import sign_invite, sign_user_token
from meeshy_sfu.gateway.site.pages import has_page
from meeshy_sfu.gateway.wire.auth import Conversation

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings

DEMO_CONVERSATION = Conversation("demo", "GROUP", "admin")
DEMO_USER = "ada"


def banner(settings: Settings, url: str, clock: Clock) -> list[str]:
    """Return the lines to print once the gateway accepts calls."""
    lines = [
        f"Meeshy call gateway {__version__}",
        f"  REST and Socket.IO   {url}",
        f"  API documentation    {url}/docs",
        f"  Media servers        {', '.join(settings.media_urls)}",
        f"  Sent to clients      {', '.join(settings.public_media_urls.values())}",
    ]
    lines += [
        f"  Warning: clients are sent to {url_sent}, which only this machine can reach: "
        "set ANNOUNCED_IP or MEESHY_MEDIA_SERVER_PUBLIC_URLS."
        for url_sent in _unreachable(settings)
    ]
    if settings.is_development:
        lines += _for_development(settings, url, clock)
    elif not has_page(settings):
        lines.append("  No web client: it is switched off or not built (`make web`).")
    return lines


def _for_development(settings: Settings, url: str, clock: Clock) -> list[str]:
    """Return a token to try the API with, and at the end the one link that is a call."""
    secret, now_s = signing_secret(settings), clock.unix_s()
    token = sign_user_token(
        secret=secret,
        now_s=now_s,
        lifetime_s=settings.token_lifetime_s,
        user_id=DEMO_USER,
        conversations=[DEMO_CONVERSATION],
    )
    invite = sign_invite(
        secret=secret,
        now_s=now_s,
        lifetime_s=min(settings.invite_lifetime_s, settings.max_token_lifetime_s),
        conversation_id=DEMO_CONVERSATION.id,
        kind=DEMO_CONVERSATION.type,
    )
    lines = [
        f"  A token of {DEMO_USER} in the conversation {DEMO_CONVERSATION.id}, good for "
        f"{settings.token_lifetime_s} s (`meeshy token --user` makes others):",
        f"    {token}",
        "  Try: curl -H 'Authorization: Bearer TOKEN' "
        f"{url}/api/conversations/{DEMO_CONVERSATION.id}/active-call",
    ]
    if not settings.serve_web:
        return lines
    if not has_page(settings):
        return [*lines, "  No web client: run `make web` (it needs Node 20 or newer) and start again."]
    return [
        *lines,
        "  Open this link in two tabs for a call, in three for a group call:",
        f"    {link(url, invite)}",
    ]


def link(url: str, invite: str, page: str = "/") -> str:
    """Return the link that an invite is opened by: in the fragment, which no browser sends, so that it is in no log."""
    return f"{url}{page}#invite={invite}"


def _unreachable(settings: Settings) -> list[str]:
    """List the media servers sent to clients that only this machine can reach, if others may connect."""
    if settings.is_loopback and not settings.trusted_proxies:
        return []
    sent = [(url, urlsplit(url).hostname or "") for url in settings.public_media_urls.values()]
    return [url for url, host in sent if host == "localhost" or is_loopback(host)]
