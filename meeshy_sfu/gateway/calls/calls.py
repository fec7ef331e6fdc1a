"""The calls that are not over: which there are, who may see them, and which socket speaks for a member.

How they begin and who joins is in `joining`, how members leave and calls end in `leaving`, what time and lost sockets
cause in `timeouts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meeshy_sfu.errors import CallEndedError, CallNotFoundError, KickedError, PermissionDeniedError
from meeshy_sfu.gateway.calls.live_call import moment
from meeshy_sfu.gateway.calls.mode import ModePolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.db.models import Call
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.calls.member import Member
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.notices import Notices

ANOTHER_SOCKET = "another socket of yours took your place in the call"


class Calls:
    """All calls that are not over."""

    def __init__(
        self, *, clock: Clock, rows: CallRows, notices: Notices, detach: Callable[[str], None]
    ) -> None:
        """Begin without calls.

        Args:
            clock: The time.
            rows: Where calls are stored.
            notices: Notifies members.
            detach: Called with a socket that does not speak for a member any more.
        """
        self._clock = clock
        self._rows = rows
        self._notices = notices
        self.live: dict[str, LiveCall] = {}
        self._by_conversation: dict[str, str] = {}
        self._detach = detach

    def add(self, call: LiveCall) -> None:
        """Take a call in, new or from before a restart."""
        self.live[call.id] = call
        self._by_conversation[call.conversation_id] = call.id

    def remove(self, call: LiveCall) -> None:
        """Take a call out that is over."""
        self.live.pop(call.id, None)
        if self._by_conversation.get(call.conversation_id) == call.id:
            del self._by_conversation[call.conversation_id]

    def active_in(self, conversation_id: str) -> LiveCall | None:
        """Return the call of a conversation that is not over, or None."""
        return self.live.get(self._by_conversation.get(conversation_id, ""))

    async def find(self, user: User, call_id: str) -> LiveCall:
        """Return a call that is not over, of a conversation the user is a member of.

        Raises:
            CallNotFoundError: There is none.
            PermissionDeniedError: The user is not a member of its conversation.
            CallEndedError: It is over.
        """
        call = self.live.get(call_id)
        if call is None:
            row = await self.find_row(user, call_id)
            raise CallEndedError(f"call {row.id} is over", {"endReason": row.end_reason})
        self.require_conversation(user, call.conversation_id, call_id)
        return call

    async def find_row(self, user: User, call_id: str) -> Call:
        """Return a call from the database, live or over.

        Raises:
            CallNotFoundError: There is none.
            PermissionDeniedError: The user is not a member of its conversation.
        """
        row = await self._rows.get(call_id)
        if row is None:
            raise CallNotFoundError(f"there is no call {call_id}")
        self.require_conversation(user, row.conversation_id, call_id)
        return row

    def require_conversation(self, user: User, conversation_id: str, call_id: str) -> None:
        """Check that a user is a member of a call's conversation.

        Raises:
            PermissionDeniedError: Their token does not name it.
        """
        if conversation_id not in user.conversations:
            raise PermissionDeniedError(
                f"you are not a member of the conversation of call {call_id}; your token does not name it"
            )

    def kick(self, call: LiveCall, member: Member, sid: str | None, why: str = ANOTHER_SOCKET) -> None:
        """Let no socket but this one speak for a member; the one that did is sent why."""
        if member.sid is not None and member.sid != sid:
            call.replace(member.sid, why)
            self._notices.error(member.sid, KickedError(why))
            self._detach(member.sid)
        member.detached()

    def detach(self, member: Member) -> None:
        """Unbind the socket of a member who is not in the call any more."""
        if member.sid is not None:
            self._detach(member.sid)

    def now(self) -> datetime:
        """Return the time as the database holds it."""
        return moment(self._clock.unix_s())


def mode_policy(settings: Settings) -> ModePolicy:
    """Return the times of the mode machine from the settings."""
    return ModePolicy(deadline_s=settings.switch_deadline_s, hysteresis_s=settings.p2p_hysteresis_s)
