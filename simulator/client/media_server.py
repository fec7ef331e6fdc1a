"""The client's side of the signalling: REST requests and Socket.IO events of one participant.

Speaks the wire contract and hands out plain values; what a bot does with them is up to client/sfu_session.py. Nothing is
retried: a load test that hides refusals measures nothing. Uses the batched forms of join, consume and resume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import aiohttp
import jwt
import orjson
import socketio

from meeshy_sfu.secret_length import secret_problem
from simulator.client.connection_errors import foreign_service, late_or_broken, no_answer
from simulator.errors import ServerRefusedError, SignalingError, UsageError
from simulator.samples.schema import Kind

Json = dict[str, Any]
Direction = Literal["send", "recv"]
_AsyncClient: Any = socketio.AsyncClient
_SocketPacket: Any = socketio.packet.Packet

REQUEST_TIMEOUT_S = 20.0
TOKEN_LIFETIME_S = 24 * 3600


class _FastJson:
    @staticmethod
    def dumps(value: object, **_: object) -> str:
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: object) -> Any:
        return orjson.loads(text)


class FastPacket(_SocketPacket):  # type: ignore[misc]
    """A packet of Socket.IO in fast JSON: a storm of joins brings thousands of events a second."""

    json = _FastJson


@dataclass(frozen=True, slots=True)
class Credentials:
    """How participants prove themselves: with tokens made from a shared secret, or all with one service token."""

    secret: str | None = None
    """Shared HS256 secret; each participant gets a token of its own."""
    token: str | None = None
    """A ready token with the role `service`."""

    def __post_init__(self) -> None:
        """Refuse a secret that no server takes.

        Raises:
            UsageError: It is too short.
        """
        if self.secret is not None and (problem := secret_problem(self.secret)) is not None:
            raise UsageError(f"the secret that signs tokens (MEESHY_SIMULATE_SECRET or JWT_SECRET) {problem}")

    def for_participant(self, call_id: str, participant_id: str) -> str:
        """Return the token one participant sends."""
        return self._make(
            sub=participant_id, callId=call_id, participantId=participant_id, role="participant"
        )

    def for_service(self) -> str:
        """Return the token with which rooms are created and ended."""
        return self._make(sub="meeshy-simulate", role="service")

    def _make(self, **claims: str) -> str:
        if self.secret is None:
            return self.token or ""
        now = int(time.time())
        return jwt.encode(
            {"aud": "meeshy-media", **claims, "iat": now, "exp": now + TOKEN_LIFETIME_S},
            self.secret,
            algorithm="HS256",
        )


@dataclass(frozen=True, slots=True)
class Announcement:
    """A producer of another participant."""

    producer_id: str
    participant_id: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to a join: both transports as the server described them, and who is there already."""

    rtp_capabilities: Json
    send_transport: Json
    recv_transport: Json
    producers: tuple[Announcement, ...]


@dataclass(frozen=True, slots=True)
class Consumed:
    """One consumer the server made."""

    consumer_id: str
    producer_id: str
    kind: Kind
    rtp_parameters: Json


class Rest:
    """Requests to one media server. Owns its connections; use as a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=0),
            json_serialize=_FastJson.dumps,
        )

    async def __aenter__(self) -> Rest:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self.session.close()

    async def create_room(self, call_id: str, token: str) -> Json:
        """Make the room of a call."""
        return await self.request("POST", f"{_room(call_id)}/create", token, {})

    async def destroy_room(self, call_id: str, token: str) -> None:
        """End a call; one that is gone already is fine."""
        try:
            await self.request("DELETE", _room(call_id), token)
        except ServerRefusedError as error:
            if error.http_status != 404:
                raise

    async def text(self, path: str, token: str) -> str:
        """Read a plain page such as /metrics."""
        try:
            async with self.session.get(self.url + path, headers=_bearer(token)) as response:
                if response.status != 200:
                    raise ServerRefusedError(
                        f"GET {path}: HTTP {response.status}", code="", http_status=response.status
                    )
                return await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise await no_answer(self.url, f"GET {path}", error) from error

    async def request(
        self, method: str, path: str, token: str, body: Mapping[str, Any] | None = None
    ) -> Json:
        """Send one request and unwrap its envelope.

        Raises:
            ServerRefusedError: The server answered with an error.
            SignalingError: It did not answer, or not with the envelope of the contract.
        """
        try:
            async with self.session.request(
                method, self.url + path, json=body, headers=_bearer(token)
            ) as response:
                answer = await response.json(content_type=None, loads=orjson.loads)
                status, headers = response.status, response.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise await no_answer(self.url, f"{method} {path}", error) from error
        except ValueError as error:
            raise foreign_service(self.url, f"{method} {path}", "its answer is no JSON") from error
        if not isinstance(answer, dict) or "success" not in answer:
            raise foreign_service(
                self.url, f"{method} {path}", f"it answered HTTP {status} without the JSON envelope"
            )
        if status >= 400 or not answer.get("success"):
            raise refusal(method, path, status, answer.get("error"), headers)
        data = answer.get("data")
        return data if isinstance(data, dict) else {}


class ParticipantSession:
    """The signalling of one participant in one call.

    Events arrive on the callbacks, in order, from :meth:`join` on until :meth:`close`; each producer is announced
    once, although the server may tell of it twice.
    """

    def __init__(self, rest: Rest, call_id: str, participant_id: str, token: str) -> None:
        self.call_id = call_id
        self.participant_id = participant_id
        self.on_producer: Callable[[Announcement], None] = _ignore
        self.on_producer_closed: Callable[[str], None] = _ignore
        self.on_room_closed: Callable[[str], None] = _ignore
        self.on_disconnect: Callable[[str], None] = _ignore
        self._rest = rest
        self._token = token
        self._announced: set[str] = set()
        self._closing = False
        self._joined = False
        self._socket: Any = None

    async def join(self) -> Joined:
        """Enter the call: both transports and the list of producers in one request, then the events.

        Raises:
            SignalingError: The server refused, or cannot be reached.
        """
        data = await self._request("POST", "/join", {"participantId": self.participant_id})
        joined = Joined(
            rtp_capabilities=_read(data, "rtpCapabilities"),
            send_transport=_read(data, "sendTransport"),
            recv_transport=_read(data, "recvTransport"),
            producers=tuple(_announcement(p) for p in _read(data, "producers")),
        )
        self._joined = True
        await self._open_socket()
        for announcement in joined.producers:
            self._announce(announcement)
        return joined

    async def connect(self, transport_id: str, dtls_parameters: Json) -> None:
        """Return the server the fingerprint of one of our transports."""
        await self._request(
            "POST", f"/transports/{transport_id}/connect", {"dtlsParameters": dtls_parameters}
        )

    async def produce(
        self, transport_id: str, kind: Kind, rtp_parameters: Json, *, paused: bool = False
    ) -> str:
        """Announce what we are going to send, at once or once it is resumed; returns the producer's id."""
        source = "camera" if kind == "video" else "microphone"
        data = await self._request(
            "POST",
            f"/transports/{transport_id}/produce",
            {
                "participantId": self.participant_id,
                "kind": kind,
                "rtpParameters": rtp_parameters,
                "appData": {"source": source},
                "paused": paused,
            },
        )
        return str(_read(data, "producerId"))

    async def pause_producer(self, producer_id: str) -> None:
        """Ask that nothing of it is forwarded until it is resumed, although it may be sent."""
        await self._request("POST", f"/producers/{producer_id}/pause", {})

    async def resume_producer(self, producer_id: str) -> None:
        """Let what was announced as paused flow."""
        await self._request("POST", f"/producers/{producer_id}/resume", {})

    async def consume(
        self, producer_ids: Sequence[str], rtp_capabilities: Json, *, paused: bool = True
    ) -> list[Consumed]:
        """Ask for streams of others, paused or flowing at once. One that is gone by now is left out.

        Raises:
            SignalingError: The server refused one for another reason.
        """
        data = await self._request(
            "POST",
            "/consume",
            {
                "participantId": self.participant_id,
                "producerIds": list(producer_ids),
                "rtpCapabilities": rtp_capabilities,
                "paused": paused,
            },
        )
        made: list[Consumed] = []
        for item in _read(data, "consumers"):
            problem = item.get("error")
            if problem is None:
                made.append(
                    Consumed(
                        consumer_id=str(_read(item, "consumerId")),
                        producer_id=str(_read(item, "producerId")),
                        kind=_read(item, "kind"),
                        rtp_parameters=_read(item, "rtpParameters"),
                    )
                )
            elif problem.get("code") != "PRODUCER_NOT_FOUND":
                raise refusal("POST", f"consume of {item.get('producerId')}", 200, problem, {})
        return made

    async def resume(self, consumer_ids: Sequence[str]) -> None:
        """Let streams flow."""
        data = await self._request("POST", "/consumers/resume", {"consumerIds": list(consumer_ids)})
        for item in data.get("errors") or []:
            problem = item.get("error") or item
            if problem.get("code") != "CONSUMER_NOT_FOUND":
                raise refusal("POST", "consumers/resume", 200, problem, {})

    async def leave(self) -> None:
        """Leave the call; one that ended already is fine."""
        self._closing = True
        if not self._joined:
            return
        self._joined = False
        try:
            await self._request("POST", f"/participants/{quote(self.participant_id)}/leave", {})
        except ServerRefusedError as error:
            if error.http_status != 404:
                raise

    async def close(self) -> None:
        """Close the socket, without a word to the server. Idempotent."""
        self._closing = True
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.disconnect()
            await socket.shutdown()

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Json:
        return await self._rest.request(method, _room(self.call_id) + path, self._token, body)

    async def _open_socket(self) -> None:
        socket = self._socket = _AsyncClient(
            reconnection=False,
            handle_sigint=False,
            http_session=self._rest.session,
            serializer=FastPacket,
        )
        socket.on("new-producer", lambda data: self._announce(_announcement(data)))
        socket.on("producer-closed", lambda data: self.on_producer_closed(str(data["producerId"])))
        socket.on("room-closed", self._room_closed)
        socket.on("disconnect", self._disconnected)
        try:
            await socket.connect(
                self._rest.url,
                auth={"token": self._token},
                transports=["websocket"],
                wait_timeout=REQUEST_TIMEOUT_S,
            )
            await socket.emit("join-room", {"callId": self.call_id, "participantId": self.participant_id})
        except (socketio.exceptions.SocketIOError, TimeoutError) as error:
            raise late_or_broken(error)(
                f"{self.participant_id}: cannot open the socket to {self._rest.url}: {error}"
            ) from error

    def _announce(self, announcement: Announcement) -> None:
        if announcement.participant_id == self.participant_id or announcement.producer_id in self._announced:
            return
        self._announced.add(announcement.producer_id)
        self.on_producer(announcement)

    def _room_closed(self, data: Mapping[str, Any] | None = None) -> None:
        # The last one to leave closes the room, which is no surprise to those who left.
        if not self._closing:
            self.on_room_closed(str((data or {}).get("reason", "")))

    def _disconnected(self, reason: object = "") -> None:
        if not self._closing:
            self.on_disconnect(str(reason))


def transport_id(transport: Json) -> str:
    """Return the id in a server's description of a transport."""
    return str(transport.get("id") or transport["transportId"])


def refusal(
    method: str, path: str, status: int, error: object, headers: Mapping[str, str]
) -> ServerRefusedError:
    """Turn an error envelope into an exception that names what to change."""
    body = error if isinstance(error, dict) else {}
    code, message = str(body.get("code", "")), str(body.get("message", ""))
    text = f"{method} {path}: {code or f'HTTP {status}'}: {message or 'no message'}"
    if status == 429 or code == "RATE_LIMIT_EXCEEDED":
        limit = headers.get("X-RateLimit-Limit", "?")
        wait = headers.get("Retry-After") or body.get("retryAfter") or "?"
        text += (
            f" (limit {limit} per window, free again in {wait} s; the server's rate_* settings raise it, "
            "and a longer ramp meets it later)"
        )
    return ServerRefusedError(text, code=code, http_status=status)


def _announcement(data: Mapping[str, Any]) -> Announcement:
    return Announcement(
        str(_read(data, "producerId")), str(_read(data, "participantId")), _read(data, "kind")
    )


def _read(data: Mapping[str, Any], name: str) -> Any:
    """Take a field the contract promises."""
    try:
        return data[name]
    except (KeyError, TypeError) as error:
        raise SignalingError(f"the server's answer has no {name}: {str(data)[:200]}") from error


def _room(call_id: str) -> str:
    return f"/api/rooms/{quote(call_id)}"


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _ignore(_: object) -> None:
    """Ignore an event without a listener."""
