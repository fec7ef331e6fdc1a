"""The client's side of the call gateway: one participant's socket, its requests and its events.

Speaks docs/gateway.md and hands out plain values, in the order they came; what a participant does with them is up to
client/caller.py. A socket that breaks off comes back by itself and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import jwt
import socketio

from simulator.client.connection_errors import late_or_broken
from simulator.client.media_server import FastPacket, Json, refusal
from simulator.errors import SignalingError

_AsyncClient: Any = socketio.AsyncClient

ANSWER_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 15.0
"""A gateway that has just started again may need seconds until it has admitted all who reconnect at once."""
TOKEN_LIFETIME_S = 24 * 3600
PLACES = frozenset(("call:initiate", "call:join", "call:rejoin"))
"""What makes a connection speak for its participant; all other requests in a call wait for that."""
RECONNECTED = "reconnected"
"""The event a socket makes up itself when it is back."""
EVENTS = (
    "call:initiated",
    "call:participant-joined",
    "call:participant-left",
    "call:participant-connection",
    "call:signal",
    "call:mode-switch",
    "call:mode-switched",
    "call:prewarm",
    "call:sfu-unreachable",
    "call:media-token",
    "call:ended",
    "call:error",
)
"""What a participant acts on. The gateway announces producers as well, but they are known from the media server's socket."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something the gateway said."""

    name: str
    payload: Json
    unix_ns: int


def user_token(
    secret: str, user: str, conversation: str, *, kind: str = "GROUP", name: str | None = None
) -> str:
    """Make the token of a user who may call in one conversation; others see the name, or the user's id."""
    now = int(time.time())
    claims = {
        "aud": "meeshy-gateway",
        "sub": user,
        "username": name or user,
        "kind": "user",
        "conversations": [{"id": conversation, "type": kind, "role": "member"}],
        "iat": now,
        "exp": now + TOKEN_LIFETIME_S,
    }
    return jwt.encode(claims, secret, algorithm="HS256")


class _Client(_AsyncClient):  # type: ignore[misc]
    """The client, as patient when it comes back by itself as when it first connects."""

    async def connect(self, *args: Any, **options: Any) -> None:
        """Connect; by itself the library gives up after a second, in the middle of the welcome perhaps."""
        await super().connect(*args, **{"wait_timeout": CONNECT_TIMEOUT_S, **options})

    async def _handle_eio_disconnect(self, reason: str) -> None:
        """Come back as well where the server closed the connection in order, as one that restarts does; browsers do."""
        await super()._handle_eio_disconnect(reason)
        if self.reconnection and reason == self.reason.SERVER_DISCONNECT and not self._reconnect_task:
            self._reconnect_task: Any = self.start_background_task(self._handle_reconnect)


class GatewaySocket:
    """One participant's connection to the gateway. :meth:`open` first; :meth:`close` or :meth:`vanish` at the end."""

    def __init__(self, url: str, token: str | Callable[[], Awaitable[str]]) -> None:
        """Prepare.

        Args:
            url: Where the gateway is.
            token: Of the participant's user, or what makes one when the socket is opened.
        """
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        """What the gateway said, oldest first."""
        self._url = url
        self._token = token
        self._opened = False
        self._broken = asyncio.Event()
        """Set once the connection that requests go out on has ended; each connection has its own."""
        self._placed = asyncio.Event()
        """Clear from when a connection comes back until it speaks for its participant again."""
        self._placed.set()
        self._socket = _Client(
            reconnection=True,
            reconnection_delay=0.2,
            reconnection_delay_max=1.0,
            randomization_factor=0.5,
            handle_sigint=False,
            serializer=FastPacket,
        )
        for name in EVENTS:
            self._socket.on(name, self._listener(name))
        self._socket.on("connect", self._connected)
        self._socket.on("disconnect", lambda *_: self._broken.set())

    async def open(self) -> None:
        """Connect.

        Raises:
            SignalingError: The gateway cannot be reached, or refuses.
        """
        token = self._token if isinstance(self._token, str) else await self._token()
        try:
            await asyncio.wait_for(
                self._socket.connect(self._url, auth={"token": token}, transports=["websocket"]),
                ANSWER_TIMEOUT_S,
            )
        except (socketio.exceptions.SocketIOError, TimeoutError) as error:
            raise late_or_broken(error)(
                f"cannot open the socket to the gateway at {self._url}: {error}"
            ) from error
        self._opened = True

    async def ask(self, event: str, payload: Json) -> Json:
        """Send an event and return the `data` of its answer; one that needs the participant's place waits for that.

        Raises:
            ServerRefusedError: The gateway answered with an error.
            SignalingError: It did not answer, or the connection ended before: then no answer comes any more.
        """
        try:
            if event not in PLACES:
                await asyncio.wait_for(self._placed.wait(), ANSWER_TIMEOUT_S)
            answer = await self._call(event, payload)
        except (socketio.exceptions.SocketIOError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise late_or_broken(error)(f"{event}: no answer from the gateway: {why}") from error
        if not isinstance(answer, dict):
            raise SignalingError(f"{event}: the gateway's answer has no envelope: {answer!r}")
        if not answer.get("success"):
            raise refusal(event, "gateway", 0, answer.get("error"), {})
        if event in PLACES:
            self._placed.set()
        data = answer.get("data")
        return data if isinstance(data, dict) else {}

    async def close(self) -> None:
        """Say goodbye. Idempotent."""
        await self._socket.disconnect()
        await self._socket.shutdown()

    async def vanish(self) -> None:
        """Break off without a word, as a machine that loses its network does."""
        self._socket.reconnection = False
        transport = getattr(self._socket.eio, "ws", None)
        connection = getattr(getattr(transport, "_response", None), "connection", None)
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        await self._socket.shutdown()

    async def _call(self, event: str, payload: Json) -> object:
        answering = asyncio.ensure_future(self._socket.call(event, payload, timeout=ANSWER_TIMEOUT_S))
        breaking = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({answering, breaking}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise SignalingError(f"{event}: the connection to the gateway ended before its answer")
            return await answering
        finally:
            for task in (answering, breaking):
                task.cancel()
            await asyncio.gather(answering, breaking, return_exceptions=True)

    def _listener(self, name: str) -> Any:
        def take(payload: object = None) -> None:
            values = payload if isinstance(payload, dict) else {}
            self.messages.put_nowait(Message(name, values, time.time_ns()))

        return take

    def _connected(self) -> None:
        # the library says nothing of a connection that ends while it is still being made
        self._broken.set()
        self._broken = asyncio.Event()
        if self._opened:
            self._placed.clear()
            self.messages.put_nowait(Message(RECONNECTED, {}, time.time_ns()))
