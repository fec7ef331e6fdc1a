"""Sessions of the gateway: the sockets with a good token, the calls they speak in, and the way events go to them.

Knows who is connected; what clients send is handled by `events`, what they are sent is written by `notices`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meeshy_sfu.edge.socketio_dispatch import SocketSession

if TYPE_CHECKING:
    from meeshy_sfu.edge.event_table import PayloadT, ServerEvent
    from meeshy_sfu.edge.socketio_server import SocketServer
    from meeshy_sfu.gateway.wire.auth import User


@dataclass(slots=True, kw_only=True)
class Session(SocketSession):
    """One socket with a valid token."""

    user: User
    call_id: str | None = None
    """The call in which it speaks for its participant."""
    participant_id: str | None = None
    former_call_id: str | None = None
    """The call in which it spoke before."""

    @property
    def owner(self) -> str:
        """The user or guest."""
        return self.user.key


class Sessions:
    """All sessions of the gateway, by socket and by conversation; the outbox of its notices."""

    def __init__(self, io: SocketServer) -> None:
        self._io = io
        self._sessions: dict[str, Session] = {}
        self._by_conversation: dict[str, set[str]] = {}

    # ---- connections

    def add(self, session: Session) -> None:
        """A socket has connected with a good token."""
        self._sessions[session.sid] = session
        self._subscribe(session)

    def remove(self, session: Session) -> None:
        """A socket is gone."""
        self._unsubscribe(session)
        del self._sessions[session.sid]

    def renew(self, session: Session, user: User) -> None:
        """A fresh token was presented, with whatever conversations it names."""
        self._unsubscribe(session)
        session.user = user
        self._subscribe(session)

    def attach(self, session: Session, call_id: str, participant_id: str) -> None:
        """A socket speaks for a participant of a call from now on."""
        session.call_id, session.participant_id = call_id, participant_id

    def detach(self, sid: str) -> None:
        """A socket does not speak for its participant any more."""
        session = self._sessions.get(sid)
        if session is not None:
            session.former_call_id = session.call_id
            session.call_id = session.participant_id = None

    # ---- the outbox

    def deliver(self, sids: Iterable[str], event: ServerEvent[PayloadT], payload: PayloadT) -> None:
        """Queue an event for some sockets; never waits."""
        self._io.deliver(sids, event, payload)

    def deliver_to_conversation(
        self,
        conversation_id: str,
        event: ServerEvent[PayloadT],
        payload: PayloadT,
        *,
        but: str | None = None,
    ) -> int:
        """Queue an event for all sockets of a conversation but those of one user, by User.key; return their number."""
        members = self._by_conversation.get(conversation_id, ())
        sids = [sid for sid in members if self._sessions[sid].user.key != but]
        self._io.deliver(sids, event, payload)
        return len(sids)

    # ---- inside

    def _subscribe(self, session: Session) -> None:
        for conversation_id in session.user.conversations:
            self._by_conversation.setdefault(conversation_id, set()).add(session.sid)

    def _unsubscribe(self, session: Session) -> None:
        for conversation_id in session.user.conversations:
            sids = self._by_conversation.get(conversation_id, set())
            sids.discard(session.sid)
            if not sids:
                self._by_conversation.pop(conversation_id, None)
