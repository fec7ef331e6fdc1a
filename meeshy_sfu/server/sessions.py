"""Sessions of the media server: the sockets with a valid token, and the calls they have joined."""

from dataclasses import dataclass, field

from meeshy_sfu.edge.socketio_dispatch import SocketSession
from meeshy_sfu.server.auth import Claims


@dataclass(slots=True, kw_only=True)
class Session(SocketSession):
    """One socket with a valid token."""

    claims: Claims
    call_id: str | None = None
    """The call it has joined."""
    participant_id: str | None = None
    replaced_in: str | None = None
    """The call in which another session took its place."""
    left: str | None = None
    """The call it has left; to leave it again changes nothing."""
    watched: set[str] = field(default_factory=set)
    """The calls a service gets the events of; may be many."""
    expired: bool = False
    """Its token has expired; it was notified and is being closed."""

    @property
    def owner(self) -> str:
        """The participant of a call, or the service."""
        return self.claims.owner

    @property
    def is_service(self) -> bool:
        """Whether it is a service's."""
        return self.claims.is_service
