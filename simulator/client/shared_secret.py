"""Where the secret that a running server checks tokens with is found: the environment, or its state directory.

Sends nothing; what is signed with it is in gateway.py and media_server.py.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from simulator.errors import UsageError

SECRET_VARIABLES = ("MEESHY_SIMULATE_SECRET", "MEESHY_JWT_SECRET", "JWT_SECRET")
"""Where it is looked for, in this order."""


def host_of(url: str, *, option: str, example: str) -> str:
    """Return the host of a server that an option names.

    Raises:
        UsageError: It is no URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{option} {url!r} is no URL; write it like {example}")
    return parts.hostname


def named_secret(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the secret that the environment names."""
    return next((environment[name] for name in SECRET_VARIABLES if environment.get(name)), None)


def development_secret(host: str, state: Path) -> str | None:
    """Return the secret that a server of this machine made for itself in development mode; None of any other server."""
    file = state / "development-secret"
    return file.read_text(encoding="ascii").strip() if _is_loopback(host) and file.is_file() else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
