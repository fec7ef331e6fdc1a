"""What the server says at its start: its URL, the addresses clients are offered, and in development a token.

Only writes lines; cli/ prints them.
"""

from collections.abc import Sequence

from meeshy_sfu import __version__
from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import SERVICE_ROLE
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.token_signing import sign_media_token

DEVELOPMENT_CALL = "demo"


def banner(settings: Settings, url: str, addresses: Sequence[str], clock: Clock) -> list[str]:
    """List the lines to print once the server takes calls.

    Args:
        settings: The server's.
        url: Where REST and Socket.IO are reached.
        addresses: What clients are offered for media, as ``udp 192.0.2.1:10000``.
        clock: For the token's lifetime.
    """
    lines = [
        f"Meeshy media server {__version__}",
        f"  REST and Socket.IO   {url}",
        f"  API documentation    {url}/docs",
        "  Media, as offered to clients:",
        *(f"    {address}" for address in addresses),
    ]
    if settings.is_development:
        token = sign_media_token(
            secret=signing_secret(settings),
            now_s=clock.unix_s(),
            lifetime_s=settings.token_lifetime_s,
            role=SERVICE_ROLE,
        )
        lines += [
            "  Development mode: this machine only; set JWT_SECRET for production.",
            f"  A token for any call, good for {settings.token_lifetime_s} s (`meeshy token` makes others):",
            f"    {token}",
            f"  Try: curl -X POST -H 'Authorization: Bearer TOKEN' {url}/api/rooms/{DEVELOPMENT_CALL}/create",
        ]
    return lines
