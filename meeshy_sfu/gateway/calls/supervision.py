"""Between media servers and calls: relays events of rooms, and reconciles rooms with calls.

Also restores the calls that a restarted gateway finds in its database.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from meeshy_sfu.db.models import Figures
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.gateway.calls import journal as log
from meeshy_sfu.gateway.calls.call_mode import CallMode, ConversationType, Phase
from meeshy_sfu.gateway.calls.calls import Calls, mode_policy
from meeshy_sfu.gateway.calls.direct_pair import direct_pair
from meeshy_sfu.gateway.calls.live_call import LiveCall
from meeshy_sfu.gateway.calls.member import Member, identity_key
from meeshy_sfu.gateway.calls.mode import ModeController
from meeshy_sfu.gateway.media.media_events import ROOM_LOST
from meeshy_sfu.gateway.wire import messages
from meeshy_sfu.gateway.wire.schemas import RemoteProducer
from meeshy_sfu.log import log_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.config import Settings
    from meeshy_sfu.db.models import Call
    from meeshy_sfu.db.repository import Repository
    from meeshy_sfu.gateway.calls.journal import Journal
    from meeshy_sfu.gateway.calls.leaving import Leaving
    from meeshy_sfu.gateway.calls.switching import Switcher
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.media.media_client import ListedRoom, MediaRoom, MediaServerClient
    from meeshy_sfu.gateway.media.media_events import MediaEvents
    from meeshy_sfu.gateway.wire.notices import Notices

logger = logging.getLogger(__name__)

MODE_FROZEN_S = 8.0
"""How long after a restart a call's mode is left alone while not all members are back."""
ROOMS_WAIT_S = 1.5
"""How long a restart waits for a media server to list its rooms; clients wait for the gateway meanwhile."""
COMPARE_INTERVAL_S = 30.0
"""How often rooms are compared with calls; besides, each time a media server is connected."""
COMING = ("participant-joined", "new-producer")


class Supervision:
    """The listener of all media servers."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        repository: Repository,
        calls: Calls,
        leaving: Leaving,
        media: MediaServerClient,
        events: MediaEvents,
        notices: Notices,
        switcher: Switcher,
        journal: Journal,
        jobs: Jobs,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._repository = repository
        self._calls = calls
        self._leaving = leaving
        self._media = media
        self._events = events
        self._notices = notices
        self._switcher = switcher
        self._journal = journal
        self._jobs = jobs
        self._compare_at_s = clock.monotonic_s() + COMPARE_INTERVAL_S
        self._foreign: dict[str, set[str]] = {}
        """Rooms on each server that are of other gateways, as of the last comparison."""

    # ---- events of rooms

    def media_event(self, call_id: str, event: str, payload: dict[str, Any]) -> None:
        """Relay which tracks there are, and who speaks."""
        call = self._calls.live.get(call_id)
        if call is None:
            return
        owner = payload.get("participantId")
        if event in COMING and owner in call.gone and owner not in call.members:
            logger.warning(
                "joined the media server without the call; removed there",
                extra=log_ids(call=call_id, participant=owner),
            )
            self._switcher.keeper.remove_participant(call, str(owner))
            return
        try:
            match event:
                case messages.NEW_PRODUCER.name:
                    self._new_producer(call, RemoteProducer.read(payload))
                case messages.PRODUCER_CLOSED.name:
                    self._producer_closed(call, messages.ProducerClosed.read(payload))
                case messages.ACTIVE_SPEAKER.name:
                    speaker = messages.ActiveSpeaker.read(payload)
                    self._notices.relay(call, messages.ACTIVE_SPEAKER, speaker, owner=None)
        except ValidationError as error:
            logger.warning(
                "malformed %s from the media server: %s", event, error, extra=log_ids(call=call_id)
            )

    def _new_producer(self, call: LiveCall, producer: RemoteProducer) -> None:
        if call.room_state.producer_opened(producer.producer_id, producer):
            self._notices.relay(call, messages.NEW_PRODUCER, producer, owner=producer.participant_id)

    def _producer_closed(self, call: LiveCall, ended: messages.ProducerClosed) -> None:
        if call.room_state.producer_closed(ended.producer_id):
            self._notices.relay(call, messages.PRODUCER_CLOSED, ended, owner=ended.participant_id)

    def producers_are(self, call_id: str, producers: dict[str, dict[str, Any]]) -> None:
        """Relay which producers began and ended while the connection was down."""
        for payload in producers.values():
            self.media_event(call_id, "new-producer", payload)
        call = self._calls.live.get(call_id)
        if call is None:
            return
        for producer_id, known in list(call.room_state.producers.items()):
            if producer_id not in producers:
                ended = messages.ProducerClosed(
                    call_id=known.call_id,
                    participant_id=known.participant_id,
                    producer_id=producer_id,
                    kind=known.kind,
                )
                self._producer_closed(call, ended)

    async def room_gone(self, call_id: str, room_id: str | None, reason: str) -> None:
        """Make another where one is needed."""
        call = self._calls.live.get(call_id)
        if call is not None:
            await self._switcher.room_lost(call, room_id, reason)

    async def server_back(self, url: str) -> None:
        """Create rooms for calls that wait for one, and destroy rooms that no call needs."""
        await asyncio.gather(*(self._switcher.server_back(waiting) for waiting in self._calls.live.values()))
        self._media.condemned.server_back(url, now_s=self._clock.monotonic_s())
        await self.compare(url)

    # ---- rooms and calls

    def sweep(self) -> None:
        """Compare rooms with calls when it is time again."""
        now_s = self._clock.monotonic_s()
        if now_s < self._compare_at_s:
            return
        self._compare_at_s = now_s + COMPARE_INTERVAL_S
        for url in self._media.urls:
            self._jobs.start(self.compare(url), f"comparison of rooms on {url}")

    async def compare(self, url: str) -> None:
        """See to it that a media server has the rooms that calls need, and no others of ours."""
        before = self._media.rooms_on(url)
        try:
            listed = await self._media.list_rooms(url)
        except MeeshyError as error:
            logger.warning("the rooms cannot be listed: %s", error, extra=log_ids(server=url))
            return
        rooms = {room.call_id: room.room_id for room in listed}
        needed = self._media.rooms_on(url)
        for call_id, room_id in before.items():
            if needed.get(call_id) == room_id != rooms.get(call_id):
                ids = log_ids(server=url, call=call_id, room=room_id)
                logger.warning("room lost without an event", extra=ids)
                await self.room_gone(call_id, room_id, ROOM_LOST)
        foreign = set()
        for room in listed:
            if needed.get(room.call_id) == room.room_id or self._media.is_changing(url, room.call_id):
                continue
            if await self._is_surplus(url, room):
                logger.warning(
                    "a room that no call needs is removed", extra=log_ids(server=url, call=room.call_id)
                )
                self._media.condemn(url, room.call_id)
            else:
                foreign.add(room.room_id)
        self._foreign[url] = foreign
        self._switcher.removal.try_due()

    async def _is_surplus(self, url: str, room: ListedRoom) -> bool:
        """Return whether a room that no call needs is ours to destroy; rooms of other gateways are not."""
        if room.owner == self._media.owner:
            return True
        call = self._calls.live.get(room.call_id)
        if call is not None:
            pinned = self._media.server_of(room.call_id)
            return pinned is not None and pinned != url and not call.room_lock.locked()
        if room.room_id in self._foreign.get(url, ()):
            return False
        return await self._is_over(room.call_id)

    async def _is_over(self, call_id: str) -> bool:
        try:
            row = await self._repository.get_call(call_id)
        except SQLAlchemyError as error:
            logger.warning("cannot look up whether the call is over: %s", error, extra=log_ids(call=call_id))
            return False
        return row is not None and row.ended_at is not None

    # ---- restart

    async def restore(self) -> int:
        """Restore the calls of the database that are not over; return their number."""
        rows = await self._repository.active_calls()
        rooms = await self._rooms_by_call() if rows else {}
        for row in rows:
            try:
                call = self._restored(row)
            except ValueError as error:
                logger.error(
                    "cannot be restored as it is stored; ended: %s", error, extra=log_ids(call=row.id)
                )
                await self._repository.end_call(row.id, reason="error", ended_by=None, now=self._calls.now())
                continue
            metrics = await self._repository.get_metrics(call.id)
            call.figures_changed(Figures() if metrics is None else metrics.figures)
            pair = _pair(row, () if metrics is None else metrics.mode_transitions)
            call.mode.restore(frozenset(call.members), pair)
            self._calls.add(call)
            if not call.members:
                # the gateway died between the call and its first member: no participant would come back to it
                await self._leaving.abandon(call)
                continue
            await self._find_room(call, rooms.get(call.id, []))
            self._journal.note(call.id, log.RESTORED, epoch=call.mode.epoch, mode=call.mode.mode.value)
            logger.info(
                "call restored: %s, %d members",
                call.mode.mode,
                len(call.members),
                extra=log_ids(call=call.id, room=call.room.room_id if call.room else None),
            )
        return len(rows)

    def _restored(self, row: Call) -> LiveCall:
        now_s = self._clock.monotonic_s()
        conversation_type = ConversationType(row.settings.get("conversationType", "GROUP"))
        # Epochs are not stored; a transition takes longer than a millisecond, so this is above all before.
        age_ms = int((self._clock.unix_s() - row.created_at.timestamp()) * 1000)
        mode = ModeController(
            conversation_type,
            policy=mode_policy(self._settings),
            mode=CallMode(row.mode),
            epoch=max(row.mode_change_count, age_ms),
        )
        initiator = row.settings.get("initiator") or {}
        call = LiveCall(
            id=row.id,
            conversation_id=row.conversation_id,
            conversation_type=conversation_type,
            kind=row.type,
            initiator_id=row.initiator_id,
            initiator_name=str(initiator.get("username") or row.initiator_id),
            settings=dict(row.settings),
            created_at=row.created_at,
            mode=mode,
            status=row.status,
            started_at=row.started_at,
            last_mode_change=row.last_mode_change,
            ring_deadline_s=None if row.status == "active" else now_s + self._settings.ring_timeout_s,
            mode_frozen_until_s=now_s + MODE_FROZEN_S,
        )
        for participant in row.participants:
            call.row_changed(
                identity_key(participant.identity, anonymous=participant.user_id is None), participant
            )
            if participant.left_at is None:
                call.joined(Member.restored(participant, now_s=now_s))
        return call

    async def _rooms_by_call(self) -> dict[str, list[str]]:
        """Where each call has a room, as media servers say that answer at once."""
        urls: dict[str, list[str]] = {}
        lists = await asyncio.gather(*(self._listed(url) for url in self._media.urls))
        for url, rooms in zip(self._media.urls, lists, strict=True):
            for room in rooms:
                urls.setdefault(room.call_id, []).append(url)
        return urls

    async def _listed(self, url: str) -> list[ListedRoom]:
        try:
            async with asyncio.timeout(ROOMS_WAIT_S):
                return await self._media.list_rooms(url)
        except (MeeshyError, TimeoutError) as error:
            logger.warning("the rooms cannot be listed: %r", error, extra=log_ids(server=url))
            return []

    async def _find_room(self, call: LiveCall, urls: Sequence[str]) -> None:
        for url in urls:
            try:
                async with asyncio.timeout(ROOMS_WAIT_S):
                    room = await self._media.get_room(call.id, url)
            except (MeeshyError, TimeoutError) as error:
                logger.warning(
                    "the room cannot be queried: %r", error, extra=log_ids(server=url, call=call.id)
                )
                continue
            if room is not None:
                self._media.pin(call.id, room)
                self._adopt(call, room)
                return
        if call.phase is Phase.SFU:
            # decided when the call settles; until then whoever comes back finds it on the SFU
            call.mode.lose_room("room-lost")

    def _adopt(self, call: LiveCall, room: MediaRoom) -> None:
        # a room of a call that is P2P is of a switch that was not finished, or made in advance
        direct = call.phase is Phase.P2P
        call.room_state.adopted(room, in_use=not direct)
        if direct:
            self._switcher.keeper.reconcile(call)
        else:
            self._events.watch_later(call.id)


def _pair(row: Call, transitions: tuple[dict[str, Any], ...]) -> frozenset[str]:
    try:
        return direct_pair(row.participants, transitions)
    except (KeyError, TypeError, ValueError) as error:
        # two with a direct path are asked to connect anew
        logger.warning("stored transitions cannot be read: %r", error, extra=log_ids(call=row.id))
        return frozenset()
