"""What the gateway says at its start: its URL, and in development a token. Only writes lines; cli/ prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meeshy_sfu import __version__
from meeshy_sfu.edge.client_address import is_loopback
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.token_signing import sign_user_token
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
        token = sign_user_token(
            secret=signing_secret(settings),
            now_s=clock.unix_s(),
            lifetime_s=settings.token_lifetime_s,
            user_id=DEMO_USER,
            conversations=[DEMO_CONVERSATION],
        )
        lines += [
            f"  A token of {DEMO_USER} in the conversation {DEMO_CONVERSATION.id}, good for "
            f"{settings.token_lifetime_s} s (`meeshy token --user` makes others):",
            f"    {token}",
            "  Try: curl -H 'Authorization: Bearer TOKEN' "
            f"{url}/api/conversations/{DEMO_CONVERSATION.id}/active-call",
        ]
    return lines


def _unreachable(settings: Settings) -> list[str]:
    """List the media servers sent to clients that only this machine can reach, if others may connect."""
    if settings.is_loopback and not settings.trusted_proxies:
        return []
    sent = [(url, urlsplit(url).hostname or "") for url in settings.public_media_urls.values()]
    return [url for url, host in sent if host == "localhost" or is_loopback(host)]
