"""File descriptors of the process, of which each connection takes one, and what share of them may be used for what."""

import logging
import resource

logger = logging.getLogger(__name__)

MOST_DESCRIPTORS = 65_536
"""No more are requested; what the system grants beyond is left alone."""
MOST_CONNECTIONS = 8192
"""Of HTTP, unless max_connections says otherwise: some 30 kB of memory each."""
OTHERS = 64
"""Descriptors for what is open before any client connects: listening sockets, logs, the database."""


def raise_limit() -> None:
    """Request as many descriptors as the process may have; shells and service managers often give it 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors() -> int:
    """Return how many this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def media_connections(available: int, workers: int) -> int:
    """Compute how many TCP connections for media each worker may have: a quarter of the descriptors, in equal parts."""
    return max(16, (available - OTHERS) // 4 // max(1, workers))


def http_connections(configured: int, available: int) -> int:
    """Compute how many connections HTTP and Socket.IO may have: half of the descriptors, or what was configured.

    The other half is for media over TCP (a half of it), for the database and for files.
    """
    half = max(16, (available - OTHERS) // 2)
    if configured == 0:
        return min(half, MOST_CONNECTIONS)
    possible = max(16, available - 2 * OTHERS)
    if configured > possible:
        logger.warning(
            "max_connections %d is lowered to %d: the process may open %d descriptors; raise ulimit -n "
            "(LimitNOFILE in systemd)",
            configured,
            possible,
            available,
        )
    return min(configured, possible)
