"""Janus VideoRoom over its WebSocket API: one socket a bot, one handle to publish and one to receive all others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from loadtests.peers.adapter import Room, Seat
from loadtests.peers.descriptions import publish_offer, server_transport, subscribe_answer
from loadtests.peers.janus_process import JanusProcess
from simulator.client.bot import Bot, Incoming
from simulator.client.media_server import Json
from simulator.client.sdp import Section, parse
from simulator.errors import SignalingError
from simulator.runs.group import Participant, ServerProcess

REQUEST_TIMEOUT_S = 20.0
_KEEPALIVE_S = 20.0
_PLUGIN = "janus.plugin.videoroom"


class Connection:
    """One WebSocket with one session of Janus."""

    def __init__(self, url: str) -> None:
        self.events: asyncio.Queue[Json] = asyncio.Queue()
        """What came without being asked for: data of the plugin."""
        self._url = url
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        self._open = contextlib.AsyncExitStack()
        self._socket: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._session = 0

    async def open(self) -> None:
        """Connect.

        Raises:
            SignalingError: There is no Janus, or it refused.
        """
        http = await self._open.enter_async_context(aiohttp.ClientSession())
        try:
            self._socket = await http.ws_connect(self._url, protocols=("janus-protocol",))
        except aiohttp.ClientError as error:
            raise SignalingError(f"no WebSocket API of Janus at {self._url}: {error}") from error
        self._tasks.append(asyncio.create_task(self._read()))
        self._session = (await self.request({"janus": "create"}))["data"]["id"]
        self._tasks.append(asyncio.create_task(self._keep_alive()))

    async def attach(self) -> int:
        """Return a new handle of the VideoRoom."""
        return int((await self.request({"janus": "attach", "plugin": _PLUGIN}))["data"]["id"])

    async def message(self, handle: int, body: Json, jsep: Json | None = None) -> Json:
        """Send a request to the VideoRoom; returns the answer with `plugindata` and `jsep`."""
        request: Json = {"janus": "message", "handle_id": handle, "body": body}
        if jsep is not None:
            request["jsep"] = jsep
        answer = await self.request(request)
        data = answer["plugindata"]["data"]
        if "error" in data:
            raise SignalingError(f"Janus refused {body['request']}: {data['error']}")
        return answer

    async def request(self, request: Json) -> Json:
        """Send a request and wait for what answers it.

        Raises:
            SignalingError: It was refused, or not answered in time.
        """
        number = str(next(self._numbers))
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        session = {"session_id": self._session} if self._session else {}
        try:
            await self._socket.send_json({**request, **session, "transaction": number})
            reply: Json = await asyncio.wait_for(answer, REQUEST_TIMEOUT_S)
        except (TimeoutError, ConnectionError) as error:
            raise SignalingError(f"Janus did not answer {request['janus']}") from error
        finally:
            self._waiting.pop(number, None)
        if reply["janus"] == "error":
            raise SignalingError(f"Janus refused {request['janus']}: {reply['error']['reason']}")
        return reply

    async def close(self) -> None:
        """End the session and the socket. Idempotent."""
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            await self._socket.close()
        await self._open.aclose()

    async def _read(self) -> None:
        async for received in self._socket:
            message = received.json()
            waiting = self._waiting.get(message.get("transaction", ""))
            if message["janus"] == "ack":
                continue
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            elif message["janus"] == "event":
                self.events.put_nowait(message["plugindata"]["data"])

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_KEEPALIVE_S)
            await self._socket.send_json(
                {"janus": "keepalive", "session_id": self._session, "transaction": "keepalive"}
            )


class JanusSession:
    """A bot in a room of Janus."""

    def __init__(self, seat: Seat, url: str, room: int) -> None:
        self.bot: Bot = seat.bot
        self._native = seat.bot
        self._kinds = seat.kinds if seat.sends else ()
        self.started_ns = 0
        self.signalled_ns = 0
        self._connection = Connection(url)
        self._room = room
        self._on_event = seat.on_event
        self._handle = 0
        """Receives; made with the first stream."""
        self._taken: set[str] = set()
        self._closed = False

    async def open(self) -> None:
        """Join, publish and send."""
        self.started_ns = time.time_ns()
        connection = self._connection
        await connection.open()
        handle = await connection.attach()
        joined = await connection.message(
            handle,
            {
                "request": "join",
                "ptype": "publisher",
                "room": self._room,
                "display": f"bot-{self.bot.number}",
            },
        )
        connection.events.put_nowait(joined["plugindata"]["data"])
        if not self._kinds:
            self.signalled_ns = time.time_ns()
            return
        sections = [Section(kind, await self.bot.produce(kind)) for kind in self._kinds]
        offer = publish_offer(self._native.local("send"), sections)
        answer = await connection.message(handle, {"request": "publish"}, {"type": "offer", "sdp": offer})
        await self.bot.connect("send", server_transport(answer["jsep"]["sdp"], self._native.local("send")))
        self.signalled_ns = time.time_ns()
        for kind in self._kinds:
            await self.bot.start_sending(kind)

    async def consume_forever(self) -> None:
        """Receive everyone who is announced, until cancelled."""
        while True:
            data = await self._connection.events.get()
            if feeds := [publisher["id"] for publisher in data.get("publishers") or []]:
                await self._subscribe([{"feed": feed} for feed in feeds])

    async def close(self) -> None:
        """Leave. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self.bot.close()
        try:
            await self._connection.close()
        except (aiohttp.ClientError, OSError) as error:
            self._on_event("leave-failed", time.time_ns(), bot=self.bot.number, error=str(error))

    async def _subscribe(self, streams: list[Json]) -> None:
        connection, first = self._connection, not self._handle
        if first:
            self._handle = await connection.attach()
            body: Json = {"request": "join", "ptype": "subscriber", "room": self._room, "streams": streams}
        else:
            body = {"request": "update", "subscribe": streams}
        offered = await connection.message(self._handle, body)
        if "jsep" not in offered:
            return
        text = offered["jsep"]["sdp"]
        offer = parse(text)
        answer = subscribe_answer(self._native.local("recv"), offer)
        await connection.message(self._handle, {"request": "start"}, {"type": "answer", "sdp": answer})
        if first:
            await self.bot.connect("recv", server_transport(text, self._native.local("recv")))
        senders = {
            str(s["mid"]): int(str(s["feed_display"]).removeprefix("bot-"))
            for s in offered["plugindata"]["data"]["streams"]
            if str(s.get("feed_display", "")).startswith("bot-")
        }
        fresh = [
            s for s in offer.sections if (mid := s.parameters["mid"]) in senders and mid not in self._taken
        ]
        await self.bot.consume(
            [
                Incoming(len(self._taken) + index, senders[s.parameters["mid"]], s.kind, s.parameters)
                for index, s in enumerate(fresh)
            ]
        )
        self._taken.update(s.parameters["mid"] for s in fresh)


class JanusRoom:
    """A room of the VideoRoom plugin."""

    def __init__(self, url: str, number: int, process: ServerProcess | None) -> None:
        self.url = process.media_url if isinstance(process, JanusProcess) else url
        self.process = process
        self._api = url
        self._number = number

    def session(self, seat: Seat) -> Participant:
        """Prepare a bot's session."""
        return JanusSession(seat, self._api, self._number)


class Janus:
    """Janus: one that runs at a WebSocket address, or Debian's package, started for the run."""

    name = "janus"

    def __init__(self, url: str | None = None) -> None:
        self._url = url

    @contextlib.asynccontextmanager
    async def open_room(self, directory: Path, participants: int) -> AsyncIterator[Room]:
        """Make a room, and start Janus before if there is none."""
        async with contextlib.AsyncExitStack() as open_things:
            process = None
            if self._url is None:
                process = await open_things.enter_async_context(JanusProcess(directory))
            url = self._url or (process.api_url if process else "")
            connection = Connection(url)
            open_things.push_async_callback(connection.close)
            await connection.open()
            handle = await connection.attach()
            room = {
                "request": "create",
                "publishers": participants,
                "audiocodec": "opus",
                "videocodec": "vp8",
            }
            made = await connection.message(handle, {**room, "bitrate": 0, "description": "meeshy"})
            number = int(made["plugindata"]["data"]["room"])
            try:
                yield JanusRoom(url, number, process)
            finally:
                with contextlib.suppress(SignalingError):
                    await connection.message(handle, {"request": "destroy", "room": number})
