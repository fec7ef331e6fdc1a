"""Free TCP ports for services of one's own that do not care which they get, but have to be told before they start."""

import contextlib
import secrets
import socket
from collections.abc import Sequence

from meeshy_sfu.errors import StartError

PORTS = range(12_000, 32_000)
"""Below what Linux gives to outgoing connections and to those who ask for any port (32768 to 60999): one of those could
have the port of a service that is about to start or restart."""
_PORT_TRIES = 100


def free_ports(count: int, host: str = "127.0.0.1", among: Sequence[int] = PORTS) -> list[int]:
    """Find TCP ports of an address that nothing listens on.

    Raises:
        StartError: All that were tried are taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as probes:
        found: list[int] = []
        for _ in range(_PORT_TRIES):
            port = secrets.choice(among)
            probe = probes.enter_context(socket.socket(family, socket.SOCK_STREAM))
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                found.append(port)
            if len(found) == count:
                return found
    raise StartError(
        f"no {count} free ports of {host} between {min(among)} and {max(among)}; end what listens there"
    )
