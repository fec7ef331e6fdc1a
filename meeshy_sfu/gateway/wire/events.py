"""Socket.IO of the gateway: who is connected, what they ask, and who hears what.

Checks events as `rest` checks requests and hands them to `calls`. Sockets and their caps are in edge/socketio_server.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from meeshy_sfu.edge.middleware import ADDRESS
from meeshy_sfu.edge.socketio_dispatch import EventDispatcher
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.edge.wire import WireModel
from meeshy_sfu.errors import (
    AlreadyInCallError,
    InvalidRequestError,
    NotAuthenticatedError,
    UnauthorizedError,
)
from meeshy_sfu.gateway.calls.calls import Answer, Calls
from meeshy_sfu.gateway.wire import schemas
from meeshy_sfu.gateway.wire.auth import User, read_user_token
from meeshy_sfu.gateway.wire.outages import database_failure
from meeshy_sfu.log import hide_tokens

if TYPE_CHECKING:
    from aiohttp import web

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.edge.auth import TokenRules
    from meeshy_sfu.edge.limits import Quota, RateLimiter
    from meeshy_sfu.edge.middleware import Origins
    from meeshy_sfu.gateway.calls.member import MediaType
    from meeshy_sfu.gateway.calls.quotas import Quotas
    from meeshy_sfu.gateway.calls.statements import Statements
    from meeshy_sfu.gateway.metrics import Metrics

logger = logging.getLogger(__name__)

CODES = {"INVALID_REQUEST": "VALIDATION_ERROR"}
"""What events call otherwise than REST."""

Handler = Callable[["Session", Any], Awaitable[Answer]]


@dataclass(slots=True)
class Session:
    """One socket with a good token."""

    sid: str
    eio_sid: str
    address: str
    user: User
    call_id: str | None = None
    """The call it speaks in."""
    participant_id: str | None = None
    former_call_id: str | None = None
    """The call it spoke in before."""
    refused: int = 0
    """Events refused by a rate limit since the last that passed."""


def _user_key(session: Session) -> str:
    return session.user.key


class Events:
    """The sockets of the gateway; the outbox of its notices."""

    def __init__(
        self,
        *,
        settings: Settings,
        rules: TokenRules,
        clock: Clock,
        origins: Origins,
        limiter: RateLimiter,
        quotas: Quotas,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._clock = clock
        self._limiter = limiter
        self._quotas = quotas
        self._calls: Calls
        self._statements: Statements
        self._metrics: Metrics
        self._sessions: dict[str, Session] = {}
        self._by_conversation: dict[str, set[str]] = {}
        self._closing = False
        self._io = SocketServer(settings, origins, clock)
        self._io.on("connect", self._on_connect)
        self._io.on("disconnect", self._on_disconnect)
        self._dispatcher = EventDispatcher(
            io=self._io,
            clock=clock,
            limiter=limiter,
            quota=quotas.events,
            session_of=self._sessions.get,
            tell=self._tell_error,
            no_token=NotAuthenticatedError("this socket has no token"),
            codes=CODES,
            translate=database_failure,
        )
        for event, (model, quota, handler) in self._handlers().items():
            limit = None if quota is None else (quota, _user_key)
            self._io.on(event, self._dispatcher.wrap(event, model, handler, limit=limit))
        self._io.on("*", self._dispatcher.unknown(self.names))

    def use(self, *, calls: Calls, statements: Statements, metrics: Metrics) -> None:
        """Hand over what can only be built once there is an outbox, which this is."""
        self._calls = calls
        self._statements = statements
        self._metrics = self._dispatcher.metrics = self._io.metrics = metrics
        calls.on_detached = self._detach

    @property
    def names(self) -> tuple[str, ...]:
        """The events clients may send."""
        return tuple(self._handlers())

    def attach(self, app: web.Application) -> None:
        """Serve Socket.IO under /socket.io/."""
        self._io.attach(app)

    def sweep(self) -> None:
        """Cut off sockets whose token and its grace have run out, and those that never had one."""
        self._io.sweep()
        now_s = self._clock.unix_s()
        for session in tuple(self._sessions.values()):
            if now_s >= session.user.expires_at_s + self._settings.token_grace_s:
                error = NotAuthenticatedError("the token has expired; authenticate in time")
                self.deliver([session.sid], "call:error", {"code": error.code, "message": error.message})
                self._io.cut(session.eio_sid)

    async def close(self) -> None:
        """Close all sockets; nobody leaves a call by it. Idempotent."""
        if self._closing:
            return
        self._closing = True
        await self._io.close_all()

    # ---- the outbox

    def deliver(self, sids: Iterable[str], event: str, payload: dict[str, object]) -> None:
        """Queue an event for some sockets; never waits."""
        self._io.deliver(sids, event, payload)

    def deliver_to_conversation(
        self, conversation_id: str, event: str, payload: dict[str, object], *, but: str | None = None
    ) -> int:
        """Queue an event for all sockets of a conversation's people but one, by User.key; gives their number."""
        everybody = self._by_conversation.get(conversation_id, ())
        sids = [sid for sid in everybody if self._sessions[sid].user.key != but]
        self._io.deliver(sids, event, payload)
        return len(sids)

    # ---- connections

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        address = str(environ["aiohttp.request"][ADDRESS])
        try:
            user = self._read_token(auth.get("token") if isinstance(auth, dict) else None)
        except UnauthorizedError as error:
            raise self._dispatcher.refusal(error, address, self._quotas.calls) from None
        eio_sid = self._io.manager.eio_sid_from_sid(sid, "/")
        self._dispatcher.admit(eio_sid, user.key)
        session = self._sessions[sid] = Session(sid, eio_sid, address, user)
        self._subscribe(session)
        self._metrics.connections = len(self._sessions)
        self.deliver([sid], "authenticated", {"success": True, "user": user.view()})

    async def _on_disconnect(self, sid: str, reason: str = "") -> None:
        session = self._sessions.pop(sid, None)
        if session is None:
            return
        self._metrics.connections = len(self._sessions)
        self._unsubscribe(session)
        clean = self._dispatcher.gone(session, reason)
        if session.call_id is not None and session.participant_id is not None and not self._closing:
            self._calls.socket_gone(session.call_id, session.participant_id, sid, clean=clean)

    def _subscribe(self, session: Session) -> None:
        for conversation_id in session.user.conversations:
            self._by_conversation.setdefault(conversation_id, set()).add(session.sid)

    def _unsubscribe(self, session: Session) -> None:
        for conversation_id in session.user.conversations:
            sids = self._by_conversation.get(conversation_id, set())
            sids.discard(session.sid)
            if not sids:
                self._by_conversation.pop(conversation_id, None)

    def _detach(self, sid: str) -> None:
        session = self._sessions.get(sid)
        if session is not None:
            session.former_call_id = session.call_id
            session.call_id = session.participant_id = None

    def _read_token(self, token: object) -> User:
        return read_user_token(token, self._rules, now_s=self._clock.unix_s())

    # ---- events from clients

    def _handlers(self) -> dict[str, tuple[type[WireModel], Quota | None, Handler]]:
        quotas = self._quotas
        return {
            "authenticate": (schemas.AuthenticateRequest, None, self._authenticate),
            "call:initiate": (schemas.InitiateRequest, quotas.initiate, self._initiate),
            "call:join": (schemas.JoinRequest, quotas.join, self._join),
            "call:accept": (schemas.JoinRequest, quotas.join, self._join),
            "call:rejoin": (schemas.RejoinRequest, quotas.join, self._rejoin),
            "call:leave": (schemas.CallRequest, quotas.leave, self._leave),
            "call:reject": (schemas.RejectRequest, quotas.leave, self._reject),
            "call:signal": (schemas.SignalRequest, quotas.signals, self._signal),
            "call:toggle-audio": (schemas.ToggleRequest, quotas.toggle, self._toggle_audio),
            "call:toggle-video": (schemas.ToggleRequest, quotas.toggle, self._toggle_video),
            "call:media-state-change": (schemas.MediaStateRequest, quotas.toggle, self._media_state),
            "call:end": (schemas.CallRequest, quotas.leave, self._end),
            "call:force-leave": (schemas.ForceLeaveRequest, quotas.leave, self._force_leave),
            "call:mode-switched": (schemas.ModeSwitchedRequest, None, self._mode_switched),
            "call:mode-switch-ack": (schemas.ModeSwitchedRequest, None, self._mode_switched),
            "call:sfu-ready": (schemas.SfuReadyRequest, quotas.toggle, self._sfu_ready),
            "call:media-token": (schemas.CallRequest, quotas.toggle, self._media_token),
        }

    def _tell_error(self, session: Session, event: str, payload: object, error: Answer) -> None:
        told: dict[str, object] = {"event": event, **error}
        call_id = payload.get("callId") if isinstance(payload, dict) else None
        if isinstance(call_id, str):
            told["callId"] = hide_tokens(call_id[:128])
        self.deliver([session.sid], "call:error", told)

    async def _authenticate(self, session: Session, request: schemas.AuthenticateRequest) -> Answer:
        fresh = self._read_token(request.token)
        if fresh.key != session.user.key:
            raise UnauthorizedError("the new token is somebody else's")
        self._unsubscribe(session)
        session.user = fresh
        self._subscribe(session)
        answer: Answer = {"user": fresh.view()}
        self.deliver([session.sid], "authenticated", {"success": True, **answer})
        if session.call_id is not None:
            await self._calls.look_at_token(fresh, session.call_id)
        return answer

    async def _initiate(self, session: Session, request: schemas.InitiateRequest) -> Answer:
        self._require_free(session, None)
        answer = await self._calls.initiate(
            session.user,
            request.conversation_id,
            request.type,
            request.settings,
            sid=session.sid,
            expected=request.expected_participants,
        )
        return self._came_in(session, "call:join", answer)

    async def _join(self, session: Session, request: schemas.JoinRequest) -> Answer:
        self._require_free(session, request.call_id)
        answer = await self._calls.join(session.user, request.call_id, request.media(), sid=session.sid)
        return self._came_in(session, "call:join", answer)

    async def _rejoin(self, session: Session, request: schemas.RejoinRequest) -> Answer:
        self._require_free(session, request.call_id)
        answer = await self._calls.rejoin(
            session.user, request.call_id, request.participant_id, sid=session.sid
        )
        return self._came_in(session, "call:rejoined", answer)

    def _came_in(self, session: Session, event: str, answer: Answer) -> Answer:
        call_id, participant_id = str(answer["callId"]), str(answer["participantId"])
        if self._sessions.get(session.sid) is not session:
            # it broke off while its coming was dealt with
            self._calls.socket_gone(call_id, participant_id, session.sid, clean=False)
            return answer
        session.call_id, session.participant_id = call_id, participant_id
        self.deliver([session.sid], event, {"success": True, **answer})
        asyncio.get_running_loop().call_soon(self._calls.after_answer, call_id, participant_id)
        return answer

    def _require_free(self, session: Session, call_id: str | None) -> None:
        if session.call_id is not None and session.call_id != call_id:
            raise AlreadyInCallError(
                f"this socket is in call {session.call_id}; leave that first", {"callId": session.call_id}
            )

    async def _leave(self, session: Session, request: schemas.CallRequest) -> Answer:
        return await self._calls.leave(session.user, request.call_id, sid=session.sid)

    async def _reject(self, session: Session, request: schemas.RejectRequest) -> Answer:
        return await self._calls.reject(session.user, request.call_id, request.reason, sid=session.sid)

    async def _signal(self, session: Session, request: schemas.SignalRequest) -> Answer:
        call = await self._calls.find(session.user, request.call_id)
        return self._statements.signal(session.user, call, request.signal, sid=session.sid)

    async def _toggle_audio(self, session: Session, request: schemas.ToggleRequest) -> Answer:
        return await self._statements.toggle(
            session.user, request.call_id, {"audio": request.enabled}, sid=session.sid
        )

    async def _toggle_video(self, session: Session, request: schemas.ToggleRequest) -> Answer:
        return await self._statements.toggle(
            session.user, request.call_id, {"video": request.enabled}, sid=session.sid
        )

    async def _media_state(self, session: Session, request: schemas.MediaStateRequest) -> Answer:
        changes: dict[MediaType, bool | None] = {
            "audio": request.audio_enabled,
            "video": request.video_enabled,
            "screen": request.screen_share_enabled,
        }
        answer = await self._statements.toggle(session.user, request.call_id, changes, sid=session.sid)
        return {"callId": answer["callId"], "participantId": answer["participantId"]}

    async def _end(self, session: Session, request: schemas.CallRequest) -> Answer:
        return await self._calls.end(session.user, request.call_id, sid=session.sid)

    async def _force_leave(self, session: Session, request: schemas.ForceLeaveRequest) -> Answer:
        return await self._calls.force_leave(
            session.user, request.conversation_id, request.participant_id, sid=session.sid
        )

    async def _mode_switched(self, session: Session, request: schemas.ModeSwitchedRequest) -> Answer:
        call_id = request.call_id or session.call_id or session.former_call_id
        if call_id is None:
            raise InvalidRequestError("is missing, and this socket is in no call", path="callId")
        return await self._statements.confirm(session.user, call_id, request, sid=session.sid)

    async def _sfu_ready(self, session: Session, request: schemas.SfuReadyRequest) -> Answer:
        return await self._statements.sfu_ready(
            session.user, request.call_id, success=request.success, reason=request.error, sid=session.sid
        )

    async def _media_token(self, session: Session, request: schemas.CallRequest) -> Answer:
        return await self._statements.media_token(session.user, request.call_id, sid=session.sid)
