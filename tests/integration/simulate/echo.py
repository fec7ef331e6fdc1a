"""A small ICE-lite server that sends back what it receives, so that bots can be tested without the media server.

STUN by aioice, DTLS and SRTP by aiortc. Drops the packets that a test names, and ignores NACKs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from aioice import stun
from aiortc import RTCCertificate
from aiortc.rtcdtlstransport import RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtp import RtpPacket


class LiteIce(asyncio.DatagramProtocol):
    """The ICE side of a transport: answers checks, with the interface that aiortc's DTLS expects of an ICE transport."""

    role = "controlled"
    state = "completed"

    def __init__(self) -> None:
        self.ufrag, self.password = secrets.token_hex(8), secrets.token_hex(16)
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: Any = None
        self._peer: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[0] > 3:
            self._queue.put_nowait(data)
            return
        request = stun.parse_message(data)
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes["XOR-MAPPED-ADDRESS"] = addr
        answer.add_message_integrity(self.password.encode())
        self._peer = addr
        self._transport.sendto(bytes(answer), addr)

    async def _recv(self) -> bytes:
        return await self._queue.get()

    async def _send(self, data: bytes) -> None:
        self._transport.sendto(data, self._peer)

    def close(self) -> None:
        self._transport.close()


class EchoDtls(RTCDtlsTransport):
    """DTLS that hands RTP to a function instead of receivers."""

    on_rtp: Callable[[RtpPacket], Any] | None = None

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        if self.on_rtp is not None:
            self.on_rtp(RtpPacket.parse(data))

    async def _handle_rtcp_data(self, data: bytes) -> None:
        return


class EchoTransport:
    """One transport of the server."""

    def __init__(self) -> None:
        self.ice = LiteIce()
        certificate = RTCCertificate.generateCertificate()
        self.dtls = EchoDtls(self.ice, [certificate])  # type: ignore[arg-type]
        self.dtls._set_role("server")
        self._port = 0

    async def open(self) -> dict[str, Any]:
        """Open the socket and describe the transport as the wire does."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self.ice, local_addr=("127.0.0.1", 0))
        self._port = transport.get_extra_info("sockname")[1]
        fingerprints = [
            {"algorithm": f.algorithm, "value": f.value} for f in self.dtls.getLocalParameters().fingerprints
        ]
        return {
            "id": secrets.token_hex(4),
            "iceParameters": {
                "usernameFragment": self.ice.ufrag,
                "password": self.ice.password,
                "iceLite": True,
            },
            "iceCandidates": [
                {
                    "foundation": "udpcandidate",
                    "priority": 1076302079,
                    "ip": "127.0.0.1",
                    "address": "127.0.0.1",
                    "port": self._port,
                    "protocol": "udp",
                    "type": "host",
                }
            ],
            "dtlsParameters": {"role": "auto", "fingerprints": fingerprints},
        }

    async def accept(self, dtls: dict[str, Any]) -> None:
        """Do the handshake with the client."""
        from aiortc.rtcdtlstransport import RTCDtlsFingerprint  # noqa: PLC0415

        fingerprints = [RTCDtlsFingerprint(**f) for f in dtls["fingerprints"]]
        await self.dtls.start(RTCDtlsParameters(fingerprints=fingerprints))
        assert self.dtls.state == "connected"

    async def close(self) -> None:
        await self.dtls.stop()
        self.ice.close()


class Echo:
    """Sends what comes in on one transport out on another, whole packets untouched, but for those dropped."""

    def __init__(self, drop: Callable[[int], bool] = lambda number: False) -> None:
        self.send, self.recv = EchoTransport(), EchoTransport()
        self._drop = drop
        self._numbers: dict[int, int] = {}
        self.dropped = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to send back."""
        self.send.dtls.on_rtp = self._forward

    def _forward(self, packet: RtpPacket) -> None:
        number = self._numbers[packet.ssrc] = self._numbers.get(packet.ssrc, -1) + 1
        if self._drop(number):
            self.dropped += 1
            return
        task = asyncio.ensure_future(self.recv.dtls._send_rtp(packet.serialize()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await asyncio.gather(self.send.close(), self.recv.close())
