"""One aiortc bot inside its child process: two transports, its senders and its receivers.

Uses aiortc's ORTC objects directly: ICE, DTLS, sender and receiver take the server's parameters as they are, so there
is no SDP, a new consumer costs the same as the first, and nothing is renegotiated.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pylibsrtp
from aioice import ice as aioice_ice
from aiortc import (
    RTCCertificate,
    RTCIceCandidate,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceServer,
    RTCIceTransport,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtcpParameters, RTCRtpSendParameters

from simulator.bots.aiortc_media import (
    ClipAudio,
    ClipVideo,
    MeasuringReceiver,
    Playout,
    SendClock,
    SentFrame,
    StampingSender,
    SyntheticAudio,
    SyntheticVideo,
    codec_parameters,
    extension_parameters,
)
from simulator.bots.clip import FPS, Clip
from simulator.bots.frame_check import Sample
from simulator.bots.netem import EmulatedLink
from simulator.bots.strangers import Strangers
from simulator.bots.stream_stats import Pause, StreamStats
from simulator.client.media_server import Direction, Json
from simulator.samples.schema import KINDS, Kind
from simulator.scenario import Network

Notice = Callable[..., None]
"""Takes ``(event, **values)``."""

_AUDIO_TYPE, _VIDEO_TYPE, _RTX_TYPE = 96, 97, 98
_MID_ID, _LEVEL_ID, _ABS_SEND_TIME_ID = 1, 2, 3
_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
_ABS_SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
_TIMER_STEP_S = 0.001
"""The event loop's timers have this resolution."""


def use_address(bind: str) -> None:
    """Let ICE use this local address alone; aioice leaves out loopback, where most runs happen."""
    aioice_ice.get_host_addresses = lambda use_ipv4, use_ipv6: [bind]


@dataclass(frozen=True, slots=True)
class Reach:
    """How a bot finds candidates."""

    servers: tuple[RTCIceServer, ...] = ()
    """STUN and TURN servers; aiortc uses the first of each."""
    relay_only: bool = False

    @classmethod
    def of(cls, servers: Sequence[Json], *, relay_only: bool) -> Reach:
        """Take the `iceServers` of the gateway."""
        known = []
        for server in servers:
            urls = [server["urls"]] if isinstance(server["urls"], str) else list(server["urls"])
            # aiortc knows no address in brackets, and refuses all URLs because of a malformed one.
            urls = [url for url in urls if "[" not in url]
            if urls:
                known.append(RTCIceServer(urls, server.get("username"), server.get("credential")))
        return cls(tuple(known), relay_only)

    @property
    def policy(self) -> RTCIceTransportPolicy:
        """Which candidates may be used."""
        return RTCIceTransportPolicy.RELAY if self.relay_only else RTCIceTransportPolicy.ALL

    def check(self, types: Sequence[str]) -> None:
        """Check that there are candidates to connect with.

        Raises:
            ConnectionError: Only relays may be used, and no TURN server gave one.
        """
        if self.relay_only and "relay" not in types:
            urls = [url for server in self.servers for url in server.urls if url.startswith("turn")]
            if not urls:
                raise ConnectionError("only relays may be used, and the gateway names no TURN server")
            raise ConnectionError(
                f"only relays may be used, and {urls[0]} gave none; `meeshy doctor` finds out why"
            )


def selected(connection: Any) -> Json:
    """Return the types of the local and the remote candidate that an aioice connection uses."""
    pair = connection._nominated.get(1)
    if pair is None:
        return {}
    return {"local": pair.local_candidate.type, "remote": pair.remote_candidate.type}


class Transport:
    """ICE and DTLS towards one transport of the server, with the emulated network at its socket."""

    def __init__(self, which: Direction, certificate: RTCCertificate, reach: Reach) -> None:
        self._reach = reach
        self._gatherer = RTCIceGatherer(iceServers=list(reach.servers), iceTransportPolicy=reach.policy)
        self._ice = RTCIceTransport(self._gatherer)
        self.dtls = RTCDtlsTransport(self._ice, [certificate])
        # The server offers both roles; mediasoup's clients take the client's.
        self.dtls._set_role("client")
        self.which = which
        self.connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._strangers: Strangers | None = None

    async def connect(
        self, server: Json, up: EmulatedLink | None, down: EmulatedLink | None, notice: Notice
    ) -> None:
        """Begin; `connected` is set, or `notice` gets `closed`, when it is decided."""
        await self._gatherer.gather()
        connection = self._ice._connection
        self._reach.check([candidate.type for candidate in connection.local_candidates])
        connection.ice_controlling = True
        if up is not None and down is not None:
            impair(connection, up, down)
        for candidate in server["iceCandidates"]:
            if candidate["protocol"] == "udp":
                await self._ice.addRemoteCandidate(
                    RTCIceCandidate(
                        component=1,
                        foundation=candidate["foundation"],
                        ip=candidate.get("ip") or candidate["address"],
                        port=candidate["port"],
                        priority=candidate["priority"],
                        protocol="udp",
                        type="host",
                    )
                )
        await self._ice.addRemoteCandidate(None)
        self._task = asyncio.create_task(self._run(server, notice))

    def watch(self, strangers: Strangers) -> None:
        """Count what comes here and belongs to no stream."""
        self._strangers = strangers
        router = self.dtls._rtp_router
        route = router.route_rtp

        def counted(packet: Any) -> Any:
            known = router.ssrc_table.get(packet.ssrc)
            if known is None:
                strangers.packet(packet.ssrc, time.time_ns())
            elif known not in router.payload_type_table.get(packet.payload_type, ()):
                strangers.payload_type += 1
            return route(packet)

        router.route_rtp = counted  # type: ignore[method-assign]

    def fingerprints(self) -> list[Json]:
        """Return the certificate's fingerprint as the wire carries it."""
        return [
            {"algorithm": f.algorithm, "value": f.value}
            for f in self.dtls.getLocalParameters().fingerprints
            if f.algorithm == "sha-256"
        ]

    async def close(self) -> None:
        """Close DTLS and the socket. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.dtls.stop()
        await self._ice.stop()

    async def _run(self, server: Json, notice: Notice) -> None:
        ice, dtls = server["iceParameters"], server["dtlsParameters"]
        await self._ice.start(
            RTCIceParameters(
                usernameFragment=ice["usernameFragment"],
                password=ice["password"],
                iceLite=bool(ice.get("iceLite", True)),
            )
        )
        notice("ice", which=self.which, state=self._ice.state, **selected(self._ice._connection))
        if self._ice.state != "completed":
            notice("closed", which=self.which, reason=f"ICE {self._ice.state}")
            return
        await self.dtls.start(
            RTCDtlsParameters(
                fingerprints=[
                    RTCDtlsFingerprint(algorithm=f["algorithm"], value=f["value"])
                    for f in dtls["fingerprints"]
                ]
            )
        )
        notice("dtls", which=self.which, state=self.dtls.state)
        if self._strangers is not None and self.dtls.state == "connected":
            session: Any = _CountingSession(self.dtls._rx_srtp, self._strangers)
            self.dtls._rx_srtp = session
        if self.dtls.state != "connected":
            notice("closed", which=self.which, reason=f"DTLS {self.dtls.state}")
            return
        self.connected.set()

        def changed() -> None:
            if self.dtls.state in ("closed", "failed"):
                notice("closed", which=self.which, reason=f"DTLS {self.dtls.state}")

        self.dtls.on("statechange", changed)


Tally = tuple[int, int, int, int, int, int, int]
"""Samples, what could not be attributed (SSRC, SSRC that may be announced, authentication, payload type, stamp), and jumps of RTP
timestamps."""
NOT_COUNTED = (None,) * 8
"""Columns of the table of receivers behind those: what is malformed, and all about RTCP."""


class _CountingSession:
    """An SRTP session that counts what fails authentication; what came before is refused too, and not counted."""

    def __init__(self, session: Any, strangers: Strangers) -> None:
        self._session = session
        self._strangers = strangers

    def unprotect(self, data: bytes) -> bytes:
        return self._open(self._session.unprotect, data)

    def unprotect_rtcp(self, data: bytes) -> bytes:
        return self._open(self._session.unprotect_rtcp, data)

    def _open(self, take: Callable[[bytes], bytes], data: bytes) -> bytes:
        try:
            return take(data)
        except pylibsrtp.Error as error:
            self._strangers.unauthentic += "replay" not in str(error)
            raise


class Peer:
    """One aiortc bot. :meth:`close` ends all of it and may be repeated."""

    def __init__(
        self,
        number: int,
        *,
        clip: Clip,
        synthetic: bool,
        network: Network,
        seeds: tuple[int, int],
        on_sample: Callable[[Sample], None],
        on_playout: Callable[[Playout], None],
        on_sent: Callable[[SentFrame], None],
        notice: Notice,
        reach: Reach = Reach(),
        audio_stamp_every: int = 1,
    ) -> None:
        self.number = number
        self._reach = reach
        self._clip = clip
        self._synthetic = synthetic
        self._network = network
        self._seeds = seeds
        self._on_sample = on_sample
        self._on_playout = on_playout
        self._on_sent = on_sent
        self._audio_stamp_every = audio_stamp_every
        self._notice = notice
        self._strangers = Strangers()
        self._transports: dict[Direction, Transport] = {}
        self._senders: dict[Kind, tuple[StampingSender, RTCRtpSendParameters]] = {}
        self._receivers: list[MeasuringReceiver] = []
        self.clocks: list[SendClock] = []
        self.closed = False

    async def connect(self, which: Direction, server: Json) -> Json:
        """Begin ICE and DTLS; returns the `dtlsParameters` for the server."""
        transport = Transport(which, RTCCertificate.generateCertificate(), self._reach)
        self._transports[which] = transport
        if which == "recv":
            transport.watch(self._strangers)
        up, down = self._links(which)
        await transport.connect(server, up, down, self._notify)
        return {"role": "client", "fingerprints": transport.fingerprints()}

    async def produce(self, kind: Kind) -> Json:
        """Return the `rtpParameters` of what it will send."""
        clock = SendClock(1 / FPS if kind == "video" else 0.02)
        self.clocks.append(clock)
        sender = StampingSender(
            self._track(kind, clock),
            self._transports["send"].dtls,
            self.number,
            self._on_sent,
            self._audio_stamp_every,
        )
        parameters = _send_parameters(kind, sender, self.number)
        self._senders[kind] = (
            sender,
            RTCRtpSendParameters(
                codecs=[codec_parameters(c) for c in parameters["codecs"]],
                headerExtensions=extension_parameters(parameters),
                muxId=parameters["mid"],
                rtcp=RTCRtcpParameters(cname=parameters["rtcp"]["cname"], mux=True),
            ),
        )
        return parameters

    async def start_sending(self, kind: Kind) -> None:
        """Send as soon as the transport is up."""
        await self._transports["send"].connected.wait()
        sender, parameters = self._senders[kind]
        await sender.send(parameters)

    async def consume(self, streams: list[Json]) -> None:
        """Get ready to receive and decode; each is `{tag, sender, kind, rtp_parameters}`."""
        transport = self._transports["recv"]
        for stream in streams:
            meter = StreamStats(
                receiver=self.number,
                sender=stream["sender"],
                kind=KINDS.index(stream["kind"]),
                decodes=True,
            )
            receiver = MeasuringReceiver(
                stream["kind"], transport.dtls, meter, self._on_sample, self._on_playout
            )
            self._receivers.append(receiver)
            for encoding in stream["rtp_parameters"]["encodings"]:
                for ssrc in (encoding.get("ssrc"), (encoding.get("rtx") or {}).get("ssrc")):
                    if ssrc is not None:
                        self._strangers.announced(int(ssrc))
            await receiver.start(stream["rtp_parameters"])

    def rows(self, tick: int) -> list[tuple[object, ...]]:
        """Return a row of the streams table for each stream it receives."""
        now_ns = time.time_ns()
        return [receiver.meter.row(tick, now_ns) for receiver in self._receivers]

    def take_pauses(self) -> list[Pause]:
        """Return the pauses of its streams that are over, since the last call."""
        found = [pause for receiver in self._receivers for pause in receiver.meter.pauses]
        for receiver in self._receivers:
            receiver.meter.pauses.clear()
        return found

    def tally(self) -> Tally:
        """Count its samples, and what it received and could not attribute."""
        meters = [receiver.meter for receiver in self._receivers]
        return (
            sum(meter.stamps for meter in meters),
            *self._strangers.unknown(),
            self._strangers.unauthentic,
            self._strangers.payload_type,
            sum(meter.damaged_stamps for meter in meters),
            sum(meter.timestamp_jumps for meter in meters),
        )

    async def close(self) -> None:
        """Stop sending and receiving, and close the sockets. Idempotent."""
        if self.closed:
            return
        self.closed = True
        await asyncio.gather(
            *(sender.stop() for sender, _ in self._senders.values()),
            *(receiver.close() for receiver in self._receivers),
            return_exceptions=True,
        )
        await asyncio.gather(*(t.close() for t in self._transports.values()), return_exceptions=True)

    def _notify(self, event: str, **values: object) -> None:
        if not self.closed:
            self._notice(event, bot=self.number, **values)

    def _track(self, kind: Kind, clock: SendClock) -> ClipVideo | ClipAudio | SyntheticVideo | SyntheticAudio:
        if kind == "video":
            return SyntheticVideo(clock) if self._synthetic else ClipVideo(self._clip, clock)
        return SyntheticAudio(clock) if self._synthetic else ClipAudio(self._clip, clock)

    def _links(self, which: Direction) -> tuple[EmulatedLink | None, EmulatedLink | None]:
        if self._network.up.is_clean and self._network.down.is_clean:
            return None, None
        # Both transports are on the same network, but each has its own datagrams to lose.
        salt = 0 if which == "send" else 1 << 40
        return (
            EmulatedLink(self._network.up, self._seeds[0] + salt),
            EmulatedLink(self._network.down, self._seeds[1] + salt),
        )


def impair(connection: Any, up: EmulatedLink, down: EmulatedLink) -> None:
    """Put emulated links at the sockets of an aioice connection, where every datagram passes."""
    loop = asyncio.get_running_loop()
    for protocol in connection._protocols:
        protocol.transport = _SlowTransport(protocol.transport, up, loop)
        receive = protocol.datagram_received
        line = DelayLine(loop)

        def received(data: bytes, address: Any, receive: Any = receive, line: DelayLine = line) -> None:
            due = down.due_s(len(data), loop.time())
            if due is not None:
                line.put(due, receive, data, address)

        protocol.datagram_received = received


class DelayLine:
    """Calls under way: each is made when it is due, in the order they were put in.

    One timer for all: the event loop rounds times to milliseconds, and would make calls of two timers in any order.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[float, Callable[[bytes, Any], None], bytes, Any]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, due_s: float, call: Callable[[bytes, Any], None], data: bytes, address: Any) -> None:
        """Make a call at a time of the loop's clock that is not before those of earlier calls; at once if it is past."""
        if not self._waiting and due_s <= self._loop.time():
            call(data, address)
            return
        self._waiting.append((due_s, call, data, address))
        if self._timer is None:
            self._timer = self._loop.call_at(due_s, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        while self._waiting and self._waiting[0][0] <= self._loop.time() + _TIMER_STEP_S / 2:
            _, call, data, address = self._waiting.popleft()
            call(data, address)
        if self._waiting and self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0][0], self._deliver)


class _SlowTransport:
    """A datagram transport behind an emulated link; everything but sending is passed through."""

    def __init__(self, transport: Any, link: EmulatedLink, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._link = link
        self._loop = loop
        self._line = DelayLine(loop)

    def sendto(self, data: bytes, address: Any = None) -> None:
        due = self._link.due_s(len(data), self._loop.time())
        if due is not None:
            self._line.put(due, self._send, data, address)

    def _send(self, data: bytes, address: Any) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _send_parameters(kind: Kind, sender: StampingSender, number: int) -> Json:
    """Write the `rtpParameters` of a producer, as mediasoup-client would."""
    feedback: list[Json] = []
    if kind == "audio":
        codecs: list[Json] = [
            {
                "mimeType": "audio/opus",
                "payloadType": _AUDIO_TYPE,
                "clockRate": 48000,
                "channels": 2,
                "parameters": {},
                "rtcpFeedback": feedback,
            }
        ]
        extension: Json = {"uri": _LEVEL, "id": _LEVEL_ID}
        encoding: Json = {"ssrc": sender._ssrc}
    else:
        feedback = [
            {"type": "nack", "parameter": ""},
            {"type": "nack", "parameter": "pli"},
            {"type": "goog-remb", "parameter": ""},
        ]
        codecs = [
            {
                "mimeType": "video/VP8",
                "payloadType": _VIDEO_TYPE,
                "clockRate": 90000,
                "parameters": {},
                "rtcpFeedback": feedback,
            },
            {
                "mimeType": "video/rtx",
                "payloadType": _RTX_TYPE,
                "clockRate": 90000,
                "parameters": {"apt": _VIDEO_TYPE},
                "rtcpFeedback": [],
            },
        ]
        extension = {"uri": _ABS_SEND_TIME, "id": _ABS_SEND_TIME_ID}
        encoding = {"ssrc": sender._ssrc, "rtx": {"ssrc": sender._rtx_ssrc}}
    return {
        "mid": "0" if kind == "audio" else "1",
        "codecs": codecs,
        "headerExtensions": [{"uri": _MID, "id": _MID_ID}, extension],
        "encodings": [encoding],
        "rtcp": {"cname": f"bot-{number}", "reducedSize": True},
    }
