"""Create and destroy rooms until each call has what it needs.

What a call needs follows from its state alone (`RoomState.next_step`), so that bursts, failures and restarts all end right.
What happens with a room that is there is decided in `switching`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from meeshy_sfu.errors import CapacityError, MeeshyError
from meeshy_sfu.gateway.calls.room_state import Step
from meeshy_sfu.gateway.calls.waiting_calls import FULL, UNAVAILABLE
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.calls.live_call import LiveCall
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.media.media_client import MediaServerClient
    from meeshy_sfu.gateway.media.removal import Removal

logger = logging.getLogger(__name__)

PREWARM_RETRY_S = 5.0
"""Pause after a room in advance could not be created."""


class RoomListener(Protocol):
    """Receives what becomes of rooms."""

    async def room_ready(self, call: LiveCall) -> None:
        """The room exists and counts as a call on its server."""

    async def room_failed(self, call: LiveCall, epoch: int, reason: str) -> None:
        """It could not be created; `epoch` is the transition it was for."""

    def room_warm(self, call: LiveCall) -> None:
        """The room was created in advance."""

    async def watch(self, call: LiveCall) -> None:
        """Receive the room's events from now on."""

    def unwatch(self, call: LiveCall) -> None:
        """Its room is about to be destroyed."""


class RoomKeeper:
    """Bring rooms to what their calls need; for each call one step at a time."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        media: MediaServerClient,
        removal: Removal,
        jobs: Jobs,
        listener: RoomListener,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._media = media
        self._removal = removal
        self._jobs = jobs
        self._listener = listener

    def reconcile(self, call: LiveCall) -> None:
        """Take the steps a call's room needs, soon; to be called after every change of the call."""
        if self._next(call) is not None and not call.room_lock.locked():
            self._jobs.start(self._keep(call), f"room of call {call.id}")

    def remove_participant(self, call: LiveCall, participant_id: str) -> None:
        """Remove a participant who left the call from its room, however often that has to be tried."""
        room = call.room
        if room is not None and not call.ended:
            self._media.condemn(room.server_url, call.id, participant_id)
            self._removal.try_due()

    def rejoined(self, call: LiveCall, participant_id: str) -> None:
        """Stop removing a participant who is in the call again: they have the same id."""
        self._media.keep_participant(call.id, participant_id)

    def _next(self, call: LiveCall) -> Step | None:
        need = call.room_need(prewarm=self._settings.prewarm)
        return call.room_state.next_step(need, now_s=self._clock.monotonic_s())

    async def _keep(self, call: LiveCall) -> None:
        async with call.room_lock:
            while (step := self._next(call)) is not None:
                epoch = call.mode.epoch
                try:
                    await self._take(call, step)
                except MeeshyError as error:
                    await self._failed(call, step, epoch, error)

    async def _take(self, call: LiveCall, step: Step) -> None:
        match step:
            case Step.DESTROY:
                self._listener.unwatch(call)
                counted = call.room_state.destroyed()
                # not waited for: a server that is slow or away must not keep the call from another room
                self._media.condemn_room(call.id, counted=counted)
                self._removal.try_due()
            case Step.ACTIVATE:
                await self._activate(call)
            case Step.CREATE | Step.CREATE_PREWARMED:
                await self._create(call, prewarm=step is Step.CREATE_PREWARMED)

    async def _activate(self, call: LiveCall) -> None:
        room = call.room
        assert room is not None  # noqa: S101 - invariant: only a prewarmed room is activated
        try:
            await self._media.activate_room(call.id)
        except MeeshyError as error:
            # gone, or its server is full meanwhile; the next steps destroy it and create another, anywhere
            logger.warning(
                "the prewarmed room cannot be activated: %s",
                error,
                extra=log_ids(call=call.id, room=room.room_id),
            )
            call.room_state.unusable(room)
        else:
            if call.room_state.activated(room):
                await self._listener.room_ready(call)

    async def _create(self, call: LiveCall, *, prewarm: bool) -> None:
        room = await self._media.create_room(call.id, prewarm=prewarm)
        call.room_state.created(room, prewarmed=prewarm)
        await self._listener.watch(call)
        if not prewarm:
            await self._listener.room_ready(call)
        elif call.wants_prewarmed_room:
            self._listener.room_warm(call)

    async def _failed(self, call: LiveCall, step: Step, epoch: int, error: MeeshyError) -> None:
        reason = FULL if isinstance(error, CapacityError) else UNAVAILABLE
        logger.warning(
            "room: %s failed: %s", step.name.lower(), error, extra=log_ids(call=call.id, epoch=epoch)
        )
        call.room_state.creation_failed(reason, prewarm_at_s=self._clock.monotonic_s() + PREWARM_RETRY_S)
        if step is Step.CREATE:
            await self._listener.room_failed(call, epoch, reason)
