"""mediasoup through a small Node host (mediasoup_host/): one router, two transports a participant, parameters as they are.

Bots speak mediasoup's parameter objects, so nothing is translated. Starting the host is in mediasoup_process.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtests.peers.adapter import Room, Seat
from loadtests.peers.mediasoup_process import MediasoupProcess
from simulator.client.bot import Bot, Incoming
from simulator.client.media_server import Direction, Json
from simulator.errors import SignalingError
from simulator.runs.group import Participant, ServerProcess
from simulator.samples.schema import Kind

REQUEST_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Published:
    """A stream that a participant sends."""

    sender: int
    kind: Kind
    producer: str


class MediasoupRoom:
    """A router of the host, and who publishes on it."""

    def __init__(self, url: str, http: aiohttp.ClientSession, process: ServerProcess | None) -> None:
        self.url = url
        self.process = process
        self._http = http
        self._published: list[Published] = []
        self._sessions: list[MediasoupSession] = []

    async def request(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask the host.

        Raises:
            SignalingError: It refused, or is not there.
        """
        url = f"{self.url}/participants{path}"
        try:
            async with self._http.request(method, url, json=body or {}) as response:
                answer: Json = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise SignalingError(f"{method} {url}: {error or type(error).__name__}") from error
        if response.status != 200:
            raise SignalingError(f"{method} {url}: {response.status}: {answer.get('error')}")
        return answer

    def publish(self, stream: Published) -> None:
        """Let all know of a stream."""
        self._published.append(stream)
        for session in self._sessions:
            session.published.put_nowait(stream)

    def session(self, seat: Seat) -> Participant:
        """Prepare a bot's session."""
        session = MediasoupSession(seat, self)
        for stream in self._published:
            session.published.put_nowait(stream)
        self._sessions.append(session)
        return session


class MediasoupSession:
    """A bot in the room."""

    def __init__(self, seat: Seat, room: MediasoupRoom) -> None:
        self.bot: Bot = seat.bot
        self.started_ns = 0
        self.signalled_ns = 0
        self.published: asyncio.Queue[Published] = asyncio.Queue()
        """Streams that are there."""
        self._seat = seat
        self._room = room
        self._capabilities: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._id: str | None = None
        self._streams = 0
        self._closed = False

    async def open(self) -> None:
        """Join, connect, publish and send.

        Raises:
            SignalingError: The host refused.
        """
        self.started_ns = time.time_ns()
        seat, room = self._seat, self._room
        joined = await room.request("POST", "")
        self._id = str(joined["id"])
        await self._connect("recv", joined["recv"])
        self._capabilities.set_result(seat.bot.capabilities(joined["rtpCapabilities"]))
        produced: list[Published] = []
        if seat.sends:
            await self._connect("send", joined["send"])
            for kind in seat.kinds:
                request = {"kind": kind, "rtpParameters": await seat.bot.produce(kind)}
                producer = await room.request("POST", f"/{self._id}/produce", request)
                produced.append(Published(seat.bot.number, kind, str(producer["id"])))
        self.signalled_ns = time.time_ns()
        for stream in produced:
            await seat.bot.start_sending(stream.kind)
            room.publish(stream)

    async def consume_forever(self) -> None:
        """Receive every stream of others that is published, until cancelled."""
        capabilities = await self._capabilities
        while True:
            stream = await self.published.get()
            if stream.sender == self._seat.bot.number:
                continue
            request = {"producerId": stream.producer, "rtpCapabilities": capabilities}
            consumer = await self._room.request("POST", f"/{self._id}/consume", request)
            tag, self._streams = self._streams, self._streams + 1
            await self.bot.consume([Incoming(tag, stream.sender, stream.kind, consumer["rtpParameters"])])

    async def close(self) -> None:
        """Leave. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self.bot.close()
        if self._id is not None:
            try:
                await self._room.request("DELETE", f"/{self._id}")
            except SignalingError as error:
                self._seat.on_event("leave-failed", time.time_ns(), bot=self.bot.number, error=str(error))

    async def _connect(self, which: Direction, transport: Json) -> None:
        dtls = await self.bot.connect(which, transport)
        await self._room.request("POST", f"/{self._id}/connect", {"which": which, "dtlsParameters": dtls})


class Mediasoup:
    """mediasoup: a host that runs, or one that is started for the run."""

    name = "mediasoup"

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    @contextlib.asynccontextmanager
    async def open_room(self, directory: Path, participants: int) -> AsyncIterator[Room]:
        """Use the router of the host, and start the host before if there is none."""
        async with contextlib.AsyncExitStack() as open_things:
            process = None
            if self._url is None:
                process = await open_things.enter_async_context(MediasoupProcess(directory))
            timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
            http = await open_things.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            url = (self._url or (process.url if process else "")).rstrip("/")
            yield MediasoupRoom(url, http, process)
