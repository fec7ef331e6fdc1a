"""What a room tells the outside, as it happens.

The server's signalling implements it; rooms know nothing of sockets.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.producer import Producer

if TYPE_CHECKING:
    from meeshy_sfu.rooms.participant import Participant
    from meeshy_sfu.rooms.room import Room


class RoomListener:
    """Told of everything that others in or around a room may want to know.

    All methods do nothing; override those that matter. They are called on the event loop, at once, and must
    not wait. What is told last is ``room_closed``.
    """

    def room_created(self, room: "Room") -> None:
        """A room was opened."""

    def room_closed(self, room: "Room", reason: str) -> None:
        """A room and all in it was closed, for example because its worker died."""

    def participant_joined(self, room: "Room", participant: "Participant") -> None:
        """Somebody came in."""

    def participant_left(self, room: "Room", participant: "Participant", reason: str) -> None:
        """Somebody is gone, with all their tracks."""

    def new_producer(self, room: "Room", participant: "Participant", producer: Producer) -> None:
        """Somebody sends a track; for all the others."""

    def producer_closed(
        self, room: "Room", participant: "Participant", producer: Producer, reason: str
    ) -> None:
        """A track has ended; for all the others."""

    def producer_score(self, room: "Room", participant: "Participant", producer: Producer) -> None:
        """A track arrives better or worse than before; for its sender."""

    def consumer_closed(
        self, room: "Room", participant: "Participant", consumer: Consumer, reason: str
    ) -> None:
        """Somebody does not receive a track any more; for them. Not called when they closed it themselves."""

    def consumer_paused(self, room: "Room", participant: "Participant", consumer: Consumer) -> None:
        """The sender of a track that somebody receives has paused it; for the receiver."""

    def consumer_resumed(self, room: "Room", participant: "Participant", consumer: Consumer) -> None:
        """The sender of a track that somebody receives has resumed it; for the receiver."""

    def consumer_score(self, room: "Room", participant: "Participant", consumer: Consumer) -> None:
        """A track reaches somebody better or worse than before; for the receiver."""

    def active_speaker(
        self, room: "Room", participant: "Participant | None", producer: Producer | None
    ) -> None:
        """Somebody else speaks, or nobody."""

    def volumes(self, room: "Room", volumes: Sequence[tuple["Participant", Producer, int]]) -> None:
        """Who is heard how loud in dBov, loudest first; empty when all have fallen silent."""
