"""Users without media: one socket to the gateway and its REST API, in calls of their own.

Takes the steps it is asked to and reports each; which step comes when is up to SignallingUser (loadtests/users.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Protocol

from loadtests.messages import Group, Setup
from simulator.client.call_records import user_name
from simulator.client.gateway import GatewaySocket, user_token
from simulator.client.media_server import Json, Rest
from simulator.errors import SimulatorError

_QUALITY = {"packetLossRate": 0.0, "jitter": 1.5, "rtt": 20.0, "bitrate": 300.0}


class Measure(Protocol):
    """Report a request, and its error if it had one."""

    def __call__(
        self, group: Group, name: str, began: float, seat: int, error: SimulatorError | None = None
    ) -> None:
        """Report it."""


class Signaller:
    """All users without media of one process; :meth:`close` ends their sockets."""

    def __init__(self, setup: Setup, rest: Rest, measure: Measure) -> None:
        self._setup = setup
        self._rest = rest
        self._measure = measure
        self._sockets: dict[int, GatewaySocket] = {}
        self._calls: dict[int, str] = {}

    async def step(self, seat: int, step: str) -> None:
        """Take one step of a user.

        Raises:
            SimulatorError: The gateway refused, or cannot be reached.
        """
        match step:
            case "connect":
                await self._connect(seat)
            case "call":
                data = await self._ask(
                    seat, "call:initiate", {"conversationId": self._conversation(seat), "type": "audio"}
                )
                self._calls[seat] = str(data["callId"])
            case "toggle-off" | "toggle-on":
                call = {"callId": self._calls.get(seat, "")}
                await self._ask(seat, "call:toggle-audio", {**call, "enabled": step == "toggle-on"})
            case "look":
                await self._request(seat, "GET", "/api/calls/:id", "")
            case "quality":
                await self._request(
                    seat, "POST", "/api/calls/:id/quality-metrics", "/quality-metrics", _QUALITY
                )
            case "leave":
                await self._ask(seat, "call:leave", {"callId": self._calls.pop(seat, "")})
            case "disconnect":
                if (socket := self._sockets.pop(seat, None)) is not None:
                    await socket.close()
            case _:
                raise SimulatorError(f"a user without media has no step {step!r}")

    async def close(self) -> None:
        """End all sockets; calls end with them. Idempotent."""
        sockets, self._sockets = self._sockets, {}
        await asyncio.gather(*(socket.close() for socket in sockets.values()))

    async def _connect(self, seat: int) -> None:
        socket = self._sockets[seat] = GatewaySocket(self._setup.gateway_url, self._token(seat))
        await self._timed("EVENT", "connect", seat, socket.open())

    async def _ask(self, seat: int, event: str, payload: Json) -> Json:
        socket = self._sockets.get(seat)
        if socket is None:
            raise SimulatorError("a user without media connects first")
        data: Json = await self._timed("EVENT", event, seat, socket.ask(event, payload))
        return data

    async def _request(self, seat: int, method: str, name: str, path: str, body: Json | None = None) -> None:
        path = f"/api/calls/{self._calls.get(seat, '')}{path}"
        await self._timed(
            "REST", f"{method} {name}", seat, self._rest.request(method, path, self._token(seat), body)
        )

    async def _timed(self, group: Group, name: str, seat: int, work: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        try:
            answer = await work
        except SimulatorError as error:
            self._measure(group, name, began, seat, error)
            raise
        self._measure(group, name, began, seat)
        return answer

    def _token(self, seat: int) -> str:
        return user_token(self._setup.secret, user_name(seat + 1), self._conversation(seat))

    def _conversation(self, seat: int) -> str:
        return f"{self._setup.run}-alone-{seat}"
