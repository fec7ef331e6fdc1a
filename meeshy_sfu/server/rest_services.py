"""The REST API for services alone: all rooms at a glance, and rooms made in advance.

What calls themselves need is in rest.py.
"""

from aiohttp import web

from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import CapacityError, ForbiddenError, RoomNotFoundError
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId
from meeshy_sfu.server import schemas
from meeshy_sfu.server.rest_dispatch import RestRequest


class ServiceApi:
    """Answer the gateway and its like."""

    def __init__(self, rooms: RoomRegistry) -> None:
        self._rooms = rooms

    @handles(Route("GET", "/api/rooms", "List all rooms; for services", "Rooms", data=schemas.RoomList))
    async def list_rooms(self, request: RestRequest) -> web.Response:
        """Show all rooms, so that a gateway can compare them with its calls."""
        self._require_service(request)
        rooms = [
            schemas.ListedRoom(
                call_id=room.call_id,
                room_id=room.id,
                participant_count=len(room.participants),
                prewarm=room.in_advance,
                owner=room.owner,
            )
            for room in self._rooms.rooms
        ]
        return success(schemas.RoomList(rooms=rooms))

    @handles(
        Route(
            "POST",
            "/api/rooms/{callId}/activate",
            "Count a room made in advance as a call from now on; for services",
            "Rooms",
            errors=(RoomNotFoundError, CapacityError),
        )
    )
    async def activate(self, request: RestRequest) -> web.Response:
        """Count it."""
        self._require_service(request)
        self._rooms.activate(CallId(request.call_id))
        return success(message="Room active")

    def _require_service(self, request: RestRequest) -> None:
        if not request.claims.is_service:
            raise ForbiddenError("this is for services, such as the gateway")
