"""Peers that talk to a server over the wire: REST by aiohttp, events by python-socketio's client."""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp
import socketio

from meeshy_sfu.edge.token_signing import sign_media_token
from tests.integration.hearing import DEADLINE_S, Hearing
from tests.unit.media.recordings import CHROMIUM

SECRET = "the-secret-of-the-integration-tests"
CAPABILITIES = CHROMIUM["recvRtpCapabilities"]
DTLS = CHROMIUM["connect"]["dtlsParameters"]
TRACKS = {"audio": CHROMIUM["produce"]["audio"], "video": CHROMIUM["produce"]["vp8"]}


def rtp_parameters(kind: str) -> dict[str, Any]:
    """A copy of what Chromium sends for one track."""
    track = TRACKS[kind]
    copy = json.loads(json.dumps(track.get("rtpParameters", track)))
    return copy | {"mid": {"audio": "0", "video": "1"}[kind]}


class Answer:
    """Status, headers and envelope of one request."""

    def __init__(self, status: int, headers: Any, body: dict[str, Any]) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def data(self) -> dict[str, Any]:
        assert self.status == 200, self.body
        return self.body["data"]

    @property
    def code(self) -> str | None:
        return self.body.get("error", {}).get("code")

    def __repr__(self) -> str:
        return f"{self.status} {self.body}"


class Peer(Hearing):
    """One participant, or a service."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        call_id: str,
        name: str,
        *,
        role: str = "participant",
        lifetime_s: float = 3600,
        secret: str = SECRET,
    ) -> None:
        super().__init__(name)
        self.session, self.url, self.call_id, self.role = session, url, call_id, role
        self.token = self.new_token(lifetime_s, secret=secret)
        self.socket = socketio.AsyncClient(reconnection=False)
        self.socket.on("*", self.note)

    def new_token(self, lifetime_s: float, *, secret: str = SECRET) -> str:
        is_service = self.role == "service"
        return sign_media_token(
            secret=secret,
            now_s=time.time(),
            lifetime_s=lifetime_s,
            role=self.role,
            call_id=None if is_service else self.call_id,
            participant_id=None if is_service else self.name,
            subject=self.name,
        )

    async def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> Answer:
        if not path.startswith("/"):
            path = f"/api/rooms/{self.call_id}/{path}".rstrip("/")
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json"}
        async with self.session.request(method, self.url + path, data=data, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.json())

    async def post(self, path: str, body: object = None, **options: Any) -> Answer:
        return await self.request("POST", path, body, **options)

    async def create(self, body: object = None) -> dict[str, Any]:
        return (await self.post("create", body)).data

    async def join(self, **fields: Any) -> dict[str, Any]:
        body = {"participantId": self.name, "rtpCapabilities": CAPABILITIES, **fields}
        return (await self.post("join", body)).data

    async def transport(self, direction: str) -> dict[str, Any]:
        body = {"participantId": self.name, "direction": direction}
        return (await self.post("transports", body)).data

    async def produce(self, transport_id: str, kind: str, **fields: Any) -> dict[str, Any]:
        body = {"participantId": self.name, "kind": kind, "rtpParameters": rtp_parameters(kind), **fields}
        return (await self.post(f"transports/{transport_id}/produce", body)).data

    async def consume(self, producer_id: str, **fields: Any) -> dict[str, Any]:
        body = {"participantId": self.name, "producerId": producer_id, "rtpCapabilities": CAPABILITIES}
        return (await self.post("consume", body | fields)).data

    async def connect(self, *, token: str | None = None) -> None:
        await self.socket.connect(self.url, auth={"token": token or self.token}, transports=["websocket"])

    async def call(self, event: str, payload: object = None) -> dict[str, Any]:
        return await self.socket.call(event, payload, timeout=DEADLINE_S)

    async def join_room(self, **fields: Any) -> dict[str, Any]:
        return await self.call("join-room", {"callId": self.call_id, "participantId": self.name, **fields})

    async def close(self) -> None:
        await self.socket.disconnect()
