"""Media of an aiortc bot: what it sends, and receivers that measure what arrives.

Subclasses aiortc 1.16's sender and receiver at two narrow places (`_next_encoded_frame`, `_handle_rtp_packet`),
because it offers no public way to see encoded media. Transports are in aiortc_peer.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
)
from aiortc.rtcrtpreceiver import RemoteStreamTrack, RTCRtpReceiver
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender
from aiortc.rtp import RtpPacket
from aiortc.utils import random32
from av import AudioFrame, Packet
from av.frame import Frame

from simulator.bots import stamp
from simulator.bots.clip import FPS, SAMPLE_RATE, Clip, tone, video_frames
from simulator.bots.frame_check import Sample
from simulator.bots.stream_stats import StreamStats
from simulator.client.media_server import Json
from simulator.samples.schema import KINDS, SAMPLE_KEY

LATE_S = 0.005
"""Media that is sent more than this after it was due is a late send."""
SentFrame = tuple[int, int, int, int, int, int, int]
"""One row of the table of sent frames."""
_GIVE_UP_S = 1.0
_STAMPS_REMEMBERED = 600
Playout = tuple[int, int, int, int, int]
"""One row of the playout table."""
_SYNTHETIC_LOOP = 2 * FPS


class SendClock:
    """When media is due, and how often it was late."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._next_s: float | None = None
        self.sends = 0
        self.late = 0

    async def wait(self) -> None:
        """Return when the next frame is due."""
        now = time.monotonic()
        due = now if self._next_s is None else self._next_s
        if due > now:
            await asyncio.sleep(due - now)
            now = time.monotonic()
        self.sends += 1
        self.late += now - due > LATE_S
        # After a long stall media resumes from now; what was missed is skipped, not sent in a burst.
        self._next_s = now if now - due > _GIVE_UP_S else due + self._period_s


class ClipVideo(MediaStreamTrack):
    """The clip's video, already encoded; starts at a key frame, and continues at the next one on request."""

    kind = "video"
    number: int | None = None
    """Number of the last frame returned, if frames are numbered; the stamp then carries it."""
    key = False
    """Whether the last frame returned is known to be a key frame."""

    def __init__(self, clip: Clip, clock: SendClock) -> None:
        super().__init__()
        self._frames = clip.video
        self._clock = clock
        self._at = 0
        self._pts = 0

    def request_key_frame(self) -> None:
        """Continue at the next key frame of the clip."""
        self._at = next(
            (i for i in range(self._at, len(self._frames)) if self._frames[i].key),
            0,
        )

    async def recv(self) -> Packet[Any]:
        """Return the next frame when it is due."""
        await self._clock.wait()
        packet = Packet(self._frames[self._at].data)
        packet.pts, packet.time_base = self._pts, Fraction(1, FPS)
        self._at, self._pts = (self._at + 1) % len(self._frames), self._pts + 1
        return packet


class ClipAudio(MediaStreamTrack):
    """The clip's audio, already encoded."""

    kind = "audio"
    number: int | None = None
    """Number of the last packet returned, if packets are numbered; each is then stamped with it."""
    key = False

    def __init__(self, clip: Clip, clock: SendClock) -> None:
        super().__init__()
        self._packets = clip.audio
        self._clock = clock
        self._pts = 0
        self.level = 127
        """Level of the last packet returned, as in RFC 6464."""

    async def recv(self) -> Packet[Any]:
        """Return the next 20 ms when they are due."""
        await self._clock.wait()
        current = self._packets[self._pts % len(self._packets)]
        self.level = current.level
        packet = Packet(current.data)
        packet.pts, packet.time_base = self._pts * 960, Fraction(1, SAMPLE_RATE)
        self._pts += 1
        return packet


class SyntheticVideo(MediaStreamTrack):
    """A moving pattern, encoded live by aiortc."""

    kind = "video"

    def __init__(self, clock: SendClock) -> None:
        super().__init__()
        self._frames = list(video_frames(_SYNTHETIC_LOOP))
        self._clock = clock
        self._pts = 0

    async def recv(self) -> Frame:
        """Return the next frame when it is due."""
        await self._clock.wait()
        frame = self._frames[self._pts % len(self._frames)]
        frame.pts, frame.time_base = self._pts, Fraction(1, FPS)
        self._pts += 1
        return frame


class SyntheticAudio(MediaStreamTrack):
    """A tone, encoded live by aiortc."""

    kind = "audio"

    def __init__(self, clock: SendClock) -> None:
        super().__init__()
        self._clock = clock
        self._pts = 0

    async def recv(self) -> Frame:
        """Return the next 20 ms when they are due."""
        await self._clock.wait()
        frame = AudioFrame.from_ndarray(tone(self._pts)[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), self._pts * 960
        self._pts += 1
        return frame


class StampingSender(RTCRtpSender):
    """Sends a track, and puts a stamp into every video frame and every n-th audio packet."""

    def __init__(
        self,
        track: MediaStreamTrack,
        transport: RTCDtlsTransport,
        bot: int,
        on_sent: Callable[[SentFrame], None],
        audio_stamp_every: int = 1,
    ) -> None:
        super().__init__(track, transport)
        self._bot = bot
        self._on_sent = on_sent
        self._audio_stamp_every = audio_stamp_every
        self._source = track
        self._frames = 0
        self._stamps = 0

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame = await super()._next_encoded_frame(codec)
        if frame is None:
            return None
        if isinstance(self._source, ClipAudio):
            # aiortc measures the level of raw audio only; without a level the server detects no active speaker.
            frame.audio_level = -self._source.level
        self._frames += 1
        source = self._source if isinstance(self._source, ClipVideo | ClipAudio) else None
        number = source.number if source is not None else None
        if self.kind == "video" or number is not None or self._frames % self._audio_stamp_every == 0:
            flags = stamp.KEY_FRAME if source is not None and source.key else 0
            sequence = self._stamps if number is None else number
            self._stamp(frame.payloads, sequence, flags, frame.timestamp)
        return frame

    def _stamp(self, payloads: list[bytes], sequence: int, flags: int, timestamp: int) -> None:
        """Put a stamp at the end of a frame, and record that it was sent.

        aiortc adds to the timestamp what is the same for all frames of the stream.
        """
        if self.kind == "video":
            media = [payload[stamp.descriptor_length(payload) :] for payload in payloads]
            last: bytes | None = payloads[-1]
        else:
            padded = stamp.pad_opus(payloads[-1], bytes(stamp.SIZE))
            last = None if padded is None else padded[: -stamp.SIZE]
            media = [] if last is None else [last]
        if last is None:
            return
        mark = stamp.Stamp(
            self._bot,
            sequence,
            time.time_ns(),
            flags | (stamp.VIDEO if self.kind == "video" else 0),
            stamp.frame_sum(media),
            len(payloads),
            timestamp,
        )
        payloads[-1] = last + stamp.encode(mark)
        self._stamps += 1
        number = KINDS.index("video" if self.kind == "video" else "audio")
        key = SAMPLE_KEY if flags & stamp.KEY_FRAME else 0
        size = sum(map(len, payloads))
        self._on_sent((mark.bot, number, key, mark.packets, size, mark.seq & 0xFFFFFFFF, mark.unix_ns))

    def _send_keyframe(self) -> None:
        super()._send_keyframe()
        if isinstance(self._source, ClipVideo):
            self._source.request_key_frame()


class MeasuringReceiver(RTCRtpReceiver):
    """Receives one stream, measures every packet as it arrives, and decodes."""

    def __init__(
        self,
        kind: str,
        transport: RTCDtlsTransport,
        meter: StreamStats,
        on_sample: Callable[[Sample], None],
        on_playout: Callable[[Playout], None],
    ) -> None:
        super().__init__(kind, transport)
        self.meter = meter
        self._on_sample = on_sample
        self._on_playout = on_playout
        self._stamped: dict[int, int] = {}
        self._ssrc = self._rtx_ssrc = 0
        self._decoding: asyncio.Task[None] | None = None
        self._track = RemoteStreamTrack(kind)
        self._set_rtcp_ssrc(random32())

    async def start(self, rtp_parameters: Json) -> None:
        """Take the server's parameters and get ready; the stream may flow afterwards."""
        encoding = rtp_parameters["encodings"][0]
        self._ssrc = int(encoding["ssrc"])
        self._rtx_ssrc = int((encoding.get("rtx") or {}).get("ssrc", 0))
        await self.receive(_receive_parameters(rtp_parameters, self._ssrc, self._rtx_ssrc))
        self._decoding = asyncio.create_task(self._decode())

    async def close(self) -> None:
        """Stop receiving. Idempotent."""
        await self.stop()
        self.meter.end()
        self._flush()
        if self._decoding is not None:
            self._decoding.cancel()
            await asyncio.gather(self._decoding, return_exceptions=True)
            self._decoding = None

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        now_ns = time.time_ns()
        size = len(packet.payload) + packet.padding_size
        sample = None
        # Only video has several packets to a frame, and marks the last.
        frame = (packet.timestamp, bool(packet.marker) or not self.meter.kind)
        if packet.ssrc == self._ssrc:
            sample = self.meter.original(
                packet.sequence_number, packet.payload, size, now_ns, timestamp=frame[0], marker=frame[1]
            )
        elif packet.ssrc == self._rtx_ssrc and len(packet.payload) > 2:
            number = int.from_bytes(packet.payload[:2], "big")
            sample = self.meter.retransmission(
                number, packet.payload[2:], size, now_ns, timestamp=frame[0], marker=frame[1]
            )
        else:
            return  # aiortc hands over packets of unknown streams when their payload type fits
        self._flush()
        if sample is not None:
            self._on_sample(sample)
            self._stamped[packet.timestamp] = now_ns - sample[6]
            if len(self._stamped) > _STAMPS_REMEMBERED:
                del self._stamped[next(iter(self._stamped))]
        await super()._handle_rtp_packet(packet, arrival_time_ms)

    def _flush(self) -> None:
        for sample in self.meter.take_given_up():
            self._on_sample(sample)

    async def _decode(self) -> None:
        """Take decoded frames as soon as they come out of the decoder."""
        try:
            while True:
                frame = await self._track.recv()  # type: ignore[union-attr]
                self._note_playout(frame)
                if isinstance(frame, AudioFrame):
                    self.meter.audio_frame(_energy(frame))
                else:
                    self.meter.video_frame(time.time_ns())
        except MediaStreamError:
            return

    def _note_playout(self, frame: Frame) -> None:
        """Record the time from a frame's stamp until now, if it had one."""
        # aiortc counts a frame's time from the stream's first; its mapper knows where that was.
        origin = self._RTCRtpReceiver__timestamp_mapper._origin  # type: ignore[attr-defined]
        if frame.pts is None or origin is None:
            return
        stamped_ns = self._stamped.pop((frame.pts + origin) & 0xFFFFFFFF, None)
        if stamped_ns is not None:
            now_ns = time.time_ns()
            meter = self.meter
            self._on_playout((meter.receiver, meter.sender, meter.kind, now_ns, now_ns - stamped_ns))


def _energy(frame: AudioFrame) -> float:
    """Measure the energy of audio: mean square of full-scale samples times seconds."""
    values = frame.to_ndarray().astype(np.float64) / 32768.0
    return float(np.mean(values**2)) * frame.samples / frame.sample_rate


def codec_parameters(codec: Json) -> RTCRtpCodecParameters:
    """Turn a codec of the wire into aiortc's."""
    return RTCRtpCodecParameters(
        mimeType=codec["mimeType"],
        clockRate=codec["clockRate"],
        channels=codec.get("channels"),
        payloadType=codec["payloadType"],
        parameters=codec.get("parameters") or {},
    )


def extension_parameters(rtp_parameters: Json) -> list[RTCRtpHeaderExtensionParameters]:
    """Turn the header extensions of the wire into aiortc's."""
    return [
        RTCRtpHeaderExtensionParameters(id=e["id"], uri=e["uri"])
        for e in rtp_parameters.get("headerExtensions") or []
    ]


def _receive_parameters(rtp_parameters: Json, ssrc: int, rtx_ssrc: int) -> RTCRtpReceiveParameters:
    codecs = [codec_parameters(c) for c in rtp_parameters["codecs"]]
    media_type: Any = codecs[0].payloadType
    encodings = [
        RTCRtpDecodingParameters(
            ssrc=ssrc,
            payloadType=media_type,
            rtx=RTCRtpRtxParameters(ssrc=rtx_ssrc) if rtx_ssrc else None,
        )
    ]
    if rtx_ssrc:
        # Packets are routed by the SSRCs of encodings only.
        encodings.append(RTCRtpDecodingParameters(ssrc=rtx_ssrc, payloadType=media_type))
    return RTCRtpReceiveParameters(
        codecs=codecs,
        headerExtensions=extension_parameters(rtp_parameters),
        muxId=str(rtp_parameters.get("mid") or ""),
        encodings=encodings,
    )
