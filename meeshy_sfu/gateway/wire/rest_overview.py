"""The gateway's REST API for those who look after it: all live calls at a glance. What calls themselves need is in `rest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import InvalidRequestError, PermissionDeniedError
from meeshy_sfu.gateway.wire import schemas
from meeshy_sfu.gateway.wire.times import iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.wire.rest_dispatch import RestRequest

LIMIT_DEFAULT, LIMIT_MAX = 1_000, 10_000


class OverviewApi:
    """Handle requests about all calls of a gateway."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @handles(
        Route(
            "GET",
            "/api/calls",
            "List live calls, oldest first: all for a service, for a user those of conversations in which they are "
            "admin; query: limit (1000, at most 10000)",
            "Calls",
            data=schemas.LiveCalls,
            access="overseer",
            errors=(PermissionDeniedError, InvalidRequestError),
        )
    )
    async def list_calls(self, request: RestRequest) -> web.Response:
        """List live calls."""
        limit = request.number("limit", LIMIT_DEFAULT, least=1, most=LIMIT_MAX)
        calls = sorted(self._visible(request), key=lambda call: (call.created_at, call.id))
        return success(schemas.LiveCalls(calls=[_line(call) for call in calls[:limit]], total=len(calls)))

    def _visible(self, request: RestRequest) -> Iterable[LiveCall]:
        live = tuple(self._calls.live.values())
        if request.is_service:
            return live
        own = {known.id for known in request.user.conversations.values() if known.is_admin}
        if not own:
            raise PermissionDeniedError(
                "live calls are for services and for admins of conversations; your token is of neither"
            )
        return (call for call in live if call.conversation_id in own)


def _line(call: LiveCall) -> schemas.LiveCallLine:
    room = call.room
    return schemas.LiveCallLine(
        call_id=call.id,
        conversation_id=call.conversation_id,
        conversation_type=call.conversation_type.value,
        type=call.kind,
        status=call.status,
        mode=call.mode.mode.value,
        phase=call.phase.value,
        epoch=call.mode.epoch,
        participant_count=len(call.members),
        connected_count=len(call.present),
        created_at=iso(call.created_at),
        started_at=iso(call.started_at),
        media_server_url=None if room is None else room.server_url,
        room_id=None if room is None else room.room_id,
        prewarmed=call.room_state.is_prewarmed,
        failure=call.mode.failure,
    )
