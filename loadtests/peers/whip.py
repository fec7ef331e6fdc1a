"""Any server that takes streams by WHIP (RFC 9725) and hands them out by WHEP: one connection a stream in each direction.

A participant publishes over one connection, and has one more for every other participant. The server runs already: there
is no process to watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import aiohttp

from loadtests.peers.adapter import Room, Seat
from loadtests.peers.descriptions import accepted, publish_offer, receive_offer, server_transport, streams_of
from simulator.bots.native import NativeBot
from simulator.client.bot import Bot, Incoming
from simulator.client.sdp import Section, parse
from simulator.errors import SignalingError, UsageError
from simulator.runs.group import Participant, ServerProcess

STREAM: Final = "{stream}"
"""In an endpoint's address: the name of a participant's stream."""
REQUEST_TIMEOUT_S = 20.0
_PATIENCE_S = 10.0
"""How long a server may need until it offers what is published to it."""
_RETRY_S = 0.1
_NOT_YET = frozenset({404, 409, 503})
"""What servers answer for a stream that nobody publishes yet."""
_SDP = "application/sdp"
_NAME = re.compile("[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where streams are published and received."""

    whip: str
    whep: str
    token: str | None = field(default=None, repr=False)
    """Sent as a bearer token (RFC 9725 §4.7)."""

    def check(self, senders: int) -> None:
        """Refuse addresses that cannot be used for so many senders.

        Raises:
            UsageError: One is no HTTP address, or all senders would publish to one.
        """
        for option, url in (("--whip", self.whip), ("--whep", self.whep)):
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise UsageError(f"{option} is {url!r}, which is no address of HTTP")
            if senders > 1 and STREAM not in url:
                raise UsageError(
                    f"{option} has no {STREAM}, so {senders} senders would share one stream; put it where the name "
                    "of the stream belongs, or set --senders 1"
                )

    def of(self, url: str, stream: str) -> str:
        """Return the address for a stream."""
        return url.replace(STREAM, stream)


class Resource:
    """A session on the server, which ends when it is deleted (RFC 9725 §4.2)."""

    def __init__(self, http: aiohttp.ClientSession, url: str, answer: str) -> None:
        self.answer = answer
        self._http = http
        self._url = url

    async def delete(self) -> None:
        """End it.

        Raises:
            SignalingError: The server did not end it.
        """
        try:
            async with self._http.delete(self._url) as response:
                if response.status >= 400 and response.status != 404:
                    raise SignalingError(f"DELETE {self._url}: {response.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SignalingError(f"DELETE {self._url}: {error or type(error).__name__}") from error


async def begin(http: aiohttp.ClientSession, url: str, offer: str, patience_s: float = 0.0) -> Resource:
    """Send an offer to an endpoint; returns the session with the answer.

    Args:
        http: Adds the token.
        url: Of the endpoint; redirections are followed (RFC 9725 §4.6).
        offer: SDP with all candidates.
        patience_s: How long it is tried again while the server has no such stream yet.

    Raises:
        SignalingError: The server refused, or its answer is not that of WHIP and WHEP.
    """
    until_s = time.monotonic() + patience_s
    while True:
        try:
            async with http.post(url, data=offer.encode(), headers={"Content-Type": _SDP}) as response:
                text = await response.text()
                if response.status in _NOT_YET and time.monotonic() < until_s:
                    await asyncio.sleep(_RETRY_S)
                    continue
                return Resource(http, _location(url, response, text), text)
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise SignalingError(f"POST {url}: {error or type(error).__name__}") from error


def _location(url: str, response: aiohttp.ClientResponse, text: str) -> str:
    if response.status != 201:
        raise SignalingError(f"POST {url}: {response.status} instead of 201: {text[:200]!r}")
    location = response.headers.get("Location")
    if not location:
        raise SignalingError(f"POST {url}: 201 without a Location, by which the session is ended")
    return urljoin(str(response.url), location)


class WhipRoom:
    """The streams of one run."""

    def __init__(self, endpoints: Endpoints, http: aiohttp.ClientSession, prefix: str) -> None:
        self.url = endpoints.of(endpoints.whip, f"{prefix}0")
        self.process: ServerProcess | None = None
        self.endpoints = endpoints
        self.http = http
        self._prefix = prefix
        self._published: list[int] = []
        self._sessions: list[WhipSession] = []

    def stream(self, number: int) -> str:
        """Return the name of a participant's stream."""
        return f"{self._prefix}{number}"

    def publish(self, number: int) -> None:
        """Let all know of a stream that is there."""
        self._published.append(number)
        for session in self._sessions:
            session.published.put_nowait(number)

    def session(self, seat: Seat) -> Participant:
        """Prepare a bot's session."""
        session = WhipSession(seat, self)
        for number in self._published:
            session.published.put_nowait(number)
        self._sessions.append(session)
        return session


class WhipSession:
    """A participant: one connection to publish, one for each stream it receives."""

    def __init__(self, seat: Seat, room: WhipRoom) -> None:
        self.bot: Bot = seat.bot
        self.started_ns = 0
        self.signalled_ns = 0
        self.published: asyncio.Queue[int] = asyncio.Queue()
        """Numbers of the participants whose streams are there."""
        self._seat = seat
        self._room = room
        self._resources: list[Resource] = []
        self._receiving: list[NativeBot] = []
        self._closed = False

    async def open(self) -> None:
        """Publish and send, if this participant does.

        Raises:
            SignalingError: The server refused.
            SdpError: Its answer cannot be used.
        """
        self.started_ns = time.time_ns()
        seat, room = self._seat, self._room
        if not seat.sends:
            self.signalled_ns = time.time_ns()
            return
        local = seat.bot.local("send")
        sections = await self._sections(seat.bot)
        stream = room.stream(seat.bot.number)
        resource = await begin(
            room.http, room.endpoints.of(room.endpoints.whip, stream), publish_offer(local, sections)
        )
        self._resources.append(resource)
        accepted(parse(resource.answer), sections)
        await seat.bot.connect("send", server_transport(resource.answer, local))
        self.signalled_ns = time.time_ns()
        for kind in seat.kinds:
            await seat.bot.start_sending(kind)
        room.publish(seat.bot.number)

    async def consume_forever(self) -> None:
        """Receive every stream that is published, each over a connection of its own, until cancelled."""
        async with asyncio.TaskGroup() as receiving:
            while True:
                number = await self.published.get()
                if number != self._seat.bot.number:
                    receiving.create_task(self._receive(number))

    async def close(self) -> None:
        """Leave. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self.bot.close()
        for bot in self._receiving:
            await bot.close()
        for result in await asyncio.gather(*(r.delete() for r in self._resources), return_exceptions=True):
            if isinstance(result, SignalingError):
                self._seat.on_event("leave-failed", time.time_ns(), bot=self.bot.number, error=str(result))

    async def _receive(self, sender: int) -> None:
        seat, room = self._seat, self._room
        bot = seat.bot.receiving_apart()
        self._receiving.append(bot)
        local = bot.local("recv")
        sections = await self._sections(bot)
        url = room.endpoints.of(room.endpoints.whep, room.stream(sender))
        resource = await begin(room.http, url, receive_offer(local, sections), _PATIENCE_S)
        self._resources.append(resource)
        streams = streams_of(parse(resource.answer), sections)
        await bot.connect("recv", server_transport(resource.answer, local))
        await bot.consume(
            [Incoming(tag, sender, stream.kind, stream.parameters) for tag, stream in enumerate(streams)]
        )

    async def _sections(self, bot: NativeBot) -> Sequence[Section]:
        return [Section(kind, await bot.produce(kind)) for kind in self._seat.kinds]


class Whip:
    """A server with WHIP and WHEP that runs."""

    name = "whip"

    def __init__(self, endpoints: Endpoints, *, prefix: str = "bot-") -> None:
        if not _NAME.fullmatch(prefix):
            raise UsageError(
                f"--stream-prefix is {prefix!r}; letters, digits, - and _ make the name of a stream"
            )
        self._endpoints = endpoints
        self._prefix = prefix

    @contextlib.asynccontextmanager
    async def open_room(self, directory: Path, participants: int) -> AsyncIterator[Room]:
        """Hold the connections of a run: streams come to be when they are published."""
        headers = {"Authorization": f"Bearer {self._endpoints.token}"} if self._endpoints.token else {}
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            yield WhipRoom(self._endpoints, http, self._prefix)
