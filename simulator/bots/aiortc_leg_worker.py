"""A child process with one aiortc bot: its legs to media servers and to peers, and what it receives.

Legs to a server are the ORTC objects of aiortc_peer.py; a leg to a peer is a whole RTCPeerConnection with real SDP,
whose senders and receivers stamp and measure like the others. Which leg a track is shown from is decided by bots/leg_selector.py.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any, BinaryIO

import aiortc.rtcpeerconnection
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.sdp import candidate_from_sdp
from av import Packet

from simulator.bots.aiortc_media import (
    ClipAudio,
    ClipVideo,
    MeasuringReceiver,
    Playout,
    SendClock,
    SentFrame,
    StampingSender,
)
from simulator.bots.aiortc_peer import NOT_COUNTED, Peer, Reach, Tally, selected
from simulator.bots.aiortc_worker import Worker, main
from simulator.bots.clip import FPS, SAMPLE_RATE, AudioPacket, Clip, VideoFrame
from simulator.bots.frame_check import Sample
from simulator.bots.leg_selector import FrameSequence, LegSelector
from simulator.bots.stream_stats import StreamStats
from simulator.client.media_server import Json
from simulator.samples.schema import (
    KINDS,
    NEVER_WHOLE,
    SAMPLE_KEY,
    SAMPLE_SHOWN,
    SAMPLE_SURPLUS,
    Kind,
)
from simulator.scenario import Network

_PERIOD_S = {"audio": 0.02, "video": 1 / FPS}


class NumberedClock(SendClock):
    """When the frames of one leg are due; all legs of a bot number them alike."""

    def __init__(self, origin_s: float, period_s: float) -> None:
        super().__init__(period_s)
        self.number = -1
        self._origin_s = origin_s

    async def wait(self) -> None:
        """Return when the next frame is due."""
        now = time.monotonic()
        soonest = math.ceil((now - self._origin_s) / self._period_s)
        behind = self.number >= 0 and soonest - self.number <= 1 / self._period_s
        # After a short delay frames are sent faster, after a long one they are skipped.
        self.number = self.number + 1 if behind else max(soonest, self.number + 1)
        due = self._origin_s + self.number * self._period_s
        if due > now:
            await asyncio.sleep(due - now)
        self.sends += 1
        self.late += time.monotonic() - due > self._period_s / 4


class LegVideo(ClipVideo):
    """The bot's video, as one leg sends it; begins with a key frame."""

    def __init__(self, clip: Clip, clock: NumberedClock, sequence: FrameSequence[VideoFrame]) -> None:
        super().__init__(clip, clock)
        self._numbers = clock
        self._sequence = sequence
        self._begun = False

    def request_key_frame(self) -> None:
        """Continue with a key frame, on all legs."""
        self._sequence.request_key_frame()

    async def recv(self) -> Packet[Any]:
        """Return the next frame when it is due."""
        await self._clock.wait()
        if not self._begun:
            self._begun = True
            self._sequence.request_key_frame()
        self.number = self._numbers.number
        frame = self._sequence.choose(self.number)
        self.key = frame.key
        packet = Packet(frame.data)
        packet.pts, packet.time_base = self.number, Fraction(1, FPS)
        return packet


class LegAudio(ClipAudio):
    """The bot's audio, as one leg sends it."""

    def __init__(self, clip: Clip, clock: NumberedClock, sequence: FrameSequence[AudioPacket]) -> None:
        super().__init__(clip, clock)
        self._numbers = clock
        self._sequence = sequence

    async def recv(self) -> Packet[Any]:
        """Return the next 20 ms when they are due."""
        await self._clock.wait()
        self.number = self._numbers.number
        current = self._sequence.choose(self.number)
        self.level = current.level
        packet = Packet(current.data)
        packet.pts, packet.time_base = self.number * 960, Fraction(1, SAMPLE_RATE)
        return packet


class LegContext:
    """What the legs of this process's bot share: what it sends, what it receives, and where both are recorded."""

    def __init__(
        self,
        participant: int,
        clip: Clip,
        samples: list[Sample],
        playouts: list[Playout],
        notice: Callable[..., None],
        *,
        sent: list[SentFrame],
    ) -> None:
        self.participant = participant
        self.clip = clip
        self.selector = LegSelector()
        self.playouts = playouts
        self.sent = sent
        self.clocks: list[SendClock] = []
        self._samples = samples
        self._notice = notice
        self._origin_s = time.monotonic() - 1
        self._video = FrameSequence(list(clip.video), lambda frame: frame.key)
        self._audio = FrameSequence(list(clip.audio), lambda _: True)

    def track(self, kind: Kind) -> LegVideo | LegAudio:
        """Make a track for a new leg."""
        clock = NumberedClock(self._origin_s, _PERIOD_S[kind])
        self.clocks.append(clock)
        if kind == "video":
            return LegVideo(self.clip, clock, self._video)
        return LegAudio(self.clip, clock, self._audio)

    def viewer(self, leg: int) -> Callable[[Sample], None]:
        """Return what takes the samples of a leg: shows their frames or does not, and keeps them."""
        decodable: set[int] = set()

        def take(sample: Sample) -> None:
            _, sender, kind, flags, number = sample[:5]
            if sample[7] == NEVER_WHOLE:
                self._samples.append(sample)
                return
            if flags & SAMPLE_KEY or KINDS[kind] == "audio":
                decodable.add(sender << 1 | kind)
            shown = entered = False
            if sender << 1 | kind in decodable:
                shown, entered = self.selector.take(leg, sender, KINDS[kind], number)
            flags |= SAMPLE_SHOWN if shown else SAMPLE_SURPLUS
            self._samples.append((*sample[:3], flags, *sample[4:]))
            if entered:
                self._notice("entered", leg=leg, sender=sender, kind=KINDS[kind])

        return take


class ServerLegPeer(Peer):
    """A leg to a media server."""

    def __init__(
        self, leg: int, context: LegContext, network: Network, reach: Reach, notice: Callable[..., None]
    ) -> None:
        super().__init__(
            context.participant,
            clip=context.clip,
            synthetic=False,
            network=network,
            seeds=(leg, leg + 1),
            on_sample=context.viewer(leg),
            on_playout=context.playouts.append,
            on_sent=context.sent.append,
            notice=lambda event, **values: notice(event, leg=leg, **values),
            reach=reach,
        )
        self._context = context

    def _track(self, kind: Kind, clock: SendClock) -> LegVideo | LegAudio:
        return self._context.track(kind)


class _PeerReceiver(MeasuringReceiver):
    """A receiver that a peer connection starts with what the remote SDP says."""

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Receive, measure and decode."""
        if parameters.encodings:
            encoding = parameters.encodings[0]
            self._ssrc = encoding.ssrc
            self._rtx_ssrc = encoding.rtx.ssrc if encoding.rtx else 0
        await super().receive(parameters)
        if self._decoding is None:
            self._decoding = asyncio.create_task(self._decode())


class PeerLeg:
    """A leg to a peer, without a server. :meth:`open` first; :meth:`close` ends it and may be repeated."""

    making: PeerLeg | None = None
    """The leg whose connection is being made: aiortc makes senders and receivers itself."""

    def __init__(
        self, leg: int, peer: int, context: LegContext, reach: Reach, notice: Callable[..., None]
    ) -> None:
        self._leg = leg
        self._peer = peer
        self._context = context
        self._notice = notice
        self._receivers: list[_PeerReceiver] = []
        self._closed = False
        self._reach = reach
        # Set even when empty: aiortc's default is a STUN server on the internet.
        self._connection = RTCPeerConnection(
            RTCConfiguration(list(reach.servers), reach.policy, RTCBundlePolicy.MAX_BUNDLE)
        )
        self._connection.on("connectionstatechange", self._changed)

    async def open(self, offer: str | None) -> str:
        """Return an offer, or the answer to the one that is passed."""
        PeerLeg.making = self
        try:
            for kind in KINDS:
                self._connection.addTrack(self._context.track(kind))
        finally:
            PeerLeg.making = None
        if offer is None:
            await self._connection.setLocalDescription(await self._connection.createOffer())
        else:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await self._connection.setLocalDescription(await self._connection.createAnswer())
        description = str(self._connection.localDescription.sdp)
        self._reach.check(re.findall(r"^a=candidate:.* typ (\w+)", description, re.M))
        return description

    async def accept(self, answer: str) -> None:
        """Take the answer to its offer, and connect."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def add_candidate(self, text: str) -> None:
        """Take a candidate that came later."""
        candidate = candidate_from_sdp(text.removeprefix("candidate:"))
        candidate.sdpMLineIndex = 0
        await self._connection.addIceCandidate(candidate)

    def tally(self) -> Tally:
        """Count its samples, the stamps it could not read and jumps of timestamps; a peer's connection shows no more."""
        meters = [receiver.meter for receiver in self._receivers]
        damaged, jumps = sum(m.damaged_stamps for m in meters), sum(m.timestamp_jumps for m in meters)
        return sum(m.stamps for m in meters), 0, 0, 0, 0, damaged, jumps

    async def close(self) -> None:
        """End it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(receiver.close() for receiver in self._receivers), return_exceptions=True)
        await self._connection.close()

    def make_receiver(self, kind: str, transport: Any) -> RTCRtpReceiver:
        """Make a receiver of this leg."""
        number = 0 if kind == "audio" else 1
        meter = StreamStats(receiver=self._context.participant, sender=self._peer, kind=number, decodes=True)
        take, playout = self._context.viewer(self._leg), self._context.playouts.append
        receiver = _PeerReceiver(kind, transport, meter, take, playout)
        self._receivers.append(receiver)
        return receiver

    def make_sender(self, track: Any, transport: Any) -> RTCRtpSender:
        """Make a sender of this leg."""
        return StampingSender(track, transport, self._context.participant, self._context.sent.append)

    def _ice_connection(self) -> Any:
        return self._connection.getSenders()[0].transport.transport._connection

    def _changed(self) -> None:
        state = self._connection.connectionState
        if not self._closed:
            pair = selected(self._ice_connection()) if state == "connected" else {}
            self._notice("dtls", leg=self._leg, which="recv", state=state, **pair)
            if state in ("failed", "closed"):
                self._context.selector.retire(self._leg)
                self._notice("closed", leg=self._leg, which="recv", reason=f"connection {state}")


def _make_sender(track: Any, transport: Any) -> RTCRtpSender:
    leg = PeerLeg.making
    return RTCRtpSender(track, transport) if leg is None else leg.make_sender(track, transport)


def _make_receiver(kind: str, transport: Any) -> RTCRtpReceiver:
    leg = PeerLeg.making
    return RTCRtpReceiver(kind, transport) if leg is None else leg.make_receiver(kind, transport)


class LegWorker(Worker):
    """The bot of this process."""

    def __init__(self, output: BinaryIO) -> None:
        super().__init__(output)
        self._context: LegContext | None = None
        self._legs: dict[int, PeerLeg] = {}
        self._ended: list[Tally] = []
        """What legs counted that are closed."""
        # aiortc offers no way to bring one's own senders and receivers to a connection.
        aiortc.rtcpeerconnection.RTCRtpSender = _make_sender  # type: ignore[attr-defined, assignment]
        aiortc.rtcpeerconnection.RTCRtpReceiver = _make_receiver  # type: ignore[attr-defined, assignment]

    async def close(self) -> None:
        """End all legs."""
        await asyncio.gather(*(leg.close() for leg in self._legs.values()), return_exceptions=True)
        await super().close()

    async def _do(self, order: Json) -> Any:
        match order["do"]:
            case "server_leg":
                network = Network.model_validate(self._settings["network"])
                context = self._shared(order["participant"])
                reach = self._reach(order)
                self._peers[order["bot"]] = ServerLegPeer(order["bot"], context, network, reach, self._notice)
                return None
            case "peer_leg":
                context = self._shared(order["participant"])
                leg = PeerLeg(order["bot"], order["peer"], context, self._reach(order), self._notice)
                self._legs[order["bot"]] = leg
                return await leg.open(order["offer"])
            case "accept":
                return await self._legs[order["bot"]].accept(order["answer"])
            case "candidate":
                return await self._legs[order["bot"]].add_candidate(order["candidate"])
            case "prefer":
                return self._shared(order["participant"]).selector.prefer(order["bot"])
            case "close" if order["bot"] in self._legs:
                self._retire(order["bot"])
                return await self._end(self._legs.pop(order["bot"]))
            case "close":
                self._retire(order["bot"])
                return await self._end(self._peers.pop(order["bot"]))
            case _:
                return await super()._do(order)

    def _collect(self, tick: int) -> Json:
        collected = super()._collect(tick)
        clocks = self._context.clocks if self._context is not None else []
        collected["generator"] |= {
            "sends": sum(clock.sends for clock in clocks),
            "late_sends": sum(clock.late for clock in clocks),
        }
        return collected

    async def _end(self, leg: PeerLeg | Peer) -> None:
        """Close a leg and keep what it counted."""
        await leg.close()
        self._ended.append(leg.tally())

    def _receivers(self, tick: int) -> list[tuple[int | None, ...]]:
        if self._context is None:
            return []
        open_ones = [peer.tally() for peer in self._peers.values()]
        tallies = [*open_ones, *(leg.tally() for leg in self._legs.values()), *self._ended]
        total = (sum(counts) for counts in zip(*tallies, strict=True)) if tallies else (0,) * 7
        return [(tick, time.time_ns(), self._context.participant, *total, *NOT_COUNTED)]

    def _reach(self, order: Json) -> Reach:
        return Reach.of(order["ice_servers"], relay_only=self._settings["relay_only"])

    def _retire(self, leg: int) -> None:
        if self._context is not None:
            self._context.selector.retire(leg)

    def _shared(self, participant: int) -> LegContext:
        if self._context is None:
            if self._clip is None:
                raise RuntimeError("a leg before setup")
            self._context = LegContext(
                participant, self._clip, self._samples, self._playouts, self._notice, sent=self._sent
            )
        return self._context


if __name__ == "__main__":
    main(LegWorker)
