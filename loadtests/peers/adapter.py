"""What a run needs of another media server. One module an adapter: janus.py, whip.py, mediasoup.py.

SDP is translated in descriptions.py; the run itself is in run.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simulator.bots.native import NativeBot
from simulator.client.bot import EventSink
from simulator.runs.group import Participant, ServerProcess
from simulator.samples.schema import Kind


@dataclass(frozen=True, slots=True)
class Seat:
    """A bot's part in a run."""

    bot: NativeBot
    kinds: Sequence[Kind]
    """What those send who send."""
    sends: bool
    """Or it only receives."""
    on_event: EventSink


class Room(Protocol):
    """A room on the other server, made for one run."""

    url: str
    """Of an address of the media, which decides what bots bind to."""
    process: ServerProcess | None
    """The server, if it was started for this run."""

    def session(self, seat: Seat) -> Participant:
        """Prepare a bot's session; it joins when it is opened."""


class PeerServer(Protocol):
    """Another media server: started for the run, or running already."""

    name: str

    def open_room(self, directory: Path, participants: int) -> AbstractAsyncContextManager[Room]:
        """Make a room for so many; leaving it closes the room, and the server if it was started."""
