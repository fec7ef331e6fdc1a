"""The headers with which the web client's files are sent: what a page may load, connect to and use of the machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9.-]+")
_FOR_ITSELF = (
    "autoplay",
    "camera",
    "clipboard-write",
    "cross-origin-isolated",
    "display-capture",
    "fullscreen",
    "microphone",
    "picture-in-picture",
    "screen-wake-lock",
    "speaker-selection",
)
"""Features that a call needs; no frame of another origin gets them."""
_OFF = (
    "accelerometer",
    "browsing-topics",
    "clipboard-read",
    "encrypted-media",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "local-fonts",
    "magnetometer",
    "midi",
    "payment",
    "publickey-credentials-get",
    "serial",
    "usb",
    "window-management",
    "xr-spatial-tracking",
)


def security_headers(media_urls: Iterable[str]) -> dict[str, str]:
    """Return the headers of every answer of the web client.

    Args:
        media_urls: The media servers as clients reach them; the page connects to these and to its own origin alone.
    """
    return {
        "Content-Security-Policy": content_policy(media_urls),
        "Permissions-Policy": ", ".join(
            [f"{name}=(self)" for name in _FOR_ITSELF] + [f"{name}=()" for name in _OFF]
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def content_policy(media_urls: Iterable[str]) -> str:
    """Write the Content-Security-Policy: nothing inline, nothing of third parties."""
    connect = list(dict.fromkeys(source for url in media_urls for source in _sources(url)))
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "font-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "media-src": ["'self'", "blob:", "mediastream:"],
        "connect-src": ["'self'", *connect],
        "worker-src": ["'self'", "blob:"],
        "manifest-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(" ".join((name, *sources)) for name, sources in rules.items())


def _sources(url: str) -> list[str]:
    """Write a media server as sources, HTTP and WebSocket; a policy has no way to write an IPv6 address (CSP3 §2.3.1)."""
    parts = urlsplit(url)
    socket = {"http": "ws", "https": "wss"}[parts.scheme.lower()]
    schemes = (parts.scheme.lower(), socket)
    if not _HOST.fullmatch(parts.hostname or ""):
        return [f"{scheme}:" for scheme in schemes]
    port = f":{parts.port}" if parts.port is not None else ""
    return [f"{scheme}://{parts.hostname}{port}" for scheme in schemes]
