"""Which of this machine's addresses leads to a server.

Asks the kernel for the route; sends nothing.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def local_address(url: str) -> str:
    """Return the address that bots bind to: loopback towards loopback, else the one that leads to the server."""
    host = urlsplit(url).hostname or "127.0.0.1"
    family, _, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)  # sends nothing; asks for the route
        return str(probe.getsockname()[0])
