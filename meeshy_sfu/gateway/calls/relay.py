"""What members of a call send each other through the gateway: signals of the direct path, and what they mute.

Signals are checked and passed on, never kept. Who is a member is up to `calls`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meeshy_sfu.errors import SignalSenderMismatchError, TargetNotFoundError
from meeshy_sfu.gateway.wire.signals import relayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.calls import Calls
    from meeshy_sfu.gateway.calls.member import MediaType, Member
    from meeshy_sfu.gateway.wire.auth import User
    from meeshy_sfu.gateway.wire.messages import Signal
    from meeshy_sfu.gateway.wire.notices import Notices


class Relay:
    """Pass on what one member of a call has for another, or for all."""

    def __init__(self, *, settings: Settings, rows: CallRows, calls: Calls, notices: Notices) -> None:
        self._settings = settings
        self._rows = rows
        self._calls = calls
        self._notices = notices

    async def signal(self, user: User, call_id: str, signal: Signal, *, sid: str | None = None) -> None:
        """Pass a signal on to its target.

        Raises:
            NotAParticipantError: The sender is not in the call.
            KickedError: The socket was replaced, or its participant removed.
            NotInCallError: Another socket speaks for the sender.
            SignalSenderMismatchError: Its `from` is not the sender.
            TargetNotFoundError: The target is not in the call, or has no socket now.
            InvalidSignalError: It lacks what its type needs, is too large, or malformed.
        """
        call = await self._calls.find(user, call_id)
        sender = call.require_speaker(user, sid)
        if signal.sender is not None and signal.sender != sender.id:
            raise SignalSenderMismatchError("the signal's from is not your participantId")
        passed_on = relayed(signal, self._settings, sender=sender.id)
        target = call.members.get(signal.to)
        if target is None or target.id == sender.id:
            raise TargetNotFoundError(f"participant {signal.to} is not in call {call.id}")
        if target.sid is None:
            raise TargetNotFoundError(f"participant {signal.to} is away; try again")
        self._notices.signal(call, target, passed_on)

    async def toggle(
        self, user: User, call_id: str, changes: Mapping[MediaType, bool | None], *, sid: str | None = None
    ) -> Member:
        """Store and announce what a member mutes or unmutes; return the member."""
        call = await self._calls.find(user, call_id)
        async with call.lock:
            call.require_live()
            member = call.require_speaker(user, sid)
            for media, enabled in changes.items():
                if enabled is None:
                    continue
                member.toggled(media, enabled=enabled)
                self._rows.member(call, member)
                self._notices.media_toggled(call, member, media, enabled=enabled)
        await self._rows.settle(call)
        return member
