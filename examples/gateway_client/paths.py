"""The two paths media can take: straight to one other participant with aiortc, or through the media server with pymediasoup."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable

import aiohttp
from aiortc import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from pymediasoup import AiortcHandler, Device
from pymediasoup.rtp_parameters import RtpCapabilities

KINDS = ("audio", "video")


class RefusedError(Exception):
    """A service said no; the text says why."""


class Media:
    """What is sent by every path, and what was decoded: frames by mode of the call, participant and kind."""

    def __init__(self, on_first_frame: Callable[[str, str, str], None]) -> None:
        self._on_first_frame = on_first_frame
        self.frames: Counter[tuple[str, str, str]] = Counter()
        self._sources = (
            AudioStreamTrack(),
            VideoStreamTrack(),
        )  # silence and a green picture: put yours here
        self._relay = MediaRelay()
        self._arrived = asyncio.Event()
        self._playing: set[asyncio.Task] = set()

    def tracks(self) -> list:
        """Copies of the tracks to send: while a call changes its path, both paths send the same."""
        return [self._relay.subscribe(source) for source in self._sources]

    def play(self, track, mode: str, participant: str) -> None:
        """Decode a track until it ends. A real client shows the newer path from its first frame on."""
        task = asyncio.create_task(self._play(track, (mode, participant, track.kind)))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)

    async def _play(self, track, key: tuple[str, str, str]) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()
                self.frames[key] += 1
                if self.frames[key] == 1:
                    self._on_first_frame(*key)
                self._arrived.set()

    def tracks_of(self, participant: str) -> set[tuple[str, str]]:
        """What a participant has sent so far, by any path; if nothing, what is expected."""
        sent = {kind for _, sender, kind in self.frames if sender == participant}
        return {(participant, kind) for kind in sent or KINDS}

    async def arrives(self, mode: str, tracks: set[tuple[str, str]]) -> None:
        """Wait until frames of all these tracks arrive by the path of this mode."""
        before = self.frames.copy()  # of an earlier stay on the same path
        while any(self.frames[mode, *track] <= before[mode, *track] for track in tracks):
            self._arrived.clear()
            await self._arrived.wait()


class PeerPath:
    """The path to one other participant. One side makes the offer, the gateway says which."""

    def __init__(self, media: Media, peer: str, ice_servers: list[dict]) -> None:
        self.peer = peer
        self._connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(**one) for one in ice_servers]))
        for track in media.tracks():
            self._connection.addTrack(track)
        self._connection.on("track", lambda track: media.play(track, "p2p", peer))

    async def offer(self) -> str:
        """Return the offer; aiortc gathers all candidates first, so it needs no `ice-candidate` afterwards."""
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return self._connection.localDescription.sdp

    async def answer(self, offer: str) -> str:
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return self._connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def add_candidate(self, signal: dict) -> None:
        """Take a candidate of a peer that trickles them, as browsers do."""
        of = signal["candidate"] if isinstance(signal["candidate"], dict) else signal
        if of["candidate"]:
            candidate = candidate_from_sdp(of["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = of.get("sdpMid"), of.get("sdpMLineIndex")
            await self._connection.addIceCandidate(candidate)

    async def close(self) -> None:
        await self._connection.close()


class ServerPath:
    """The path through the media server. pymediasoup does not queue its operations: await them one by one."""

    def __init__(self, media: Media, call: str, participant: str, place: dict) -> None:
        """`place` is a join answer or a `call:mode-switch`: both say where the media server is."""
        self._media, self._participant = media, participant
        self._rooms = f"{place['mediaServerUrl']}/api/rooms/{call}"
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {place['mediaToken']}"})
        self._device = Device(AiortcHandler.createFactory(tracks=[]))
        self._known: set[str] = set()
        self._transports: list = []
        self.producer_ids: dict[str, str] = {}
        self.transport_ids: list[str] = []

    async def open(self) -> None:
        """Join the room, send, and receive what is there."""
        room = await self._ask("/join", {"participantId": self._participant})
        await self._device.load(RtpCapabilities(**room["rtpCapabilities"]))
        sending = self._transport(self._device.createSendTransport, room["sendTransport"])
        self._receiving = self._transport(self._device.createRecvTransport, room["recvTransport"])

        @sending.on("produce")
        async def produce(kind: str, rtpParameters, appData: dict) -> str:
            parameters = rtpParameters.model_dump(exclude_none=True)
            body = {"participantId": self._participant, "kind": kind, "rtpParameters": parameters}
            made = await self._ask(f"/transports/{sending.id}/produce", body)
            self.producer_ids[kind] = made["producerId"]
            return made["producerId"]

        for track in self._media.tracks():
            await sending.produce(track=track, stopTracks=False, appData={})
        for producer in room["producers"]:
            await self.receive(producer)

    async def receive(self, producer: dict) -> None:
        """Receive a track of another participant; it may be announced twice, and may be gone by now."""
        if producer["producerId"] in self._known:
            return
        self._known.add(producer["producerId"])
        capabilities = self._device.rtpCapabilities.model_dump(exclude_none=True)
        body = {
            "participantId": self._participant,
            "producerId": producer["producerId"],
            "rtpCapabilities": capabilities,
        }
        with contextlib.suppress(RefusedError):
            # Born paused, so that nothing is lost before this side is ready.
            made = await self._ask("/consume", body)
            consumer = await self._receiving.consume(
                id=made["consumerId"],
                producerId=made["producerId"],
                kind=made["kind"],
                rtpParameters=made["rtpParameters"],
            )
            self._media.play(consumer.track, "sfu", producer["participantId"])
            await self._ask(f"/consumers/{consumer.id}/resume")

    async def close(self) -> None:
        """Leave the room; the gateway removes it once nobody needs it."""
        with contextlib.suppress(RefusedError, aiohttp.ClientError):
            await self._ask(f"/participants/{self._participant}/leave")
        for transport in self._transports:
            await transport.close()
        await self._http.close()

    def _transport(self, make, described: dict):
        names = ("id", "iceParameters", "iceCandidates", "dtlsParameters", "sctpParameters")
        transport = make(**{name: described[name] for name in names})
        self._transports.append(transport)
        self.transport_ids.append(transport.id)

        @transport.on("connect")
        async def connect(dtls_parameters) -> None:
            body = {"dtlsParameters": dtls_parameters.model_dump(exclude_none=True)}
            await self._ask(f"/transports/{transport.id}/connect", body)

        return transport

    async def _ask(self, path: str, body: dict | None = None) -> dict:
        async with self._http.post(self._rooms + path, json=body) as response:
            answer = await response.json()
        if not answer["success"]:
            raise RefusedError(f"{path}: {answer['error']['message']}")
        return answer.get("data") or {}
