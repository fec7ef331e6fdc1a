"""Transports: one ICE and DTLS endpoint of one participant.

Negotiates what comes in and goes out on it; whose it is and how many there may be is decided in rooms/.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from meeshy_sfu.errors import (
    ConsumerCreationError,
    ConsumerNotFoundError,
    InvalidRequestError,
    InvalidStateError,
    MediaError,
    MeeshyError,
    ProducerCreationError,
    ProducerNotFoundError,
    TransportConnectionError,
    TransportNotFoundError,
)
from meeshy_sfu.media import ortc
from meeshy_sfu.media.channel import core_error
from meeshy_sfu.media.commands import connect_values, consume_values, produce_values
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.events import (
    CoreFailure,
    DtlsState,
    IceState,
    SelectedTuple,
    TransportDtls,
    TransportIce,
)
from meeshy_sfu.media.ids import ConsumerId, ProducerId, TransportId, new_id
from meeshy_sfu.media.observer import Signal
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import (
    DtlsParameters,
    IceCandidate,
    IceParameters,
    MediaKind,
    RtcpParameters,
    RtpCapabilities,
    RtpParameters,
)
from meeshy_sfu.media.stats import Counters

if TYPE_CHECKING:
    from meeshy_sfu.media.router import Router

CNAME_CHARACTERS = 8
MAX_MID = 99_999_999
"""A consumer's mid has at most eight characters."""


class WebRtcTransport:
    """Exchange media with one peer, in one direction as mediasoup clients use it.

    Owned by its router. Closing it closes it in the core as well and closes its producers (and through them consumers
    elsewhere), then its consumers; ``closed`` is emitted once, last.
    """

    id: TransportId
    router: "Router"
    ice_parameters: IceParameters
    ice_candidates: tuple[IceCandidate, ...]
    dtls_parameters: DtlsParameters
    """Ours, to be sent to the client: role ``auto`` and one fingerprint."""
    ice_state: IceState
    dtls_state: DtlsState
    selected: SelectedTuple | None
    """The addresses in use, once there are any."""
    srtp_profile: str | None
    dtls_version: str | None
    producers: dict[ProducerId, Producer]
    consumers: dict[ConsumerId, Consumer]
    ice_state_changed: Signal[[IceState]]
    dtls_state_changed: Signal[[DtlsState]]
    media_started: Signal[[]]
    """Emitted once: the first media packet was sent to the peer."""
    closed: Signal[[str]]
    """Emitted once, with the reason."""

    def __init__(
        self,
        router: "Router",
        *,
        handle: int,
        id: TransportId,
        ice_parameters: IceParameters,
        ice_candidates: tuple[IceCandidate, ...],
        dtls_parameters: DtlsParameters,
        first_ssrc: int,
    ) -> None:
        self.router = router
        self.handle = handle
        self.id = id
        self.ice_parameters = ice_parameters
        self.ice_candidates = ice_candidates
        self.dtls_parameters = dtls_parameters
        self.ice_state = "new"
        self.dtls_state = "new"
        self.selected = None
        self.srtp_profile = None
        self.dtls_version = None
        self.failure: str | None = None
        self.producers = {}
        self.consumers = {}
        self.ice_state_changed = Signal()
        self.dtls_state_changed = Signal()
        self.media_started = Signal()
        self.closed = Signal()
        self._closed = False
        self._connected = False
        self._cname = ""
        self._next_ssrc = first_ssrc
        self._next_mid = 0
        self._ssrcs: set[int] = set()
        self._mids: set[str] = set()

    @property
    def is_closed(self) -> bool:
        """Return whether it is closed."""
        return self._closed

    async def connect(self, dtls_parameters: DtlsParameters) -> None:
        """Set the parameters of the peer, which starts DTLS as soon as ICE has a path.

        Raises:
            InvalidStateError: It was connected before; nothing has changed.
            TransportNotFoundError: The transport is closed.
            TransportConnectionError: The core refused.
        """
        self._require_open()
        if self._connected:
            raise InvalidStateError(f"transport {self.id} was connected before")
        self._connected = True
        try:
            await self._request("connect_transport", **connect_values(dtls_parameters))
        except MediaError as error:
            self._connected = False
            raise TransportConnectionError(error.message) from error
        except MeeshyError:
            self._connected = False
            raise

    async def produce(
        self,
        kind: MediaKind,
        rtp_parameters: RtpParameters,
        *,
        app_data: Mapping[str, object] | None = None,
        paused: bool = False,
    ) -> Producer:
        """Take in a track.

        Raises:
            InvalidRequestError: The parameters contradict themselves or another producer of this transport.
            UnsupportedCodecError: The router does not forward the codec.
            ProducerCreationError: The core refused.
            TransportNotFoundError: The transport is closed.
        """
        self._require_open()
        rtp_parameters = ortc.check_producible(kind, rtp_parameters)
        rtp_parameters, mapping = ortc.producer_mapping(
            rtp_parameters, self.router.rtp_capabilities, first_mapped_ssrc=self.router.random_ssrc()
        )
        rtp_parameters = replace(rtp_parameters, rtcp=RtcpParameters(self._shared_cname(rtp_parameters)))
        consumable = ortc.consumable_parameters(kind, rtp_parameters, self.router.rtp_capabilities, mapping)
        self._reserve(rtp_parameters)
        handle = self.router.next_handle()
        try:
            await self._request(
                "produce",
                undo=self.router.command("close_producer", producer=handle),
                producer=handle,
                **produce_values(kind, rtp_parameters, mapping, paused=paused),
            )
            self._require_open()
        except MediaError as error:
            self._release(rtp_parameters)
            raise ProducerCreationError(error.message) from error
        except BaseException:
            self._release(rtp_parameters)
            raise
        producer = Producer(
            self,
            handle=handle,
            id=ProducerId(new_id()),
            kind=kind,
            rtp_parameters=rtp_parameters,
            consumable_parameters=consumable,
            app_data=dict(app_data or {}),
            paused=paused,
        )
        self.producers[producer.id] = producer
        self.router.add_producer(producer)
        return producer

    async def consume_many(
        self, producers: Sequence[Producer], rtp_capabilities: RtpCapabilities, *, paused: bool = True
    ) -> list[Consumer | MeeshyError]:
        """Send tracks of others on this transport; each succeeds or fails alone, in the order requested.

        Born paused, so that the client can build its side before the key frame comes.

        Raises:
            TransportNotFoundError: The transport is closed.
        """
        self._require_open()
        results: list[Consumer | MeeshyError] = []
        planned: list[tuple[int, Producer, int, RtpParameters]] = []
        for producer in producers:
            try:
                parameters = self._plan(producer, rtp_capabilities)
            except MeeshyError as error:
                results.append(error)
            else:
                planned.append((len(results), producer, self.router.next_handle(), parameters))
                results.append(ConsumerCreationError(f"producer {producer.id}: the worker gave no answer"))
        if not planned:
            return results
        handles = [handle for _, _, handle, _ in planned]
        self.router.await_consumers(handles)
        try:
            answer = await self._request(
                "consume",
                undo=self.router.command("close_consumers", consumers=handles),
                consumers=[
                    consume_values(handle, producer.handle, parameters, paused=paused)
                    for _, producer, handle, parameters in planned
                ],
            )
            self._require_open()
            outcome = {item["consumer"]: item.get("error") for item in answer["results"]}
            for position, producer, handle, parameters in planned:
                refusal = outcome.get(handle, {"code": "closed", "message": "the worker gave no answer"})
                if producer.is_closed:
                    results[position] = ProducerNotFoundError(f"producer {producer.id} is closed")
                elif refusal is not None:
                    results[position] = _consume_error(producer, refusal)
                else:
                    results[position] = self._add_consumer(producer, handle, parameters, paused=paused)
        finally:
            self.router.forget_awaited(handles)
        return results

    async def consume(
        self, producer: Producer, rtp_capabilities: RtpCapabilities, *, paused: bool = True
    ) -> Consumer:
        """Send one track of another participant on this transport; it begins paused.

        Raises:
            UnsupportedCodecError: The receiver cannot decode it.
            ProducerNotFoundError: The producer is closed.
            ConsumerCreationError: The core refused.
            TransportNotFoundError: The transport is closed.
        """
        (result,) = await self.consume_many([producer], rtp_capabilities, paused=paused)
        if isinstance(result, MeeshyError):
            raise result
        return result

    async def pause_consumers(self, consumers: Sequence[Consumer]) -> None:
        """Stop sending these. Closed ones are skipped."""
        await self._set_paused(consumers, paused=True)

    async def resume_consumers(self, consumers: Sequence[Consumer]) -> None:
        """Send these, video beginning with a key frame. Closed ones are skipped."""
        await self._set_paused(consumers, paused=False)

    async def request_key_frames(self, consumers: Sequence[Consumer]) -> None:
        """Ask the producers behind these for key frames. Closed ones are skipped."""
        handles = [consumer.handle for consumer in consumers if not consumer.is_closed]
        if handles:
            await self.router.request("request_key_frame", consumers=handles)

    async def restart_ice(self) -> IceParameters:
        """Make fresh ICE credentials; the old ones stay valid until the client uses the new ones.

        Raises:
            TransportNotFoundError: The transport is closed.
        """
        self._require_open()
        answer = await self._request("restart_ice")
        self.ice_parameters = IceParameters(answer["username_fragment"], answer["password"])
        return self.ice_parameters

    async def set_max_incoming_bitrate(self, bps: int | None) -> None:
        """Limit what the peer sends; None or 0 lifts the limit.

        Raises:
            TransportNotFoundError: The transport is closed.
        """
        self._require_open()
        await self._request("set_max_incoming_bitrate", bps=bps)

    async def stats(self) -> Counters:
        """Return its counters.

        Raises:
            TransportNotFoundError: The transport is closed.
        """
        self._require_open()
        counters = (await self.router.stats()).transports.get(self.handle)
        if counters is None:
            raise TransportNotFoundError(f"transport {self.id} is closed")
        return counters

    async def panic(self) -> None:
        """Have the handling of its input panic, which closes it; for tests of workers started with ``allow_panic``.

        Raises:
            InvalidStateError: The worker was started without it.
        """
        await self.router.worker.panic(transport=(self.router.handle, self.handle))

    def close(self, reason: str = "transport closed") -> None:
        """Close it with its producers and consumers. Idempotent."""
        if not self._closed:
            self.router.post("close_transport", transport=self.handle)
            self.end(reason)

    def end(self, reason: str) -> None:
        """Take note that the core has closed it already; for its owners."""
        if self._closed:
            return
        if self.dtls_state == "failed":
            self.dtls_state_changed.emit("failed")
        self._closed = True
        self.ice_state = "closed"
        self.dtls_state = "closed"
        for producer in tuple(self.producers.values()):
            producer.end(reason)
        for consumer in tuple(self.consumers.values()):
            consumer.end(reason)
        self.router.forget_transport(self)
        self.closed.emit(reason)

    def forget_producer(self, producer: Producer) -> None:
        """Let go of a closed producer; for the producer."""
        if self.producers.pop(producer.id, None) is not None:
            self._release(producer.rtp_parameters)
            self.router.forget_producer(producer)

    def forget_consumer(self, consumer: Consumer) -> None:
        """Let go of a closed consumer; for the consumer."""
        if self.consumers.pop(consumer.id, None) is not None:
            self.router.forget_consumer(consumer)

    def note_ice(self, event: TransportIce) -> None:
        """Take note of the core's ICE state; for its router."""
        self.ice_state = event.state
        self.selected = event.selected or self.selected
        self.ice_state_changed.emit(event.state)

    def note_dtls(self, event: TransportDtls) -> None:
        """Take note of the core's DTLS state; for its router."""
        self.dtls_state = event.state
        self.failure = event.reason or self.failure
        self.srtp_profile = event.srtp_profile or self.srtp_profile
        self.dtls_version = event.dtls_version or self.dtls_version
        # why it failed comes with the closing that follows at once; reported then
        if event.state != "failed" or self.failure is not None:
            self.dtls_state_changed.emit(event.state)

    def note_closed(self, reason: str) -> None:
        """Take note that the core has closed it; for its router. Without a path, the reason names what was offered."""
        if self.selected is None and self.dtls_state == "new":
            offered = ", ".join(f"{one.protocol} {one.address}:{one.port}" for one in self.ice_candidates)
            reason = f"{reason}; the client was offered {offered}; announced_ip sets another address"
        self.failure = reason
        self.end(reason)

    async def _request(
        self, name: str, *, undo: Mapping[str, object] | None = None, **values: Any
    ) -> Mapping[str, Any]:
        return await self.router.request(
            name, undo=undo, not_found=TransportNotFoundError, transport=self.handle, **values
        )

    async def _set_paused(self, consumers: Iterable[Consumer], *, paused: bool) -> None:
        changed = [consumer for consumer in consumers if not consumer.is_closed and consumer.paused != paused]
        if not changed:
            return
        for consumer in changed:
            consumer.note_paused(paused=paused)
        await self.router.request(
            "pause_consumers" if paused else "resume_consumers",
            not_found=ConsumerNotFoundError,
            consumers=[consumer.handle for consumer in changed],
        )

    def _plan(self, producer: Producer, rtp_capabilities: RtpCapabilities) -> RtpParameters:
        if producer.is_closed or producer.transport.router is not self.router:
            raise ProducerNotFoundError(f"producer {producer.id} is closed")
        template = producer.consumer_template(rtp_capabilities)
        if self._next_mid > MAX_MID:
            raise ConsumerCreationError(f"transport {self.id} has had too many consumers; open another")
        ssrc, mid = self._next_ssrc, str(self._next_mid)
        self._next_ssrc = 1 + (ssrc + 1) % 0xFFFF_FFF0
        self._next_mid += 1
        return ortc.consumer_parameters(template, ssrc=ssrc, mid=mid)

    def _add_consumer(
        self, producer: Producer, handle: int, parameters: RtpParameters, *, paused: bool
    ) -> Consumer:
        consumer = Consumer(
            self,
            producer,
            handle=handle,
            id=ConsumerId(new_id()),
            rtp_parameters=parameters,
            paused=paused,
        )
        self.consumers[consumer.id] = consumer
        producer.consumers.add(consumer)
        self.router.add_consumer(consumer)
        return consumer

    def _shared_cname(self, rtp_parameters: RtpParameters) -> str:
        """One CNAME for all that one peer sends, or receivers could not play sound and picture in step."""
        if not self._cname:
            self._cname = rtp_parameters.rtcp.cname or new_id().replace("-", "")[:CNAME_CHARACTERS]
        return self._cname

    def _reserve(self, rtp_parameters: RtpParameters) -> None:
        ssrcs = _ssrcs(rtp_parameters)
        for place, ssrc in ssrcs.items():
            if ssrc in self._ssrcs:
                raise InvalidRequestError(f"SSRC {ssrc} is in use on this transport", path=place)
        mid = rtp_parameters.mid
        if mid is not None and mid in self._mids:
            raise InvalidRequestError(f"mid {mid} is in use on this transport", path="rtpParameters.mid")
        self._ssrcs.update(ssrcs.values())
        if mid is not None:
            self._mids.add(mid)

    def _release(self, rtp_parameters: RtpParameters) -> None:
        self._ssrcs.difference_update(_ssrcs(rtp_parameters).values())
        if rtp_parameters.mid is not None:
            self._mids.discard(rtp_parameters.mid)

    def _require_open(self) -> None:
        if self._closed:
            raise TransportNotFoundError(f"transport {self.id} is closed")


def _ssrcs(rtp_parameters: RtpParameters) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, encoding in enumerate(rtp_parameters.encodings):
        place = f"rtpParameters.encodings[{index}]"
        if encoding.ssrc is not None:
            found[f"{place}.ssrc"] = encoding.ssrc
        if encoding.rtx_ssrc is not None:
            found[f"{place}.rtx.ssrc"] = encoding.rtx_ssrc
    return found


def _consume_error(producer: Producer, error: Mapping[str, str]) -> MeeshyError:
    failure = CoreFailure(error["code"], f"producer {producer.id}: {error['message']}")
    refused = core_error(failure, not_found=ProducerNotFoundError)
    return ConsumerCreationError(refused.message) if isinstance(refused, MediaError) else refused
