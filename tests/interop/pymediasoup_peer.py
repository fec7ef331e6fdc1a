"""A participant made of unmodified pymediasoup on aiortc; follows the single forms of the REST API."""

from __future__ import annotations

import asyncio
import fractions
import time
from typing import Any

import aioice.ice
import av
import numpy as np
from aiortc import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from pymediasoup import AiortcHandler, Device
from pymediasoup.rtp_parameters import RtpCapabilities, RtpParameters

from .stack import MediaServer

# aioice leaves the loopback out when it gathers; there is no other network in these tests.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"] if use_ipv4 else []


class Tone(AudioStreamTrack):
    """A 440 Hz tone, 20 ms a frame."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._start = 0.0

    async def recv(self) -> av.AudioFrame:
        if not self._start:
            self._start = time.monotonic()
        due = self._start + self._at / 48000
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        t = (np.arange(960) + self._at) / 48000
        samples = (np.sin(2 * np.pi * 440 * t) * 8000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, self._at, fractions.Fraction(1, 48000)
        self._at += 960
        return frame


class MovingBar(VideoStreamTrack):
    """A bright bar that moves over a grey picture of 320x180, 30 frames a second."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.full((180, 320, 3), 90, np.uint8)
        x = (self._count * 4) % 300
        picture[:, x : x + 20] = 230
        self._count += 1
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Sink:
    """Takes decoded frames of one track and counts them."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self.kind = track.kind
        self.frames = 0
        self.energy = 0.0
        self.longest_gap_s = 0.0
        self._last = 0.0
        self._task = asyncio.create_task(self._run(track))

    async def _run(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            now = time.monotonic()
            if self._last:
                self.longest_gap_s = max(self.longest_gap_s, now - self._last)
            self._last = now
            self.frames += 1
            if self.kind == "audio":
                self.energy = max(self.energy, float(np.abs(frame.to_ndarray()).max()))
            else:
                self.energy = max(self.energy, float(frame.to_ndarray(format="gray").max()))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class PyMediasoupPeer:
    """One participant; pymediasoup does not queue its operations, so they are awaited one by one."""

    def __init__(self, server: MediaServer, call_id: str, participant_id: str) -> None:
        self.server, self.call_id, self.participant_id = server, call_id, participant_id
        self.token = server.token(call_id, participant_id)
        self.device = Device(AiortcHandler.createFactory(tracks=[]))
        self.sinks: dict[str, Sink] = {}
        self._transports: list[Any] = []

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        return await self.server.api(method, f"/api/rooms/{self.call_id}{path}", self.token, body)

    async def load(self) -> None:
        room = await self.api("GET", "")
        await self.device.load(RtpCapabilities(**room["rtpCapabilities"]))

    async def _options(self, direction: str) -> dict[str, Any]:
        answer = await self.api(
            "POST", "/transports", {"participantId": self.participant_id, "direction": direction}
        )
        return {
            "id": answer["transportId"],
            "iceParameters": answer["iceParameters"],
            "iceCandidates": answer["iceCandidates"],
            "dtlsParameters": answer["dtlsParameters"],
            "sctpParameters": answer["sctpParameters"],
        }

    def _connectable(self, transport: Any) -> Any:
        self._transports.append(transport)

        @transport.on("connect")
        async def on_connect(dtls_parameters: Any) -> None:
            await self.api(
                "POST",
                f"/transports/{transport.id}/connect",
                {"dtlsParameters": dtls_parameters.dict(exclude_none=True)},
            )

        return transport

    async def produce(self, *tracks: MediaStreamTrack) -> list[str]:
        transport = self._connectable(self.device.createSendTransport(**await self._options("send")))

        # As applications do it: absent fields are dumped as null.
        @transport.on("produce")
        async def on_produce(kind: str, rtpParameters: RtpParameters, appData: dict[str, Any]) -> str:
            answer = await self.api(
                "POST",
                f"/transports/{transport.id}/produce",
                {
                    "participantId": self.participant_id,
                    "kind": kind,
                    "rtpParameters": rtpParameters.dict(),
                    "appData": appData,
                },
            )
            return str(answer["producerId"])

        ids = []
        for track in tracks:
            source = "microphone" if track.kind == "audio" else "camera"
            producer = await transport.produce(track=track, stopTracks=False, appData={"source": source})
            ids.append(producer.id)
        return ids

    async def consume(self, *producer_ids: str) -> None:
        transport = self._connectable(self.device.createRecvTransport(**await self._options("recv")))
        capabilities = self.device.rtpCapabilities.dict(exclude_none=True)
        for producer_id in producer_ids:
            answer = await self.api(
                "POST",
                "/consume",
                {
                    "participantId": self.participant_id,
                    "producerId": producer_id,
                    "rtpCapabilities": capabilities,
                },
            )
            consumer = await transport.consume(
                id=answer["consumerId"],
                producerId=producer_id,
                kind=answer["kind"],
                rtpParameters=answer["rtpParameters"],
            )
            self.sinks[producer_id] = Sink(consumer.track)
            await self.api("POST", f"/consumers/{consumer.id}/resume")

    async def close(self) -> None:
        for sink in self.sinks.values():
            await sink.close()
        for transport in self._transports:
            await transport.close()
