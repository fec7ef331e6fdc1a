"""The requests of one participant in one call of the gateway.

Each is one event of docs/gateway.md with its answer, repeated where the gateway may need a moment. When to send which
is decided in client/caller.py and in what it is made of.
"""

from __future__ import annotations

import asyncio

from simulator.client.call_state import CallState
from simulator.client.gateway import GatewaySocket
from simulator.client.media_server import Json
from simulator.errors import ServerRefusedError, SignalingError
from simulator.samples.schema import Kind

ATTEMPTS, PAUSE_S = 30, 0.1


class CallRequests:
    """What one participant asks of the gateway."""

    def __init__(self, socket: GatewaySocket, state: CallState) -> None:
        self._socket = socket
        self._state = state

    async def initiate(self, conversation: str) -> Json:
        """Begin a call in a conversation.

        Raises:
            SignalingError: The gateway refused.
        """
        request = {"conversationId": conversation, "type": "video", "settings": self._settings()}
        return await self._socket.ask("call:initiate", request)

    async def join(self, call_id: str) -> Json:
        """Join a call.

        Raises:
            SignalingError: The gateway refused.
        """
        return await self._socket.ask("call:join", {"callId": call_id, "settings": self._settings()})

    async def rejoin(self) -> Json:
        """Ask for one's place again; a gateway that has just started may need a moment.

        Raises:
            SignalingError: The gateway refused.
        """
        place: Json = {"callId": self._state.call_id, "participantId": self._state.participant_id}
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._socket.ask("call:rejoin", place)
            except ServerRefusedError as error:
                if error.code in ("CALL_ENDED", "CALL_NOT_FOUND", "NOT_A_PARTICIPANT"):
                    self._state.end(error.code)
                    raise
                await asyncio.sleep(PAUSE_S)
        return await self._socket.ask("call:rejoin", place)

    async def toggle(self, kind: Kind, *, enabled: bool) -> None:
        """Say that microphone or camera is on or off.

        Raises:
            SignalingError: The gateway refused.
        """
        await self._socket.ask(f"call:toggle-{kind}", {"callId": self._state.call_id, "enabled": enabled})

    async def leave(self) -> None:
        """Leave the call, if one was joined. Never fails."""
        try:
            if self._state.call_id:
                await self._socket.ask("call:leave", {"callId": self._state.call_id})
        except SignalingError as error:
            self._state.note("leave-failed", error=str(error))

    async def signal(self, kind: str, to: str, sdp: str) -> None:
        """Send an offer or answer to a peer, whose socket may be on its way in, or back.

        Raises:
            SignalingError: The gateway refused.
        """
        signal = {"type": kind, "from": self._state.participant_id, "to": to, "sdp": sdp}
        for attempt in range(ATTEMPTS):
            try:
                await self._socket.ask("call:signal", {"callId": self._state.call_id, "signal": signal})
                return
            except ServerRefusedError as error:
                if error.code != "TARGET_NOT_FOUND" or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(PAUSE_S)

    async def report(self, event: str, **values: object) -> None:
        """Report how far this participant is. Never fails."""
        try:
            await self._socket.ask(event, {"callId": self._state.call_id, **values})
        except SignalingError as error:
            self._state.note("tell-failed", on=event, error=str(error))

    def _settings(self) -> Json:
        kinds = self._state.shared.kinds_of(self._state.number)
        return {kind + "Enabled": kind in kinds for kind in ("audio", "video")}
