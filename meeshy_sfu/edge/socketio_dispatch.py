"""Dispatch of Socket.IO events: checks token, limits and schema, in this order, and reports errors.

Lets handlers see only checked input. What events mean is known to the services' own modules.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from socketio import exceptions

from meeshy_sfu.clock import Clock
from meeshy_sfu.edge.envelope import error_body, hidden
from meeshy_sfu.edge.http_dispatch import Translate
from meeshy_sfu.edge.limits import Quota, RateLimitedError, RateLimiter, address_key
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.edge.wire import ErrorBody, Message, WireModel, read
from meeshy_sfu.errors import (
    CapacityError,
    InvalidRequestError,
    MeeshyError,
    RateLimitError,
    UnauthorizedError,
)
from meeshy_sfu.log import hide_tokens

logger = logging.getLogger(__name__)

CLEAN_DISCONNECT = "client disconnect"
PACKET = "packet"
"""Stands for the event where the error is of a packet that was none."""

Acknowledgement = dict[str, Any]
"""The envelope: `success` and `data`, or `success` and `error`."""
OnEvent = Callable[..., Awaitable[Acknowledgement]]


@dataclass(slots=True, kw_only=True)
class SocketSession(ABC):
    """One socket with a valid token."""

    sid: str
    eio_sid: str
    address: str
    refused: int = 0
    """Events refused by a rate limit since the last that passed."""

    @property
    @abstractmethod
    def owner(self) -> str:
        """Whose it is: what connections and some events are counted by."""

    @property
    def is_service(self) -> bool:
        """Whether that is a service, which no limit counts."""
        return False


SessionT = TypeVar("SessionT", bound=SocketSession)
Report = Callable[[SessionT, str, object, ErrorBody], None]


class EventDispatcher(Generic[SessionT]):
    """Check events before handlers see them, count them, and report errors.

    Args:
        io: The sockets.
        clock: For the limits.
        limiter: Shared with REST.
        quota: Events per socket.
        metrics: What is counted.
        session_of: Returns the session of a socket id, or None.
        report: Sends an error to a socket as an event; gets session, event, payload and the error's body.
        no_token: The refusal of an event from a socket without a session.
        codes: Codes that events name otherwise than REST.
        translate: As of requests.
    """

    def __init__(
        self,
        *,
        io: SocketServer,
        clock: Clock,
        limiter: RateLimiter,
        quota: Quota,
        metrics: EdgeMetrics,
        session_of: Callable[[str], SessionT | None],
        report: Report[SessionT],
        no_token: MeeshyError,
        codes: Mapping[str, str] | None = None,
        translate: Translate = lambda error: None,
    ) -> None:
        self._io = io
        self._clock = clock
        self._limiter = limiter
        self._quota = quota
        self._metrics = metrics
        self._session_of = session_of
        self._send_error = report
        self._no_token = no_token
        self._codes = codes or {}
        self._translate = translate
        io.limit_by(limiter, quota)
        io.metrics = metrics
        io.on_closing = self._on_closing
        io.unconnected = self._unconnected

    def wrap(
        self,
        event: str,
        model: type[WireModel] | None,
        handler: Callable[[SessionT, Any], Awaitable[Message]],
        *,
        quota: Quota | None = None,
        label: str | None = None,
    ) -> OnEvent:
        """Make an event handler whose answer is the acknowledgement.

        Args:
            event: Its name.
            model: What its payload must be; None takes anything.
            handler: Gets session and checked payload.
            quota: A limit beside that of all events, counted by the session's owner.
            label: What it is counted as, if not by its name.
        """

        async def handle(sid: str, payload: object = None, *_: object) -> Acknowledgement:
            session = self._session_of(sid)
            if session is None:
                return self.failed(self._no_token)
            self._metrics.events.labels(label or event).inc()
            if (over := self._io.over_rate(session.eio_sid)) is not None:
                # reported once; an answer to each event of a flood would be a flood as well
                refuse = self._report if over.refused == 1 else self._silently
                return refuse(session, event, payload, over.error)
            try:
                self._count(session, quota)
                request = read(model, payload) if model is not None else payload
                answer = await handler(session, request)
                return {"success": True, "data": answer.wire()}
            except RateLimitedError as error:
                return self._on_flood(session, event, payload, error)
            except MeeshyError as error:
                return self._report(session, event, payload, error)
            except Exception as error:
                known = self._translate(error)
                if known is None:
                    logger.exception("event %s failed", event)
                    known = hidden(error)
                return self._report(session, event, payload, known)

        return handle

    def unknown(self, known: Iterable[str]) -> OnEvent:
        """Make the handler of events that have none."""
        names = ", ".join(known)

        async def refuse(session: SessionT, payload: object) -> Message:
            raise InvalidRequestError(f"there is no event of this name; there are {names}")

        async def handle(event: object, sid: str, *_: object) -> Acknowledgement:
            return await self.wrap(hide_tokens(str(event))[:64], None, refuse, label="unknown")(sid)

        return handle

    def authenticate(self, session: SessionT) -> None:
        """Note that a socket has a valid token, and whose.

        Raises:
            ConnectionRefusedError: There is no room for it.
        """
        try:
            self._io.authenticate(session.eio_sid, session.owner, is_service=session.is_service)
        except CapacityError as error:
            refused: Any = exceptions.ConnectionRefusedError
            raise refused(error.message, self.failed(error)["error"]) from None

    def refusal(self, error: UnauthorizedError, address: str, quota: Quota) -> Exception:
        """Count a handshake without a valid token, so that guessing is slow, and return the exception that refuses it."""
        self._metrics.unauthorized.inc()
        answer: MeeshyError = error
        try:
            self._limiter.take(quota, address_key(address), now_s=self._clock.monotonic_s())
        except RateLimitedError as limited:
            answer = limited
        refused: Any = exceptions.ConnectionRefusedError
        return cast(Exception, refused(answer.message, self.failed(answer)["error"]))

    def disconnected(self, session: SessionT, reason: str) -> bool:
        """Forget a socket that is gone, and return whether its client disconnected on purpose."""
        self._io.revoke(session.eio_sid)
        return reason == CLEAN_DISCONNECT

    def failed(self, error: MeeshyError) -> Acknowledgement:
        """Make the acknowledgement of a failure."""
        return {"success": False, "error": self._body(error).wire()}

    def _body(self, error: MeeshyError) -> ErrorBody:
        retry_after_s = error.retry_after_s if isinstance(error, RateLimitedError) else None
        return error_body(error, code=self._codes.get(error.code), retry_after_s=retry_after_s)

    def _count(self, session: SessionT, quota: Quota | None) -> None:
        if quota is not None:
            self._limiter.take(quota, session.owner, now_s=self._clock.monotonic_s())
        session.refused = 0

    def _report(self, session: SessionT, event: str, payload: object, error: MeeshyError) -> Acknowledgement:
        """Report to the sender what was wrong: in the acknowledgement, and by an event for those who requested none."""
        body = self._body(error)
        self._send_error(session, event, payload, body)
        return {"success": False, "error": body.wire()}

    def _on_flood(
        self, session: SessionT, event: str, payload: object, error: RateLimitedError
    ) -> Acknowledgement:
        self._metrics.rate_limited.labels(error.standing.quota.name).inc()
        session.refused += 1
        if session.refused > max(error.standing.quota.limit, self._quota.limit):
            self._io.close_for(
                session.eio_sid,
                RateLimitError(f"it floods events, far beyond the limit {error.standing.quota.name}"),
            )
        answer = self._report if session.refused == 1 else self._silently
        return answer(session, event, payload, error)

    def _silently(
        self, session: SessionT, event: str, payload: object, error: MeeshyError
    ) -> Acknowledgement:
        return self.failed(error)

    def _on_closing(self, eio_sid: str, error: MeeshyError) -> None:
        """Report to a client why its connection is about to be closed."""
        session = self._session_of(self._io.manager.sid_from_eio_sid(eio_sid, "/"))
        if session is not None:
            self._report(session, PACKET, None, error)

    def _unconnected(self, namespace: str) -> Acknowledgement:
        if namespace == "/":
            return self.failed(self._no_token)
        return self.failed(InvalidRequestError(f"there is no namespace {namespace[:64]}; connect to /"))
