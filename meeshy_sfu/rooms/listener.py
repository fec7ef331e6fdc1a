"""What a room reports to the outside, as it happens.

The server's signalling implements it; rooms know nothing of sockets.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.events import Layers
from meeshy_sfu.media.producer import Producer

if TYPE_CHECKING:
    from meeshy_sfu.rooms.participant import Participant
    from meeshy_sfu.rooms.room import Room


class RoomListener:
    """Notified of everything that participants and services may want to know of a room.

    All methods do nothing; override those that matter. They are called on the event loop, at once, and must
    not wait. ``room_closed`` comes last.
    """

    def room_created(self, room: "Room") -> None:
        """A room was opened."""

    def room_closed(self, room: "Room", reason: str) -> None:
        """A room and all in it was closed, for example because its worker died."""

    def participant_joined(self, room: "Room", participant: "Participant") -> None:
        """A participant joined."""

    def media_started(self, room: "Room", participant: "Participant", waited_s: float) -> None:
        """The first media packet was sent to a participant, so long after there was one to be received."""

    def participant_left(self, room: "Room", participant: "Participant", reason: str) -> None:
        """A participant left, with all producers and consumers."""

    def new_producer(self, room: "Room", participant: "Participant", producer: Producer) -> None:
        """A participant sends a track; for all other participants."""

    def producer_closed(
        self, room: "Room", participant: "Participant", producer: Producer, reason: str
    ) -> None:
        """A track has ended; for all other participants."""

    def producer_score(self, room: "Room", participant: "Participant", producer: Producer) -> None:
        """A track arrives better or worse than before; for its sender."""

    def consumer_closed(
        self, room: "Room", participant: "Participant", consumer: Consumer, reason: str
    ) -> None:
        """A participant no longer receives a track; for that participant, unless they closed it themselves."""

    def consumer_paused(self, room: "Room", participant: "Participant", consumer: Consumer) -> None:
        """The sender of a track has paused it; for a receiver of it."""

    def consumer_resumed(self, room: "Room", participant: "Participant", consumer: Consumer) -> None:
        """The sender of a track has resumed it; for a receiver of it."""

    def consumer_score(self, room: "Room", participant: "Participant", consumer: Consumer) -> None:
        """A track reaches a receiver better or worse than before; for that receiver."""

    def consumer_layers(
        self, room: "Room", participant: "Participant", consumer: Consumer, former: Layers | None
    ) -> None:
        """Other layers of a track are forwarded to a receiver than before, or none any more; for that receiver."""

    def active_speaker(
        self, room: "Room", participant: "Participant | None", producer: Producer | None
    ) -> None:
        """The active speaker changed, or there is none any more."""

    def volumes(self, room: "Room", volumes: Sequence[tuple["Participant", Producer, int]]) -> None:
        """The volume of each producer in dBov, loudest first; empty when all have fallen silent."""
