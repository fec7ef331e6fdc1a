"""How much one server, call and participant may hold.

Only numbers; they are enforced where things are created.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomLimits:
    """Caps. Each cap is checked before anything is created, and its name is in ``details.limit``."""

    rooms: int = 10
    """Calls on this server."""
    participants_per_room: int = 50
    transports_per_room: int = 200
    producers_per_room: int = 200
    consumers_per_participant: int = 400
    """Twice the producers of a full room, so that a client may replace each of its consumers once."""
    idle_room_s: float = 120.0
    """When the server is full, a room that no participant has joined for so long is closed for a new call."""
