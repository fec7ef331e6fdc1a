"""Routers: the forwarding table of one call.

Owns transports and decides who can consume what. Knows nothing of rooms, participants or HTTP (see rooms/).
"""

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

from meeshy_sfu.errors import InvalidStateError, MeeshyError, NotFoundError
from meeshy_sfu.media import ortc
from meeshy_sfu.media.events import (
    ActiveSpeaker,
    ConsumerScore,
    LayersChanged,
    ProducerScore,
    RouterEvent,
    TransportClosed,
    TransportDtls,
    TransportIce,
    TransportMedia,
    Volumes,
)
from meeshy_sfu.media.ids import ProducerId, RouterId, TransportId, new_id
from meeshy_sfu.media.observer import Signal
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import DtlsParameters, IceCandidate, IceParameters, RtpCapabilities
from meeshy_sfu.media.stats import RouterStats
from meeshy_sfu.media.transport import WebRtcTransport

if TYPE_CHECKING:
    from meeshy_sfu.media.consumer import Consumer
    from meeshy_sfu.media.worker import Worker

FIRST_SSRC = 100_000
"""Small numbers are what test clients and bandwidth probes use."""
LAST_SSRC = 0x7FFF_FFFF
"""Random SSRCs come from the lower half, so that counting up from one never wraps."""


class Router:
    """Forward media between the transports of one call, on one worker.

    A router never leaves its worker. Closing it closes its transports, their producers and, through those,
    every consumer; ``closed`` is emitted once, last, with the reason. The death of its worker closes it too.
    """

    id: RouterId
    worker: "Worker"
    rtp_capabilities: RtpCapabilities
    """What this router can forward; send it to clients before they produce."""
    transports: dict[TransportId, WebRtcTransport]
    volumes_changed: Signal[[tuple[tuple[Producer, int], ...]]]
    """Audio levels by producer in dBov, loudest first; empty when all have fallen silent."""
    active_speaker_changed: Signal[[Producer | None]]
    closed: Signal[[str]]

    def __init__(
        self, worker: "Worker", *, handle: int, rtp_capabilities: RtpCapabilities, rng: random.Random
    ) -> None:
        self.worker = worker
        self.handle = handle
        self.id = RouterId(new_id())
        self.rtp_capabilities = rtp_capabilities
        self.transports = {}
        self.volumes_changed = Signal()
        self.active_speaker_changed = Signal()
        self.closed = Signal()
        self._rng = rng
        self._closed = False
        self._transports: dict[int, WebRtcTransport] = {}
        self._producers: dict[int, Producer] = {}
        self._consumers: dict[int, Consumer] = {}
        self._early: dict[int, list[ConsumerScore | LayersChanged]] = {}
        """What the core reported of consumers whose creation it has answered, but nobody has read yet."""
        self._producer_ids: dict[ProducerId, Producer] = {}

    @property
    def is_closed(self) -> bool:
        """Return whether it is closed."""
        return self._closed

    @property
    def worker_index(self) -> int:
        """Which worker carries it."""
        return self.worker.index

    async def create_webrtc_transport(
        self,
        *,
        udp: bool = True,
        tcp: bool = True,
        max_incoming_bps: int | None = None,
        padding: bool = False,
    ) -> WebRtcTransport:
        """Open an ICE-lite and DTLS endpoint for one direction of one participant.

        Args:
            udp: Offer UDP.
            tcp: Offer passive TCP on the same port, for clients behind firewalls.
            max_incoming_bps: Limit sent to the sender. None (default) leaves it to the estimator.
            padding: Pad packets by up to 64 bytes so that more of them share a system call: about 3 % more
                bytes for less CPU time.

        Raises:
            InvalidStateError: The router is closed.
            NoPortError: The worker has no address to offer.
        """
        handle = self.next_handle()
        answer = await self.request(
            "create_transport",
            undo=self.command("close_transport", transport=handle),
            transport=handle,
            udp=udp,
            tcp=tcp,
            max_incoming_bps=max_incoming_bps,
            padding=padding,
        )
        self._require_open()
        ice = answer["ice_parameters"]
        transport = WebRtcTransport(
            self,
            handle=handle,
            id=TransportId(new_id()),
            ice_parameters=IceParameters(ice["username_fragment"], ice["password"]),
            ice_candidates=tuple(map(_candidate, answer["ice_candidates"])),
            dtls_parameters=DtlsParameters("auto", (self.worker.fingerprint,)),
            first_ssrc=self.random_ssrc(),
        )
        self.transports[transport.id] = transport
        self._transports[handle] = transport
        return transport

    def can_consume(self, producer_id: ProducerId, capabilities: RtpCapabilities) -> bool:
        """Return whether a client with these capabilities could decode this producer. Never raises for closed ids."""
        producer = self._producer_ids.get(producer_id)
        return producer is not None and ortc.can_consume(producer.consumable_parameters, capabilities)

    def producer(self, producer_id: ProducerId) -> Producer | None:
        """Return a producer by its id, or None."""
        return self._producer_ids.get(producer_id)

    async def stats(self) -> RouterStats:
        """Return the counters of all that hangs on it.

        Raises:
            InvalidStateError: The router is closed.
        """
        return RouterStats.read(await self.request("dump"))

    def close(self, reason: str = "router closed") -> None:
        """Close the router and all that hangs on it. Idempotent; the worker is notified, not waited for."""
        if not self._closed:
            self.post("close_router")
            self.end(reason)

    def end(self, reason: str) -> None:
        """Take note that the core has closed it already, or is dead; for its worker."""
        if self._closed:
            return
        self._closed = True
        for transport in tuple(self.transports.values()):
            transport.end(reason)
        self.worker.forget_router(self)
        self.closed.emit(reason)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # ---- for the objects that hang on it -----------------------------------------------------------------

    def next_handle(self) -> int:
        """Return a number the core does not know yet."""
        return self.worker.next_handle()

    def random_ssrc(self) -> int:
        """Return an SSRC to count up from."""
        return self._rng.randint(FIRST_SSRC, LAST_SSRC)

    def command(self, name: str, **values: object) -> Mapping[str, object]:
        """Write a command for this router."""
        return {"type": name, "router": self.handle, **values}

    async def request(
        self,
        name: str,
        *,
        undo: Mapping[str, object] | None = None,
        not_found: type[MeeshyError] = NotFoundError,
        **values: object,
    ) -> Mapping[str, Any]:
        """Have a command of this router carried out.

        Raises:
            InvalidStateError: The router is closed.
        """
        self._require_open()
        return await self.worker.channel.request(self.command(name, **values), undo=undo, not_found=not_found)

    def post(self, name: str, **values: object) -> None:
        """Send a command of this router without waiting for its answer."""
        if not self._closed:
            self.worker.channel.post(self.command(name, **values))

    def add_producer(self, producer: Producer) -> None:
        """Take note of a new producer."""
        self._producers[producer.handle] = producer
        self._producer_ids[producer.id] = producer

    def await_consumers(self, handles: Iterable[int]) -> None:
        """Keep what the core reports of these until they are added, or :meth:`forget_awaited`."""
        self._early.update((handle, []) for handle in handles)

    def forget_awaited(self, handles: Iterable[int]) -> None:
        """Let go of what was kept of consumers that were not added."""
        for handle in handles:
            self._early.pop(handle, None)

    def add_consumer(self, consumer: "Consumer") -> None:
        """Take note of a new consumer, and notify it of what was reported before."""
        self._consumers[consumer.handle] = consumer
        for event in self._early.pop(consumer.handle, ()):
            self.handle_event(event)

    def forget_transport(self, transport: WebRtcTransport) -> None:
        """Let go of a closed transport."""
        self.transports.pop(transport.id, None)
        self._transports.pop(transport.handle, None)

    def forget_producer(self, producer: Producer) -> None:
        """Let go of a closed producer."""
        self._producers.pop(producer.handle, None)
        self._producer_ids.pop(producer.id, None)

    def forget_consumer(self, consumer: "Consumer") -> None:
        """Let go of a closed consumer."""
        self._consumers.pop(consumer.handle, None)

    def handle_event(self, event: RouterEvent) -> None:
        """Notify the objects concerned of what the core reports; events of closed objects are dropped."""
        match event:
            case TransportIce():
                if transport := self._transports.get(event.transport):
                    transport.note_ice(event)
            case TransportDtls():
                if transport := self._transports.get(event.transport):
                    transport.note_dtls(event)
            case TransportMedia():
                if transport := self._transports.get(event.transport):
                    transport.media_started.emit()
            case TransportClosed():
                if transport := self._transports.get(event.transport):
                    transport.note_closed(event.reason)
            case ProducerScore():
                if producer := self._producers.get(event.producer):
                    producer.note_score(event)
            case ConsumerScore() | LayersChanged() if (early := self._early.get(event.consumer)) is not None:
                early.append(event)
            case ConsumerScore():
                if consumer := self._consumers.get(event.consumer):
                    consumer.note_score(event)
            case LayersChanged():
                if consumer := self._consumers.get(event.consumer):
                    consumer.note_layers(event)
            case Volumes():
                known = ((self._producers.get(handle), volume) for handle, volume in event.volumes)
                self.volumes_changed.emit(tuple((item, volume) for item, volume in known if item is not None))
            case ActiveSpeaker():
                speaker = None if event.producer is None else self._producers.get(event.producer)
                self.active_speaker_changed.emit(speaker)

    def _require_open(self) -> None:
        if self._closed:
            raise InvalidStateError(f"router {self.id} is closed")


def _candidate(raw: Mapping[str, Any]) -> IceCandidate:
    return IceCandidate(raw["foundation"], raw["priority"], raw["address"], raw["port"], raw["protocol"])
