"""Producers: one track that a participant sends.

Owned by the transport it comes in on; closing it closes every consumer of it, wherever they are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meeshy_sfu.errors import ProducerNotFoundError
from meeshy_sfu.media import ortc
from meeshy_sfu.media.events import ProducerScore, StreamScore
from meeshy_sfu.media.ids import ProducerId
from meeshy_sfu.media.observer import Signal
from meeshy_sfu.media.ortc import StreamType
from meeshy_sfu.media.rtp_parameters import MediaKind, RtpCapabilities, RtpParameters
from meeshy_sfu.media.stats import Counters

if TYPE_CHECKING:
    from meeshy_sfu.media.consumer import Consumer
    from meeshy_sfu.media.transport import WebRtcTransport

CACHED_CAPABILITY_SETS = 32


class Producer:
    """Take in one track and offer it to consumers.

    Closing it closes it in the core as well, closes its consumers (reason ``producer closed``) and emits ``closed`` once.
    """

    __slots__ = (
        "_closed",
        "_paused",
        "_templates",
        "app_data",
        "closed",
        "consumable_parameters",
        "consumers",
        "handle",
        "id",
        "kind",
        "paused_changed",
        "rtp_parameters",
        "score_changed",
        "scores",
        "transport",
        "type",
    )

    id: ProducerId
    transport: "WebRtcTransport"
    kind: MediaKind
    rtp_parameters: RtpParameters
    """In the sender's numbers."""
    consumable_parameters: RtpParameters
    """In the router's numbers; consumers start from these."""
    type: StreamType
    app_data: Mapping[str, object]
    """What the client attached; never looked into here."""
    scores: tuple[StreamScore, ...]
    """Reception quality of each stream; empty before media came."""
    consumers: set["Consumer"]
    closed: Signal[[str]]
    """Emitted once, with the reason, after its consumers' signals."""
    paused_changed: Signal[[bool]]
    score_changed: Signal[[]]

    def __init__(
        self,
        transport: "WebRtcTransport",
        *,
        handle: int,
        id: ProducerId,
        kind: MediaKind,
        rtp_parameters: RtpParameters,
        consumable_parameters: RtpParameters,
        app_data: Mapping[str, object],
        paused: bool,
    ) -> None:
        self.transport = transport
        self.handle = handle
        self.id = id
        self.kind = kind
        self.rtp_parameters = rtp_parameters
        self.consumable_parameters = consumable_parameters
        self.type = ortc.stream_type(rtp_parameters)
        self.app_data = app_data
        self.scores = ()
        self.consumers = set()
        self.closed = Signal()
        self.paused_changed = Signal()
        self.score_changed = Signal()
        self._paused = paused
        self._closed = False
        self._templates: dict[RtpCapabilities, RtpParameters] = {}

    @property
    def paused(self) -> bool:
        """Return whether it was paused."""
        return self._paused

    @property
    def is_closed(self) -> bool:
        """Return whether it is closed."""
        return self._closed

    def consumer_template(self, capabilities: RtpCapabilities) -> RtpParameters:
        """Return a consumer's parameters but for its SSRCs and mid; worked out once per capability set.

        Raises:
            UnsupportedCodecError: A receiver with these capabilities cannot decode it.
        """
        template = self._templates.get(capabilities)
        if template is None:
            template = ortc.consumer_template(self.consumable_parameters, capabilities)
            if len(self._templates) >= CACHED_CAPABILITY_SETS:
                self._templates.pop(next(iter(self._templates)))
            self._templates[capabilities] = template
        return template

    async def pause(self) -> None:
        """Stop forwarding to all consumers. Idempotent.

        Raises:
            ProducerNotFoundError: The producer is closed.
        """
        await self._set_paused(paused=True)

    async def resume(self) -> None:
        """Forward again, beginning with a key frame. Idempotent.

        Raises:
            ProducerNotFoundError: The producer is closed.
        """
        await self._set_paused(paused=False)

    async def stats(self) -> Counters:
        """Return its counters.

        Raises:
            ProducerNotFoundError: The producer is closed.
        """
        self._require_open()
        counters = (await self.transport.router.stats()).producers.get(self.handle)
        if counters is None:
            raise ProducerNotFoundError(f"producer {self.id} is closed")
        return counters

    def close(self, reason: str = "producer closed") -> None:
        """Close it and all its consumers. Idempotent."""
        if not self._closed:
            self.transport.router.post("close_producer", producer=self.handle)
            self.end(reason)

    def end(self, reason: str) -> None:
        """Take note that the core has closed it already; for its owners."""
        if self._closed:
            return
        self._closed = True
        self.transport.forget_producer(self)
        for consumer in tuple(self.consumers):
            consumer.end("producer closed")
        self._templates.clear()
        self.closed.emit(reason)

    def forget_consumer(self, consumer: "Consumer") -> None:
        """Let go of a closed consumer; for the consumer."""
        self.consumers.discard(consumer)

    def note_score(self, event: ProducerScore) -> None:
        """Take note of the core's score; for its router."""
        self.scores = event.scores
        self.score_changed.emit()

    async def _set_paused(self, *, paused: bool) -> None:
        self._require_open()
        if self._paused == paused:
            return
        # Noted before the core answers, so that a pause and a resume that cross end as the last one said.
        self._paused = paused
        await self.transport.router.request(
            "pause_producer" if paused else "resume_producer",
            not_found=ProducerNotFoundError,
            producer=self.handle,
        )
        self._require_open()
        self.paused_changed.emit(paused)

    def _require_open(self) -> None:
        if self._closed:
            raise ProducerNotFoundError(f"producer {self.id} is closed")
