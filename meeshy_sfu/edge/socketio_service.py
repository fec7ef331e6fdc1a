"""The sessions of a service's sockets: a token opens one, a disconnect ends it, and events are passed to its handlers.

The part that both services share. What a token says, what a session is in and what events do belongs to the services.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypedDict, cast

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.edge.client_address import ADDRESS
from meeshy_sfu.edge.event_table import EventTable
from meeshy_sfu.edge.http_dispatch import Translate
from meeshy_sfu.edge.limits import Quota, RateLimiter
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.edge.socketio_dispatch import EventDispatcher, SessionT
from meeshy_sfu.edge.socketio_server import SocketServer
from meeshy_sfu.edge.wire import ErrorBody
from meeshy_sfu.errors import MeeshyError, UnauthorizedError


class EventQuotas(Protocol):
    """The limits of a service."""

    @property
    def events(self) -> Quota:
        """Packets of each connection."""


class Connection(TypedDict):
    """What the server knows of a new connection; arguments of a session."""

    sid: str
    eio_sid: str
    address: str


class SocketService(ABC, Generic[SessionT]):
    """The sockets of a service.

    Args:
        events: The events that clients may send; methods of this object handle them.
        settings: Limits and times.
        rules: For tokens.
        clock: For limits and tokens.
        io: The connections, of which none was accepted yet.
        limiter: Shared with REST.
        quotas: The limits of the service; those that events name are among them.
        metrics: What is counted.
        handshakes: What handshakes without a valid token count against.
        no_token: The refusal of an event from a socket without a session.
        codes: Codes that events name otherwise than REST.
        translate: As of requests.
    """

    def __init__(
        self,
        *,
        events: EventTable,
        settings: Settings,
        rules: TokenRules,
        clock: Clock,
        io: SocketServer,
        limiter: RateLimiter,
        quotas: EventQuotas,
        metrics: EdgeMetrics,
        handshakes: Quota,
        no_token: MeeshyError,
        codes: Mapping[str, str] | None = None,
        translate: Translate = lambda error: None,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._clock = clock
        self._handshakes = handshakes
        self._sessions: dict[str, SessionT] = {}
        self._closing = False
        self._metrics = metrics
        self._io = io
        self._io.on("connect", self._on_connect)
        self._io.on("disconnect", self._on_disconnect)
        self._dispatcher: EventDispatcher[SessionT] = EventDispatcher(
            io=self._io,
            clock=clock,
            limiter=limiter,
            quota=quotas.events,
            metrics=metrics,
            session_of=self._sessions.get,
            report=self.report_error,
            no_token=no_token,
            codes=codes,
            translate=translate,
        )
        for event, handler in events.handlers_of(self):
            quota = None if event.quota is None else cast(Quota, getattr(quotas, event.quota))
            self._io.on(event.name, self._dispatcher.wrap(event.name, event.request, handler, quota=quota))
        self._io.on("*", self._dispatcher.unknown(events.client))

    @abstractmethod
    def open_session(self, token: object, connection: Connection) -> SessionT:
        """Make the session that a token opens.

        Raises:
            UnauthorizedError: The token is not valid.
        """

    @abstractmethod
    def session_opened(self, session: SessionT) -> None:
        """Act on a session that was admitted."""

    @abstractmethod
    def session_ended(self, session: SessionT, *, clean: bool) -> None:
        """Act on the end of a session; ``clean`` when its client disconnected on purpose."""

    @abstractmethod
    def report_error(self, session: SessionT, event: str, payload: object, error: ErrorBody) -> None:
        """Send a client the error of an event or packet, as an event."""

    def attach(self, app: web.Application) -> None:
        """Serve Socket.IO under /socket.io/."""
        self._io.attach(app)

    async def close(self) -> None:
        """Close all sockets; what is queued for them is still sent. Idempotent."""
        if not self._closing:
            self._closing = True
            await self._io.close_all()

    async def _on_connect(self, sid: str, environ: dict[str, Any], auth: object = None) -> None:
        eio_sid = self._io.manager.eio_sid_from_sid(sid, "/")
        connection = Connection(sid=sid, eio_sid=eio_sid, address=str(environ["aiohttp.request"][ADDRESS]))
        try:
            session = self.open_session(auth.get("token") if isinstance(auth, dict) else None, connection)
        except UnauthorizedError as error:
            raise self._dispatcher.refusal(error, connection["address"], self._handshakes) from None
        self._dispatcher.authenticate(session)
        self._sessions[sid] = session
        self._metrics.connections = len(self._sessions)
        self.session_opened(session)

    async def _on_disconnect(self, sid: str, reason: str = "") -> None:
        session = self._sessions.pop(sid, None)
        if session is not None:
            self._metrics.connections = len(self._sessions)
            self.session_ended(session, clean=self._dispatcher.disconnected(session, reason))
