"""Carry out what `mode` decides: event log, rooms, database, messages; then remove rooms no call needs.

Decides nothing itself. Callers hold the call's lock, so that decisions of one call never overlap.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from meeshy_sfu.gateway.calls import journal as log
from meeshy_sfu.gateway.calls.call_mode import CallMode, Phase
from meeshy_sfu.gateway.calls.decisions import CompleteSwitch, Decision, RollBack, StartSwitch
from meeshy_sfu.gateway.calls.live_call import LiveCall, moment
from meeshy_sfu.gateway.calls.member import Member
from meeshy_sfu.gateway.calls.room_keeper import RoomKeeper
from meeshy_sfu.gateway.calls.waiting_calls import WaitingCalls
from meeshy_sfu.gateway.media.removal import Removal
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.calls.call_rows import CallRows
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.media.media_client import MediaRoom, MediaServerClient
    from meeshy_sfu.gateway.media.media_events import MediaEvents
    from meeshy_sfu.gateway.metrics import Metrics
    from meeshy_sfu.gateway.wire.notices import Notices

logger = logging.getLogger(__name__)

REPEAT_PAUSE_S = 1.0
"""A failed transition whose next try comes sooner than this is announced once for each reason, not every time."""
ROOM_GRACE_S = 0.5
"""How long a room stays after its participants were notified to leave it: that message and its end take different ways."""
PREWARM_AFTER_LOSS_S = 1.0
"""Pause after a room was lost before another is created in advance."""


class Switcher:
    """Move calls between peer to peer and SFU as their machines decide."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        rows: CallRows,
        media: MediaServerClient,
        events: MediaEvents,
        notices: Notices,
        journal: Journal,
        metrics: Metrics,
        jobs: Jobs,
    ) -> None:
        self._clock = clock
        self._rows = rows
        self._media = media
        self._events = events
        self._notices = notices
        self._journal = journal
        self._metrics = metrics
        self._jobs = jobs
        self.removal = Removal(media, clock, jobs, self.place_freed)
        self.keeper = RoomKeeper(
            settings=settings, clock=clock, media=media, removal=self.removal, jobs=jobs, listener=self
        )
        self.waiting = WaitingCalls(media, jobs, self.try_again)
        """Calls that no media server has taken."""

    async def carry_out(self, call: LiveCall, decisions: Sequence[Decision]) -> None:
        """Do what was decided, in order. The caller holds the lock."""
        for decision in decisions:
            match decision:
                case StartSwitch():
                    self._start(call, decision)
                case CompleteSwitch():
                    await self._complete(call, decision)
                case RollBack():
                    self._roll_back(call, decision)
        self.waiting.update(call)
        self.keeper.reconcile(call)

    # ---- the three decisions

    def _start(self, call: LiveCall, start: StartSwitch) -> None:
        now_s = self._clock.monotonic_s()
        deadline_unix_s = self._clock.unix_s() + start.deadline - now_s
        call.switch_started(start, deadline_unix_ms=round(deadline_unix_s * 1000))
        self._note(call, log.START, start, reason=start.reason, participants=sorted(start.participants))
        logger.info(
            "switch from %s to %s begins: %s",
            start.source,
            start.target,
            start.reason,
            extra=log_ids(call=call.id, epoch=start.epoch),
        )
        if start.target is CallMode.SFU:
            # participants are on their way out of it, and the last one closes it: it is not announced again
            call.room_state.cut_grace_short()
        if start.target is CallMode.P2P or call.room_state.can_be_announced:
            self._announce(call, start)
        else:
            call.switch_waits_for_room()

    def _announce(self, call: LiveCall, start: StartSwitch) -> None:
        call.switch_announced(start)
        self._notices.mode_switch(call, start)
        self._note(call, log.ANNOUNCED, start)

    async def _complete(self, call: LiveCall, done: CompleteSwitch) -> None:
        now = moment(self._clock.unix_s())
        call.switch_completed(done, now)
        self._note(
            call,
            log.COMPLETE,
            done,
            reason=done.reason,
            durationS=round(done.duration_s, 6),
            missing=sorted(done.missing),
        )
        self._rows.switched(call, done, now)
        # a moment, so that a gateway killed now knows after its restart what was announced
        await self._rows.settle(call)
        self._metrics.switched(done.source, done.target, done.duration_s)
        self._notices.completed(call, done)
        if done.target is CallMode.P2P:
            self._release_room(call)
        call.waits_for_no_room()

    def _roll_back(self, call: LiveCall, back: RollBack) -> None:
        call.switch_rolled_back()
        self._note(
            call,
            log.ROLL_BACK,
            back,
            reason=back.reason,
            durationS=round(back.duration_s, 6),
            failed=sorted(back.failed),
        )
        self._metrics.rolled_back(back.reason)
        logger.warning(
            "switch rolled back, the call stays %s: %s; failed for: %s",
            back.source,
            back.reason,
            ", ".join(sorted(back.failed)) or "none",
            extra=log_ids(call=call.id, epoch=back.epoch),
        )
        if call.failure_to_store(back):
            self._rows.rolled_back(call, back, moment(self._clock.unix_s()))
        if call.mode.announced_epoch == back.epoch:
            self._notices.rolled_back(call, back)
        self._announce_failure(call, back)
        if back.target is CallMode.SFU and call.phase is not Phase.SFU:
            self._release_room(call)
        call.waits_for_no_room()

    def _announce_failure(self, call: LiveCall, back: RollBack) -> None:
        if back.retry_at is None:
            return
        soon = back.retry_at < self._clock.monotonic_s() + REPEAT_PAUSE_S
        if call.failure_to_announce(back, is_repeated_soon=soon):
            self._notices.switch_failed(call, back.waiting)

    def notify_failure(self, call: LiveCall, member: Member) -> None:
        """Notify a participant who joined that no path serves them now, if so."""
        if member.id in call.mode.without_path:
            self._notices.switch_failed(call, [member.id])

    # ---- the end of a room

    def _release_room(self, call: LiveCall) -> None:
        """Release the room: it is destroyed, after a grace if members were sent to it. They were notified already."""
        room = call.room
        if room is not None and call.room_state.released():
            self._jobs.start(self._end_grace(call, room), f"grace of room {room.room_id}")

    async def _end_grace(self, call: LiveCall, room: MediaRoom) -> None:
        await asyncio.sleep(ROOM_GRACE_S)
        async with call.lock:
            call.room_state.grace_over(room)
        self.keeper.reconcile(call)

    # ---- what the room keeper reports

    async def room_ready(self, call: LiveCall) -> None:
        """Announce the switch that waited for the room."""
        async with call.lock:
            self._announce_if_waiting(call)

    def _announce_if_waiting(self, call: LiveCall) -> None:
        if (
            call.ended
            or call.phase is not Phase.SWITCHING_TO_SFU
            or call.mode.announced_epoch == call.mode.epoch
            or not call.room_state.can_be_announced
        ):
            return
        self._announce(
            call,
            StartSwitch(
                call.mode.epoch,
                call.mode.mode,
                CallMode.SFU,
                call.mode.connected,
                call.mode.next_deadline() or 0.0,
                call.switch_reason,
            ),
        )

    async def room_failed(self, call: LiveCall, epoch: int, reason: str) -> None:
        """Roll back the transition that needed the room; the machine tries again."""
        async with call.lock:
            if not call.ended:
                await self.carry_out(call, call.mode.fail(epoch, self._clock.monotonic_s(), reason))
                call.waits_for_no_room()

    def room_warm(self, call: LiveCall) -> None:
        """Invite the two to prepare their SFU leg."""
        call.prewarmed()
        self._notices.prewarm(call)

    def place_freed(self) -> None:
        """Try again what waits for a media server."""
        self.waiting.place_freed()

    async def watch(self, call: LiveCall) -> None:
        """Receive the room's events."""
        await self._events.watch(call.id)

    def unwatch(self, call: LiveCall) -> None:
        """Receive no more events of the room."""
        self._events.unwatch(call.id)

    # ---- what the media servers report

    async def room_lost(self, call: LiveCall, room_id: str | None, reason: str) -> None:
        """A room is gone, or its server: create another where one is needed.

        Args:
            call: Whose it was.
            room_id: Which one; None if the server as such is gone.
            reason: As clients are sent it.
        """
        async with call.lock:
            room = call.room
            if call.ended or room is None or (room_id is not None and room.room_id != room_id):
                return
            logger.warning("room lost: %s", reason, extra=log_ids(call=call.id, room=room.room_id))
            self._forget_room(call, is_gone=room_id is not None)
            self.waiting.place_freed()
            if not call.mode.needs_room:
                self.keeper.reconcile(call)
                return
            await self.carry_out(call, call.mode.rehome(self._clock.monotonic_s(), reason))

    async def server_back(self, call: LiveCall) -> None:
        """A media server answers again: do now what the call waited with."""
        async with call.lock:
            if call.ended or call.room is not None or call.mode_frozen_until_s is not None:
                return
            call.room_state.server_back()
            await self.carry_out(call, call.mode.wake(self._clock.monotonic_s()))

    async def try_again(self, call: LiveCall) -> None:
        """A media server may have a place: try a transition again that failed without one."""
        async with call.lock:
            if not call.ended:
                await self.carry_out(call, call.mode.wake(self._clock.monotonic_s()))

    # ---- sockets

    def presence_changed(self, call: LiveCall) -> None:
        """A member's socket connected or disconnected: two without a path may have waited for it."""
        self._jobs.start(self._see(call), f"sockets of call {call.id}")

    async def _see(self, call: LiveCall) -> None:
        async with call.lock:
            if not call.ended:
                await self.carry_out(call, call.mode.see(call.present, self._clock.monotonic_s()))

    def _forget_room(self, call: LiveCall, *, is_gone: bool) -> None:
        self._events.unwatch(call.id)
        if is_gone:
            self._media.unpin(call.id)
        else:
            # a server that cannot be reached may still have it
            self._media.condemn_room(call.id)
        call.room_state.lost(prewarm_at_s=self._clock.monotonic_s() + PREWARM_AFTER_LOSS_S)

    def _note(
        self, call: LiveCall, event: str, decision: StartSwitch | CompleteSwitch | RollBack, **values: Any
    ) -> None:
        self._journal.note(
            call.id,
            event,
            epoch=decision.epoch,
            source=decision.source.value,
            target=decision.target.value,
            **values,
        )
