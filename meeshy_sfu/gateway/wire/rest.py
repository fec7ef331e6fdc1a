"""The gateway's REST API of calls. Handlers get checked input from `rest_dispatch`; rules of calls are in `calls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meeshy_sfu.edge.auth import check_id
from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import (
    CallAlreadyActiveError,
    CallEndedError,
    CallFullError,
    CallNotFoundError,
    CallsNotSupportedError,
    InvalidModeError,
    InvalidRequestError,
    NotAParticipantError,
    ParticipantNotFoundError,
    PermissionDeniedError,
)
from meeshy_sfu.gateway.wire import schemas
from meeshy_sfu.gateway.wire.cursor import cursor_after, read_cursor
from meeshy_sfu.gateway.wire.notices import media_config
from meeshy_sfu.gateway.wire.times import iso

if TYPE_CHECKING:
    from aiohttp import web

    from meeshy_sfu.db.repository import Repository
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.confirmations import Confirmations
    from meeshy_sfu.gateway.calls.joining import Joining
    from meeshy_sfu.gateway.calls.leaving import Leaving
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.wire.notices import Notices
    from meeshy_sfu.gateway.wire.rest_dispatch import RestRequest

CALL = "/api/calls/{callId}"
CONVERSATION = "/api/conversations/{conversationId}"
STATUSES = ("initiated", "ringing", "active", "ended", "failed")
PAGE_MAX = 100
PAGE_DEFAULT = 20
OFFSET_MAX = 1_000
"""Later pages need a cursor: the database reads every row that an offset skips."""
_CALLS, _PARTICIPANTS, _CONVERSATIONS = "Calls", "Participants", "Conversations"
_LOOKUP = (CallNotFoundError, PermissionDeniedError)
_LIVE = (*_LOOKUP, CallEndedError)


class RestApi:
    """Handle requests about calls; a call is found only in conversations that the user's token names."""

    def __init__(
        self,
        *,
        calls: Calls,
        joining: Joining,
        leaving: Leaving,
        confirmations: Confirmations,
        rows: CallRows,
        repository: Repository,
        notices: Notices,
    ) -> None:
        self._calls = calls
        self._joining = joining
        self._leaving = leaving
        self._confirmations = confirmations
        self._rows = rows
        self._repository = repository
        self._notices = notices

    # ---- calls

    @handles(
        Route(
            "POST",
            "/api/calls",
            "Begin a call; its initiator is a participant at once, and connects by call:join on a socket",
            _CALLS,
            body=schemas.InitiateRequest,
            data=schemas.InitiatedData,
            quota="initiate",
            status=201,
            errors=(PermissionDeniedError, CallsNotSupportedError, CallAlreadyActiveError),
        )
    )
    async def initiate(self, request: RestRequest, body: schemas.InitiateRequest) -> web.Response:
        """Begin a call."""
        answer = await self._joining.initiate(
            request.user,
            body.conversation_id,
            body.type,
            body.settings,
            sid=None,
            expected=body.expected_participants,
        )
        data = schemas.InitiatedData(
            participant_id=answer.participant_id,
            ice_servers=answer.ice_servers,
            **dict(answer.call_session),
        )
        return success(data, status=201)

    @handles(Route("GET", CALL, "Get a call, live or ended", _CALLS, data=schemas.CallData, errors=_LOOKUP))
    async def get_call(self, request: RestRequest) -> web.Response:
        """Return a call."""
        call_id = check_id(request.id("callId"), "callId")
        live = self._calls.live.get(call_id)
        if live is not None:
            live = await self._calls.find(request.user, call_id)
            return success(self._notices.live_view(live))
        return success(self._notices.stored_view(await self._calls.find_row(request.user, call_id)))

    @handles(
        Route(
            "DELETE",
            CALL,
            "End a call for all participants; for its initiator, for admins of the conversation, and for both participants of a "
            "direct call",
            _CALLS,
            data=schemas.EndedData,
            quota="leave",
            errors=_LIVE,
        )
    )
    async def end_call(self, request: RestRequest) -> web.Response:
        """End a call."""
        return success(await self._leaving.end(request.user, check_id(request.id("callId"), "callId")))

    @handles(
        Route(
            "PUT",
            f"{CALL}/mode",
            "Retry a failed mode switch, as initiator or admin; the mode must be the one that follows from the number of "
            "participants",
            _CALLS,
            body=schemas.SetModeBody,
            data=schemas.ModeData,
            errors=(*_LIVE, InvalidModeError),
        )
    )
    async def set_mode(self, request: RestRequest, body: schemas.SetModeBody) -> web.Response:
        """Retry a failed switch; without one nothing changes."""
        call = await self._confirmations.retry_mode(
            request.user, check_id(request.id("callId"), "callId"), body.mode
        )
        return success(_mode(call))

    @handles(
        Route(
            "POST",
            f"{CALL}/quality-metrics",
            "Report quality figures of the last seconds",
            _CALLS,
            body=schemas.QualityBody,
            quota="quality",
            per_user=True,
            errors=(*_LIVE, NotAParticipantError),
        )
    )
    async def quality(self, request: RestRequest, body: schemas.QualityBody) -> web.Response:
        """Add a client's figures to the averages of the call."""
        call = await self._calls.find(request.user, check_id(request.id("callId"), "callId"))
        call.require_member(request.user)
        self._rows.quality(call, _sample(body))
        return success(message="Noted")

    # ---- participants

    @handles(
        Route(
            "POST",
            f"{CALL}/participants",
            "Join a call; the participant connects by call:join on a socket",
            _PARTICIPANTS,
            body=schemas.JoinBody,
            data=schemas.JoinAnswer,
            quota="join",
            errors=(*_LIVE, CallFullError),
        )
    )
    async def join(self, request: RestRequest, body: schemas.JoinBody) -> web.Response:
        """Join a call."""
        call_id = check_id(request.id("callId"), "callId")
        return success(await self._joining.join(request.user, call_id, body.media(), sid=None))

    @handles(
        Route(
            "DELETE",
            f"{CALL}/participants/{{participantId}}",
            "Leave, or as initiator or admin remove a participant; a participant who has left already gets when and why",
            _PARTICIPANTS,
            data=schemas.LeftData,
            quota="leave",
            errors=(*_LIVE, ParticipantNotFoundError),
        )
    )
    async def remove(self, request: RestRequest) -> web.Response:
        """Remove a participant."""
        call_id = check_id(request.id("callId"), "callId")
        participant_id = check_id(request.id("participantId"), "participantId")
        return success(await self._leaving.remove(request.user, call_id, participant_id))

    @handles(
        Route(
            "POST",
            f"{CALL}/leave",
            "Leave; a participant who has left already gets when and why",
            _PARTICIPANTS,
            data=schemas.LeftData,
            quota="leave",
            errors=(*_LIVE, NotAParticipantError),
        )
    )
    async def leave(self, request: RestRequest) -> web.Response:
        """Leave a call."""
        return success(await self._leaving.leave(request.user, check_id(request.id("callId"), "callId")))

    # ---- conversations

    @handles(
        Route(
            "GET",
            f"{CONVERSATION}/calls",
            "List a conversation's calls, newest first; query: limit (20, at most 100), status, cursor (nextCursor of "
            "the previous page), or offset (at most 1000)",
            _CONVERSATIONS,
            data=schemas.CallPage,
            errors=(PermissionDeniedError, InvalidRequestError),
        )
    )
    async def list_calls(self, request: RestRequest) -> web.Response:
        """List a conversation's calls."""
        conversation_id = self._conversation(request)
        limit = request.number("limit", PAGE_DEFAULT, least=1, most=PAGE_MAX)
        offset = request.number("offset", 0, least=0, most=OFFSET_MAX)
        status = request.query("status")
        if status is not None and status not in STATUSES:
            raise InvalidRequestError(f"must be one of {', '.join(STATUSES)}", path="status")
        await self._rows.settle_conversation(conversation_id, self._calls.active_in(conversation_id))
        cursor = request.query("cursor")
        if cursor is not None and offset:
            raise InvalidRequestError("cannot be combined with cursor", path="offset")
        before = None if cursor is None else read_cursor(cursor)
        rows, total = await self._repository.list_calls(
            conversation_id, limit=limit, offset=offset, status=status, before=before
        )
        views = [self._notices.stored_view(self._rows.newest(row)) for row in rows]
        page = schemas.CallPage(
            calls=views,
            total=total,
            limit=limit,
            offset=offset,
            next_cursor=cursor_after(rows[-1]) if len(rows) == limit else None,
        )
        return success(page)

    @handles(
        Route(
            "GET",
            f"{CONVERSATION}/active-call",
            "Get the conversation's call that has not ended, or null",
            _CONVERSATIONS,
            data=schemas.ActiveCallData,
            errors=(PermissionDeniedError,),
        )
    )
    async def active_call(self, request: RestRequest) -> web.Response:
        """Return the call that has not ended, or null."""
        call = self._calls.active_in(self._conversation(request))
        view = None if call is None else self._notices.live_view(call)
        return success(schemas.ActiveCallData(call=view))

    def _conversation(self, request: RestRequest) -> str:
        conversation_id = check_id(request.id("conversationId"), "conversationId")
        request.user.conversation(conversation_id)
        return conversation_id


def _mode(call: LiveCall) -> schemas.ModeData:
    room = call.room if call.mode.mode.value == "sfu" else None
    return schemas.ModeData(
        call_id=call.id,
        mode=call.mode.mode.value,
        switched_at=iso(call.last_mode_change),
        media_server_config=None if room is None else media_config(room),
    )


def _sample(body: schemas.QualityBody) -> dict[str, float]:
    loss = body.packet_loss_rate
    if loss is None and body.packets_lost is not None and body.packets_received:
        loss = body.packets_lost / (body.packets_lost + body.packets_received)
    sample = {
        "avg_packet_loss": loss,
        "avg_jitter": body.jitter,
        "avg_rtt": body.rtt,
        "avg_bitrate": body.bitrate,
        "total_data_sent": body.bytes_sent,
        "total_data_received": body.bytes_received,
    }
    return {name: value for name, value in sample.items() if value is not None}
