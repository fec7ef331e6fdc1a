"""Native bots that come into a room by Python calls, without a server in between."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meeshy_sfu import _core
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ProducerId
from meeshy_sfu.media.rtp_parameters import DtlsParameters, RtpParameters
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.room import Room

DEADLINE_S = 15.0


async def until(condition: Callable[[], bool], *, deadline_s: float = DEADLINE_S) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@dataclass
class Person:
    """A bot and the participant it is."""

    bot: int
    room: Room
    participant: Participant
    send: WebRtcTransport
    receive: WebRtcTransport
    heard: set[ProducerId]


class Bots:
    """A pool of native bots, with their people."""

    def __init__(self, clip: Path, *, bind: str = "127.0.0.1") -> None:
        self.pool = _core.BotPool(json.dumps({"clip_path": str(clip)}))
        self._options = json.dumps({"bind": bind})
        self._next_tag = 0

    async def join(self, room: Room, name: str) -> Person:
        (bot,) = self.pool.spawn(1, self._options)
        participant, send, receive = await room.join_with_transports(
            ParticipantId(name), rtp_capabilities=room.router.rtp_capabilities
        )
        local = json.loads(self.pool.local(bot))
        for which, transport in (("send", send), ("recv", receive)):
            self.pool.connect(bot, which, json.dumps(_server_side(transport)))
            dtls = DtlsParameters.from_wire(local[which]["dtls"])
            await participant.connect_transport(transport.id, dtls)
        return Person(bot, room, participant, send, receive, set())

    async def speak(self, person: Person) -> None:
        for kind in ("audio", "video"):
            parameters = RtpParameters.from_wire(json.loads(self.pool.produce(person.bot, kind)))
            await person.participant.produce(person.send.id, kind, parameters)
            self.pool.start_sending(person.bot, kind)

    async def listen(self, person: Person, people: list[Person]) -> int:
        """Receive all that is not received yet; gives the number of new streams."""
        bot_of = {other.participant.id: other.bot for other in people}
        new = [
            (owner, producer)
            for owner, producer in person.room.producers(but=person.participant.id)
            if producer.id not in person.heard
        ]
        results = await person.participant.consume([producer.id for _, producer in new])
        announced: list[dict[str, Any]] = []
        consumers: list[Consumer] = []
        for (owner, producer), result in zip(new, results, strict=True):
            assert isinstance(result, Consumer), result
            consumers.append(result)
            person.heard.add(producer.id)
            self._next_tag += 1
            announced.append(
                {
                    "tag": self._next_tag,
                    "sender": bot_of.get(owner.id, -1),
                    "kind": producer.kind,
                    "rtpParameters": result.rtp_parameters.to_wire(),
                }
            )
        self.pool.consume(person.bot, json.dumps(announced))
        await person.participant.resume_consumers([consumer.id for consumer in consumers])
        return len(consumers)

    async def mesh(self, room: Room, count: int, prefix: str = "bot") -> list[Person]:
        """Have so many people talk to each other."""
        people = [await self.join(room, f"{prefix}-{number}") for number in range(count)]
        for person in people:
            await self.speak(person)
        for person in people:
            await self.listen(person, people)
        return people

    def rows(self, *people: Person) -> Any:
        rows = np.frombuffer(self.pool.rows(), dtype=np.dtype(self.pool.row_dtype()))
        return rows[np.isin(rows["bot"], [person.bot for person in people])] if people else rows

    def flowing(self, *people: Person, kind: int, frames: int) -> int:
        rows = self.rows(*people)
        return int(np.sum((rows["kind"] == kind) & (rows["frames"] >= frames)))

    def leave(self, person: Person) -> None:
        self.pool.close_bot(person.bot)
        person.participant.leave()

    def stop(self) -> None:
        self.pool.stop()


def _server_side(transport: WebRtcTransport) -> dict[str, Any]:
    return {
        "iceParameters": transport.ice_parameters.to_wire(),
        "iceCandidates": [candidate.to_wire() for candidate in transport.ice_candidates],
        "dtlsParameters": transport.dtls_parameters.to_wire(),
    }
