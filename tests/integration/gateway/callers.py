"""Callers over the wire: events by python-socketio's client, REST by aiohttp, media by requests alone."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import aiohttp
import socketio

from meeshy_sfu.edge.token_signing import sign_user_token
from meeshy_sfu.gateway.wire.auth import Conversation
from tests.integration.hearing import DEADLINE_S, Hearing
from tests.integration.server.peers import CAPABILITIES, DTLS, Answer, rtp_parameters

SECRET = "the-secret-of-the-integration-tests"
GROUP = Conversation("c1", "GROUP")
SDP = "\r\n".join(
    (
        "v=0",
        "o=- 4004364366 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:NRf3",
        "a=ice-pwd:NesStn2pLRaQC9BwbR4Owh",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=rtpmap:96 opus/48000/2",
        "",
    )
)
"""What a browser would offer, shortened."""
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.7 49422 typ host"


class Caller(Hearing):
    """A user with a socket to the gateway."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        name: str,
        *,
        conversations: list[Conversation] | None = None,
        anonymous: bool = False,
        lifetime_s: float = 3600,
    ) -> None:
        super().__init__(name)
        self.session, self.url = session, url
        self.conversations = [GROUP] if conversations is None else conversations
        self.anonymous = anonymous
        self.token = self.new_token(lifetime_s)
        self.call_id = self.id = ""
        self.answer: dict[str, Any] = {}
        self.socket = self._new_socket()

    def new_token(self, lifetime_s: float, *, secret: str = SECRET) -> str:
        return sign_user_token(
            secret=secret,
            now_s=time.time(),
            lifetime_s=lifetime_s,
            user_id=self.name,
            username=self.name.capitalize(),
            conversations=self.conversations,
            anonymous=self.anonymous,
        )

    def _new_socket(self) -> Any:
        socket = socketio.AsyncClient(reconnection=False)
        socket.on("*", self.note)
        return socket

    # ---- gateway

    async def connect(self, *, token: str | None = None) -> Caller:
        await self.socket.connect(self.url, auth={"token": token or self.token}, transports=["websocket"])
        return self

    async def reconnect(self, url: str | None = None) -> None:
        """A new socket, as after a broken one; events received before are kept."""
        self.url = url or self.url
        self.socket = self._new_socket()
        await self.connect()

    async def vanish(self) -> None:
        """Break the connection without a close."""
        self.socket.eio.ws._response.connection.transport.abort()
        await self.socket.wait()

    async def close_without_a_frame(self) -> None:
        """End the connection as the kernel does for a process that was killed: a FIN, no close frame."""
        self.socket.eio.ws._response.connection.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        await self.socket.wait()

    async def emit(self, event: str, payload: object = None) -> dict[str, Any]:
        """The acknowledgement."""
        answer: dict[str, Any] = await self.socket.call(event, payload, timeout=DEADLINE_S)
        return answer

    async def ask(self, event: str, payload: object = None) -> dict[str, Any]:
        """The data of an acknowledgement that has to be a success."""
        answer = await self.emit(event, payload)
        assert answer["success"], answer
        data: dict[str, Any] = answer["data"]
        return data

    async def code(self, event: str, payload: object = None) -> str:
        """The code of an acknowledgement that has to be a failure."""
        answer = await self.emit(event, payload)
        assert not answer["success"], answer
        return str(answer["error"]["code"])

    def _in(self, answer: dict[str, Any]) -> dict[str, Any]:
        self.call_id, self.id, self.answer = answer["callId"], answer["participantId"], answer
        return answer

    async def initiate(self, conversation: str = "c1", **fields: Any) -> dict[str, Any]:
        payload = {"conversationId": conversation, "type": "video", **fields}
        return self._in(await self.ask("call:initiate", payload))

    async def join(self, call_id: str) -> dict[str, Any]:
        return self._in(await self.ask("call:join", {"callId": call_id}))

    async def rejoin(self) -> dict[str, Any]:
        payload = {"callId": self.call_id, "participantId": self.id}
        return self._in(await self.ask("call:rejoin", payload))

    async def leave(self) -> dict[str, Any]:
        return await self.ask("call:leave", {"callId": self.call_id})

    async def signal(self, to: Caller, **fields: Any) -> dict[str, Any]:
        signal = {"type": "offer", "from": self.id, "to": to.id, "sdp": SDP, **fields}
        return await self.emit("call:signal", {"callId": self.call_id, "signal": signal})

    async def confirm(self, epoch: int, mode: str = "sfu", *, success: bool = True, **fields: Any) -> Any:
        payload = {
            "callId": self.call_id,
            "mode": mode,
            "epoch": epoch,
            "success": success,
            **fields,
        }
        return await self.ask("call:mode-switched", payload)

    async def switched(self, epoch: int, mode: str) -> Any:
        """The end of a transition."""
        return await self.wait(
            "call:mode-switched", holds=lambda p: p["epoch"] >= epoch and p["mode"] == mode
        )

    async def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        async with self.session.request(method, self.url + path, data=data, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.json())

    # ---- media server

    async def media(self, access: dict[str, Any], method: str, path: str, body: object = None) -> Answer:
        """A request with the token and URL the gateway gave."""
        headers = {"Authorization": f"Bearer {access['mediaToken']}", "Content-Type": "application/json"}
        url = f"{access['mediaServerUrl']}/api/rooms/{self.call_id}/{path}"
        data = None if body is None else json.dumps(body).encode()
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.json())

    async def go_to_sfu(self, access: dict[str, Any]) -> dict[str, Any]:
        """Join the room, connect and produce audio, as a client does; the ids for the confirmation."""
        body = {"participantId": self.id, "rtpCapabilities": CAPABILITIES}
        joined = (await self.media(access, "POST", "join", body)).data
        send = joined["sendTransport"]["transportId"]
        connected = await self.media(access, "POST", f"transports/{send}/connect", {"dtlsParameters": DTLS})
        assert connected.status == 200, connected
        body = {"participantId": self.id, "kind": "audio", "rtpParameters": rtp_parameters("audio")}
        producer = (await self.media(access, "POST", f"transports/{send}/produce", body)).data
        return {
            "sfuSendTransportId": send,
            "sfuRecvTransportId": joined["recvTransport"]["transportId"],
            "producerIds": {"audio": producer["producerId"]},
        }

    async def close(self) -> None:
        await self.socket.disconnect()


def participant_id(told: dict[str, Any]) -> str:
    """Return whose join an event announces."""
    return str(told["participant"]["participantId"])
