"""Consumers: one track of another participant, on its way to one receiver.

Owned by the transport that sends it and closed by its producer as well; who may have it is decided in rooms/.
"""

from typing import TYPE_CHECKING

from meeshy_sfu.errors import ConsumerNotFoundError
from meeshy_sfu.media.events import ConsumerScore, Layers, LayersChanged
from meeshy_sfu.media.ids import ConsumerId
from meeshy_sfu.media.observer import Signal
from meeshy_sfu.media.ortc import StreamType, scalability
from meeshy_sfu.media.rtp_parameters import MediaKind, RtpParameters
from meeshy_sfu.media.stats import Counters

if TYPE_CHECKING:
    from meeshy_sfu.media.producer import Producer
    from meeshy_sfu.media.transport import WebRtcTransport

MAX_SCORE = 10


class Consumer:
    """Forward one producer to one transport.

    Media flows while neither the consumer nor its producer is paused. Closing it closes it in the core as well; it also
    closes with its transport and with its producer, and ``closed`` is emitted once with the reason.
    """

    __slots__ = (
        "_closed",
        "_paused",
        "closed",
        "current_layers",
        "handle",
        "id",
        "layers_changed",
        "preferred_layers",
        "producer",
        "producer_score",
        "producer_scores",
        "rtp_parameters",
        "score",
        "score_changed",
        "transport",
        "type",
    )

    id: ConsumerId
    transport: "WebRtcTransport"
    producer: "Producer"
    rtp_parameters: RtpParameters
    """In the router's numbers, as the receiver needs them."""
    type: StreamType
    score: int
    """Delivery quality from 0 to 10."""
    producer_score: int
    producer_scores: tuple[int, ...]
    preferred_layers: Layers | None
    """The highest to be received; None for a simple stream, which has no layers to choose from."""
    current_layers: Layers | None
    """Of a simulcast stream what is forwarded now; None while nothing is, and for other streams."""
    closed: Signal[[str]]
    """Emitted once, with the reason."""
    score_changed: Signal[[]]
    layers_changed: Signal[[Layers | None]]
    """Emitted when ``current_layers`` has another value, with the former one."""

    def __init__(
        self,
        transport: "WebRtcTransport",
        producer: "Producer",
        *,
        handle: int,
        id: ConsumerId,
        rtp_parameters: RtpParameters,
        paused: bool,
    ) -> None:
        self.transport = transport
        self.producer = producer
        self.handle = handle
        self.id = id
        self.rtp_parameters = rtp_parameters
        self.type = producer.type
        self.score = MAX_SCORE
        self.producer_score = 0
        self.producer_scores = (0,) * len(producer.rtp_parameters.encodings)
        spatial, temporal = scalability(rtp_parameters.encodings[0].scalability_mode)
        self.preferred_layers = None if self.type == "simple" else Layers(spatial - 1, temporal - 1)
        self.current_layers = None
        self._paused = paused
        self._closed = False
        self.closed = Signal()
        self.score_changed = Signal()
        self.layers_changed = Signal()

    @property
    def kind(self) -> MediaKind:
        """Audio or video."""
        return self.producer.kind

    @property
    def paused(self) -> bool:
        """Return whether this consumer was paused; its producer may be as well."""
        return self._paused

    @property
    def producer_paused(self) -> bool:
        """Return whether nothing comes from the producer."""
        return self.producer.paused

    @property
    def is_closed(self) -> bool:
        """Return whether it is closed."""
        return self._closed

    async def pause(self) -> None:
        """Stop forwarding. Idempotent.

        Raises:
            ConsumerNotFoundError: The consumer is closed.
        """
        await self.transport.pause_consumers([self])
        self._require_open()

    async def resume(self) -> None:
        """Forward, beginning with a key frame. Idempotent.

        Raises:
            ConsumerNotFoundError: The consumer is closed.
        """
        await self.transport.resume_consumers([self])
        self._require_open()

    async def request_key_frame(self) -> None:
        """Ask the producer for a picture that can be decoded alone; audio has none and ignores it."""
        self._require_open()
        if self.kind == "video":
            await self.transport.request_key_frames([self])

    async def set_preferred_layers(
        self, spatial_layer: int, temporal_layer: int | None = None
    ) -> Layers | None:
        """Choose what to receive at most; clamped to what there is, and ignored for a simple stream.

        Args:
            spatial_layer: From 0, the lowest; of simulcast the position of the encoding.
            temporal_layer: From 0, the lowest; None means the highest.

        Returns:
            ``preferred_layers`` as they are now.

        Of simulcast, the core forwards that encoding from its next key frame on. What it does not choose among yet is in
        docs/assumptions.md, A8.

        Raises:
            ConsumerNotFoundError: The consumer is closed.
        """
        self._require_open()
        if self.type == "simple":
            return None
        spatial, temporal = scalability(self.rtp_parameters.encodings[0].scalability_mode)
        top = temporal - 1
        chosen = Layers(
            max(0, min(spatial_layer, spatial - 1)),
            top if temporal_layer is None else max(0, min(temporal_layer, top)),
        )
        self.preferred_layers = chosen
        await self.transport.router.request(
            "set_preferred_layers",
            not_found=ConsumerNotFoundError,
            consumer=self.handle,
            layers={"spatial_layer": chosen.spatial_layer, "temporal_layer": chosen.temporal_layer},
        )
        return chosen

    async def stats(self) -> Counters:
        """Return its counters.

        Raises:
            ConsumerNotFoundError: The consumer is closed.
        """
        self._require_open()
        counters = (await self.transport.router.stats()).consumers.get(self.handle)
        if counters is None:
            raise ConsumerNotFoundError(f"consumer {self.id} is closed")
        return counters

    def close(self, reason: str = "consumer closed") -> None:
        """Stop forwarding for good. Idempotent."""
        if not self._closed:
            self.transport.router.post("close_consumers", consumers=[self.handle])
            self.end(reason)

    def end(self, reason: str) -> None:
        """Take note that the core has closed it already; for its owners."""
        if self._closed:
            return
        self._closed = True
        self.transport.forget_consumer(self)
        self.producer.forget_consumer(self)
        self.closed.emit(reason)

    def note_paused(self, *, paused: bool) -> None:
        """Take note of what was sent to the core; for its transport."""
        self._paused = paused

    def note_score(self, event: ConsumerScore) -> None:
        """Take note of the core's score; for its router."""
        self.score = event.score
        self.producer_score = event.producer_score
        self.producer_scores = event.producer_scores
        self.score_changed.emit()

    def note_layers(self, event: LayersChanged) -> None:
        """Take note of what the core forwards; for its router."""
        if self.type == "simulcast" and event.layers != self.current_layers:
            former, self.current_layers = self.current_layers, event.layers
            self.layers_changed.emit(former)

    def _require_open(self) -> None:
        if self._closed:
            raise ConsumerNotFoundError(f"consumer {self.id} is closed")
