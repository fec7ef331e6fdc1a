"""What the Socket.IO server knows of one connection, from its first request to the end of what it sent.

Holds state only; the server changes it, and receive_queue.py keeps the order of messages.
"""

from dataclasses import dataclass

from meeshy_sfu.edge.receive_queue import OverRate, ReceiveQueue
from meeshy_sfu.errors import MeeshyError


@dataclass(slots=True)
class SocketConnection:
    """One connection of a client."""

    address: str
    """What it counts by: an address, or a network of IPv6."""
    queue: ReceiveQueue
    """Messages it has sent that are not handled yet."""
    owner: str | None = None
    """Who has shown a valid token on it."""
    is_service: bool = False
    """Whether that is a service: no limit counts what it sends."""
    unauthenticated_since_s: float | None = None
    """Since when it is without a valid token; None while it has one, and once it is being closed for that."""
    sent_connect: bool = False
    """Whether it has sent its first packet CONNECT, which is not counted, as answers to pings are not."""
    refused: int = 0
    """Packets beyond the limit since the last within."""
    over: OverRate | None = None
    """Why the message that is handled now is refused for its rate."""
    closed_for: MeeshyError | None = None
    """Why it is being closed, if because of what it sent."""

    def authenticate(self, owner: str, *, is_service: bool) -> None:
        """Note a valid token."""
        self.owner, self.is_service = owner, is_service
        self.unauthenticated_since_s = None

    def revoke(self, now_s: float) -> None:
        """Note that it has no valid token, or none any more."""
        self.owner, self.is_service = None, False
        self.unauthenticated_since_s = now_s
