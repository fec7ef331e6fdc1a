"""Socket.IO of the gateway: connections and the handlers of their events.

Handlers pass checked events on to the modules of `calls`. The events are declared in messages.py, payloads to clients are made in
notices.py and go through sessions.py; connections and their limits are in edge/socketio_server.py.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from meeshy_sfu.edge.event_table import ServerEvent, handles_event
from meeshy_sfu.edge.socketio_service import Connection, SocketService
from meeshy_sfu.edge.wire import ErrorBody, Nothing
from meeshy_sfu.errors import (
    AlreadyInCallError,
    InvalidRequestError,
    NotAuthenticatedError,
    UnauthorizedError,
)
from meeshy_sfu.gateway.wire import messages
from meeshy_sfu.gateway.wire.auth import User, read_user_token
from meeshy_sfu.gateway.wire.outages import database_failure
from meeshy_sfu.gateway.wire.schemas import EndedData, InitiateRequest, JoinAnswer, LeftData
from meeshy_sfu.gateway.wire.sessions import Session, Sessions
from meeshy_sfu.log import hide_tokens

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.auth import TokenRules
    from meeshy_sfu.edge.limits import RateLimiter
    from meeshy_sfu.edge.socketio_server import SocketServer
    from meeshy_sfu.gateway.calls.confirmations import Confirmations
    from meeshy_sfu.gateway.calls.joining import Joining
    from meeshy_sfu.gateway.calls.leaving import Leaving
    from meeshy_sfu.gateway.calls.member import MediaType
    from meeshy_sfu.gateway.calls.relay import Relay
    from meeshy_sfu.gateway.calls.timeouts import Timeouts
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.wire.quotas import Quotas

logger = logging.getLogger(__name__)

CODES = {"INVALID_REQUEST": "VALIDATION_ERROR"}
"""Codes that events name otherwise than REST."""


class Events(SocketService[Session]):
    """The handlers of events: who connects, and what clients send."""

    def __init__(
        self,
        *,
        settings: Settings,
        rules: TokenRules,
        clock: Clock,
        limiter: RateLimiter,
        quotas: Quotas,
        metrics: Metrics,
        io: SocketServer,
        sessions: Sessions,
        joining: Joining,
        leaving: Leaving,
        timeouts: Timeouts,
        confirmations: Confirmations,
        relay: Relay,
    ) -> None:
        super().__init__(
            events=messages.EVENTS,
            settings=settings,
            rules=rules,
            clock=clock,
            io=io,
            limiter=limiter,
            quotas=quotas,
            metrics=metrics,
            handshakes=quotas.calls,
            no_token=NotAuthenticatedError("this socket has no token"),
            codes=CODES,
            translate=database_failure,
        )
        self._outbox = sessions
        self._joining = joining
        self._leaving = leaving
        self._timeouts = timeouts
        self._confirmations = confirmations
        self._relay = relay

    def sweep(self) -> None:
        """Cut off sockets whose token and its grace have run out, and those that never had one."""
        self._io.sweep()
        now_s = self._clock.unix_s()
        for session in tuple(self._sessions.values()):
            if now_s >= session.user.expires_at_s + self._settings.token_grace_s:
                error = NotAuthenticatedError("the token has expired; authenticate in time")
                notice = messages.CallError(code=error.code, message=error.message)
                self._outbox.deliver([session.sid], messages.ERROR, notice)
                self._io.cut(session.eio_sid)

    # ---- connections

    def open_session(self, token: object, connection: Connection) -> Session:
        """Make the session of a user."""
        return Session(**connection, user=self._read_token(token))

    def session_opened(self, session: Session) -> None:
        """Deliver events of the user's conversations from now on, and confirm it."""
        self._outbox.add(session)
        authenticated = messages.Authenticated(user=session.user.view())
        self._outbox.deliver([session.sid], messages.AUTHENTICATED, authenticated)

    def session_ended(self, session: Session, *, clean: bool) -> None:
        """Report to the call that a socket is gone; not at shutdown, which is no leave."""
        self._outbox.remove(session)
        if session.call_id is not None and session.participant_id is not None and not self._closing:
            self._timeouts.socket_gone(session.call_id, session.participant_id, session.sid, clean=clean)

    def _read_token(self, token: object) -> User:
        return read_user_token(token, self._rules, now_s=self._clock.unix_s())

    # ---- events from clients

    def report_error(self, session: Session, event: str, payload: object, error: ErrorBody) -> None:
        """Send `call:error`."""
        call_id = payload.get("callId") if isinstance(payload, dict) else None
        notice = messages.CallError(
            event=event,
            call_id=hide_tokens(call_id[:128]) if isinstance(call_id, str) else None,
            **dict(error),
        )
        self._outbox.deliver([session.sid], messages.ERROR, notice)

    @handles_event(messages.AUTHENTICATE)
    async def _authenticate(
        self, session: Session, request: messages.AuthenticateRequest
    ) -> messages.AuthenticateAnswer:
        fresh = self._read_token(request.token)
        if fresh.key != session.user.key:
            raise UnauthorizedError("the new token is of another user; authenticate keeps the socket's user")
        self._outbox.renew(session, fresh)
        user = fresh.view()
        self._outbox.deliver([session.sid], messages.AUTHENTICATED, messages.Authenticated(user=user))
        if session.call_id is not None:
            await self._leaving.recheck_membership(fresh, session.call_id)
        return messages.AuthenticateAnswer(user=user)

    @handles_event(messages.INITIATE)
    async def _initiate(self, session: Session, request: InitiateRequest) -> JoinAnswer:
        self._require_free(session, None)
        answer = await self._joining.initiate(
            session.user,
            request.conversation_id,
            request.type,
            request.settings,
            sid=session.sid,
            expected=request.expected_participants,
        )
        return self._came_in(session, messages.JOINED, answer)

    @handles_event(messages.JOIN, messages.ACCEPT)
    async def _join(self, session: Session, request: messages.JoinRequest) -> JoinAnswer:
        self._require_free(session, request.call_id)
        answer = await self._joining.join(session.user, request.call_id, request.media(), sid=session.sid)
        return self._came_in(session, messages.JOINED, answer)

    @handles_event(messages.REJOIN)
    async def _rejoin(self, session: Session, request: messages.RejoinRequest) -> JoinAnswer:
        self._require_free(session, request.call_id)
        answer = await self._joining.rejoin(
            session.user, request.call_id, request.participant_id, sid=session.sid
        )
        return self._came_in(session, messages.REJOINED, answer)

    def _came_in(
        self, session: Session, event: ServerEvent[messages.Joined], answer: JoinAnswer
    ) -> JoinAnswer:
        call_id, participant_id = answer.call_id, answer.participant_id
        if self._sessions.get(session.sid) is not session:
            # its connection broke while the join was carried out
            self._timeouts.socket_gone(call_id, participant_id, session.sid, clean=False)
            return answer
        self._outbox.attach(session, call_id, participant_id)
        self._outbox.deliver([session.sid], event, messages.Joined(**dict(answer)))
        asyncio.get_running_loop().call_soon(self._joining.after_answer, call_id, participant_id)
        return answer

    def _require_free(self, session: Session, call_id: str | None) -> None:
        if session.call_id is not None and session.call_id != call_id:
            raise AlreadyInCallError(
                f"this socket is in call {session.call_id}; leave that first", {"callId": session.call_id}
            )

    @handles_event(messages.LEAVE)
    async def _leave(self, session: Session, request: messages.CallRequest) -> LeftData:
        return await self._leaving.leave(session.user, request.call_id, sid=session.sid)

    @handles_event(messages.REJECT)
    async def _reject(self, session: Session, request: messages.RejectRequest) -> messages.CallAnswer:
        await self._leaving.reject(session.user, request.call_id, request.reason, sid=session.sid)
        return messages.CallAnswer(call_id=request.call_id)

    @handles_event(messages.SIGNAL)
    async def _signal(self, session: Session, request: messages.SignalRequest) -> Nothing:
        await self._relay.signal(session.user, request.call_id, request.signal, sid=session.sid)
        return Nothing()

    @handles_event(messages.TOGGLE_AUDIO)
    async def _toggle_audio(self, session: Session, request: messages.ToggleRequest) -> messages.MediaToggled:
        return await self._toggle(session, request, "audio")

    @handles_event(messages.TOGGLE_VIDEO)
    async def _toggle_video(self, session: Session, request: messages.ToggleRequest) -> messages.MediaToggled:
        return await self._toggle(session, request, "video")

    async def _toggle(
        self, session: Session, request: messages.ToggleRequest, media: MediaType
    ) -> messages.MediaToggled:
        member = await self._relay.toggle(
            session.user, request.call_id, {media: request.enabled}, sid=session.sid
        )
        return messages.MediaToggled(
            call_id=request.call_id, participant_id=member.id, media_type=media, enabled=request.enabled
        )

    @handles_event(messages.MEDIA_STATE)
    async def _media_state(
        self, session: Session, request: messages.MediaStateRequest
    ) -> messages.ParticipantAnswer:
        changes: dict[MediaType, bool | None] = {
            "audio": request.audio_enabled,
            "video": request.video_enabled,
            "screen": request.screen_share_enabled,
        }
        member = await self._relay.toggle(session.user, request.call_id, changes, sid=session.sid)
        return messages.ParticipantAnswer(call_id=request.call_id, participant_id=member.id)

    @handles_event(messages.END)
    async def _end(self, session: Session, request: messages.CallRequest) -> EndedData:
        return await self._leaving.end(session.user, request.call_id, sid=session.sid)

    @handles_event(messages.FORCE_LEAVE)
    async def _force_leave(self, session: Session, request: messages.ForceLeaveRequest) -> LeftData:
        return await self._leaving.force_leave(
            session.user, request.conversation_id, request.participant_id, sid=session.sid
        )

    @handles_event(messages.CONFIRM, messages.CONFIRM_ALIAS)
    async def _mode_switched(
        self, session: Session, request: messages.ModeSwitchedRequest
    ) -> messages.ModeSwitchedAnswer:
        call_id = request.call_id or session.call_id or session.former_call_id
        if call_id is None:
            raise InvalidRequestError("is missing, and this socket is in no call", path="callId")
        return await self._confirmations.confirm(session.user, call_id, request, sid=session.sid)

    @handles_event(messages.SFU_READY)
    async def _sfu_ready(self, session: Session, request: messages.SfuReadyRequest) -> messages.CallAnswer:
        return await self._confirmations.sfu_ready(
            session.user, request.call_id, success=request.success, reason=request.error, sid=session.sid
        )

    @handles_event(messages.MEDIA_TOKEN)
    async def _media_token(self, session: Session, request: messages.CallRequest) -> messages.MediaTokenData:
        return await self._confirmations.media_token(session.user, request.call_id, sid=session.sid)
