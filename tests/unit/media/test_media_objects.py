"""Routers, transports, producers and consumers: what they ask of the core and who closes whom."""

import asyncio
import copy
from typing import Any

import pytest

from meeshy_sfu.errors import (
    CapacityError,
    ConsumerNotFoundError,
    InvalidRequestError,
    InvalidStateError,
    MeeshyError,
    ProducerCreationError,
    ProducerNotFoundError,
    TransportConnectionError,
    TransportNotFoundError,
    UnsupportedCodecError,
    WorkerDiedError,
)
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.events import Layers
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.router import Router
from meeshy_sfu.media.rtp_parameters import DtlsParameters, RtpCapabilities, RtpParameters
from meeshy_sfu.media.transport import WebRtcTransport
from meeshy_sfu.media.worker import Worker
from tests.unit.media.recordings import CHROMIUM, PYMEDIASOUP
from tests.unit.media.scripted_core import ScriptedCore

CHROMIUM_RECEIVER = RtpCapabilities.from_wire(CHROMIUM["recvRtpCapabilities"])
DTLS = DtlsParameters.from_wire(CHROMIUM["connect"]["dtlsParameters"])


def recorded(name: str) -> RtpParameters:
    return RtpParameters.from_wire(CHROMIUM["produce"][name]["rtpParameters"])


async def pair(router: Router, name: str = "vp8") -> tuple[Producer, Consumer]:
    sender = await router.create_webrtc_transport()
    receiver = await router.create_webrtc_transport()
    parameters = recorded(name)
    producer = await sender.produce(parameters.codecs[0].kind, parameters)
    return producer, await receiver.consume(producer, CHROMIUM_RECEIVER)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ---- the channel -------------------------------------------------------------------------------------------


async def test_a_router_whose_worker_dies_right_after_its_answer_is_none(
    core: ScriptedCore, worker: Worker
) -> None:
    request = asyncio.create_task(worker.create_router(()))
    await asyncio.sleep(0)
    # both are read at once, before the answer reaches who asked
    core.emit("died", index=0, message="killed")
    with pytest.raises(WorkerDiedError):
        await request
    assert worker.routers == ()


async def test_a_request_fails_when_the_worker_dies_before_it_answers(
    core: ScriptedCore, worker: Worker
) -> None:
    core.silent.add("create_router")
    request = asyncio.create_task(worker.create_router(()))
    await settle()
    core.emit("died", index=0, message="on purpose")
    with pytest.raises(WorkerDiedError, match="on purpose"):
        await request
    with pytest.raises(WorkerDiedError):
        await worker.create_router(())


async def test_a_cancelled_request_leaves_nothing_in_the_core(core: ScriptedCore, router: Router) -> None:
    request = asyncio.create_task(router.create_webrtc_transport())
    await asyncio.sleep(0)
    assert len(core.transports) == 1
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await settle()
    assert not core.transports


async def test_an_event_that_cannot_be_read_does_not_stop_the_others(
    core: ScriptedCore, router: Router
) -> None:
    core.emit("made_up")
    core.emit("transport_ice", router=1)
    transport = await router.create_webrtc_transport()
    assert transport.ice_state == "new"


async def test_the_death_of_a_worker_closes_its_routers_and_all_on_them(
    core: ScriptedCore, router: Router
) -> None:
    producer, consumer = await pair(router)
    told: list[str] = []
    router.closed.subscribe(told.append)
    consumer.closed.subscribe(told.append)
    core.emit("died", index=0, message="on purpose")
    await settle()
    assert told == ["producer closed", "worker died"]
    assert producer.is_closed
    assert consumer.is_closed
    with pytest.raises(InvalidStateError):
        await router.create_webrtc_transport()


async def test_a_close_that_finds_the_queue_full_is_sent_later(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    core.full = True
    with pytest.raises(CapacityError):
        await router.create_webrtc_transport()
    transport.close()
    assert core.transports
    core.full = False
    core.emit("active_speaker", router=router.handle, producer=None)
    await settle()
    assert not core.transports


async def test_closing_after_an_unread_death_is_quiet(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    core.request = _refuse  # type: ignore[method-assign]
    transport.close()
    assert transport.is_closed


def _refuse(_: str) -> None:
    raise WorkerDiedError("dead")


async def test_fetched_stats_are_kept_and_later_counters_ignored(worker: Worker, router: Router) -> None:
    stats = await worker.fetch_stats()
    assert (stats.routers, stats.packets_out) == (1, 7)
    assert worker.stats is stats


# ---- transports --------------------------------------------------------------------------------------------


async def test_a_transport_offers_what_clients_need(router: Router) -> None:
    transport = await router.create_webrtc_transport()
    assert transport.dtls_parameters.role == "auto"
    assert len(transport.dtls_parameters.fingerprints) == 1
    assert transport.ice_candidates[0].to_wire()["ip"] == "127.0.0.1"


async def test_a_transport_is_connected_once(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    await transport.connect(DTLS)
    with pytest.raises(InvalidStateError):
        await transport.connect(DTLS)
    (command,) = core.named("connect_transport")
    assert command["role"] == "client"
    assert command["fingerprints"][0]["algorithm"] == "sha-256"


async def test_a_refused_connect_may_be_repeated(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    core.refuse["connect_transport"] = ("internal", "it broke")
    with pytest.raises(TransportConnectionError):
        await transport.connect(DTLS)
    core.refuse.clear()
    await transport.connect(DTLS)


async def test_a_transport_follows_the_states_of_the_core(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    states: list[str] = []
    transport.ice_state_changed.subscribe(states.append)
    transport.dtls_state_changed.subscribe(states.append)
    selected = {"local": "127.0.0.1:10000", "remote": "127.0.0.1:5555", "protocol": "udp"}
    about = {"router": router.handle, "transport": transport.handle}
    core.emit("transport_ice", **about, state="completed", selected=selected)
    core.emit(
        "transport_dtls",
        **about,
        state="connected",
        reason=None,
        srtp_profile="AEAD_AES_128_GCM",
        dtls_version="1.2",
    )
    await settle()
    assert states == ["completed", "connected"]
    assert transport.selected is not None
    assert transport.selected.remote == "127.0.0.1:5555"
    assert (transport.srtp_profile, transport.dtls_version) == ("AEAD_AES_128_GCM", "1.2")


async def test_a_failed_handshake_is_told_with_its_reason(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    told: list[tuple[str, str | None]] = []
    transport.dtls_state_changed.subscribe(lambda state: told.append((state, transport.failure)))
    about = {"router": router.handle, "transport": transport.handle}
    for state in ("connecting", "failed"):
        core.emit("transport_dtls", **about, state=state, reason=None, srtp_profile=None, dtls_version=None)
    core.emit("transport_closed", **about, reason="no common SRTP profile")
    await settle()
    assert told == [("connecting", None), ("failed", "no common SRTP profile")]
    assert transport.is_closed


async def test_a_transport_that_was_never_reached_names_what_was_offered(
    core: ScriptedCore, router: Router
) -> None:
    transport = await router.create_webrtc_transport()
    (offered,) = transport.ice_candidates
    core.emit(
        "transport_closed",
        router=router.handle,
        transport=transport.handle,
        reason="no ICE check was answered",
    )
    await settle()
    assert transport.failure is not None
    assert transport.failure.startswith("no ICE check was answered; ")
    assert f"{offered.protocol} {offered.address}:{offered.port}" in transport.failure
    assert "announced_ip" in transport.failure


async def test_restarting_ice_gives_new_credentials(router: Router) -> None:
    transport = await router.create_webrtc_transport()
    assert (await transport.restart_ice()).username_fragment == "fresh"
    assert transport.ice_parameters.username_fragment == "fresh"


async def test_a_transport_that_the_core_gave_up_closes_all_on_it(core: ScriptedCore, router: Router) -> None:
    producer, consumer = await pair(router)
    about = {"router": router.handle, "transport": producer.transport.handle}
    core.emit("transport_dtls", **about, state="connected", reason=None, srtp_profile=None, dtls_version=None)
    core.emit("transport_closed", **about, reason="consent lost")
    await settle()
    assert producer.transport.is_closed
    assert producer.transport.failure == "consent lost"
    assert consumer.is_closed
    assert not consumer.transport.is_closed
    with pytest.raises(TransportNotFoundError):
        await producer.transport.restart_ice()


# ---- producers ---------------------------------------------------------------------------------------------


async def test_the_core_is_told_both_numbers_of_each_codec(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    await transport.produce("video", recorded("vp8"))
    (command,) = core.named("produce")
    (codec,) = command["codecs"]
    assert (codec["payload_type"], codec["mapped_payload_type"]) == (96, 101)
    assert (codec["rtx_payload_type"], codec["mapped_rtx_payload_type"]) == (97, 102)
    assert all(codec[name] for name in ("nack", "pli", "fir", "transport_cc", "remb"))
    assert command["encodings"][0]["rtx_ssrc"] == 1047409930
    assert command["mid"] == "0"


async def test_all_producers_of_a_transport_share_the_first_cname(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    first = await transport.produce("video", recorded("vp8_simulcast3"))
    wire = copy.deepcopy(CHROMIUM["produce"]["audio"]["rtpParameters"])
    second = await transport.produce("audio", RtpParameters.from_wire({**wire, "mid": "1"}))
    assert first.rtp_parameters.rtcp.cname
    assert len({command["cname"] for command in core.named("produce")}) == 1
    assert second.consumable_parameters.rtcp.cname == first.rtp_parameters.rtcp.cname


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"mid": "7"}, "rtpParameters.encodings[0].ssrc"),
        ({"encodings": [{"ssrc": 1}]}, "rtpParameters.mid"),
        (
            {"mid": "7", "encodings": [{"ssrc": 1, "rtx": {"ssrc": 1047409930}}]},
            "rtpParameters.encodings[0].rtx.ssrc",
        ),
    ],
)
async def test_ssrcs_and_mids_are_unique_on_a_transport(
    router: Router, change: dict[str, Any], path: str
) -> None:
    transport = await router.create_webrtc_transport()
    producer = await transport.produce("video", recorded("vp8"))
    wire = {**CHROMIUM["produce"]["vp8"]["rtpParameters"], **change}
    with pytest.raises(InvalidRequestError) as caught:
        await transport.produce("video", RtpParameters.from_wire(wire))
    assert caught.value.path == path
    producer.close()
    await transport.produce("video", RtpParameters.from_wire(wire))


async def test_a_refused_producer_leaves_its_numbers_free(core: ScriptedCore, router: Router) -> None:
    transport = await router.create_webrtc_transport()
    core.refuse["produce"] = ("internal", "it broke")
    with pytest.raises(ProducerCreationError):
        await transport.produce("video", recorded("vp8"))
    core.refuse.clear()
    await transport.produce("video", recorded("vp8"))


async def test_pausing_a_producer_is_told_once(core: ScriptedCore, router: Router) -> None:
    producer, consumer = await pair(router)
    told: list[bool] = []
    producer.paused_changed.subscribe(told.append)
    await producer.pause()
    await producer.pause()
    assert consumer.producer_paused
    await producer.resume()
    assert told == [True, False]
    assert len(core.named("pause_producer")) == len(core.named("resume_producer")) == 1


async def test_closing_a_producer_closes_its_consumers(core: ScriptedCore, router: Router) -> None:
    producer, consumer = await pair(router)
    reasons: list[str] = []
    consumer.closed.subscribe(reasons.append)
    producer.close()
    producer.close()
    await settle()
    assert reasons == ["producer closed"]
    assert not core.producers
    assert not core.consumers
    assert not consumer.transport.consumers
    with pytest.raises(ProducerNotFoundError):
        await producer.pause()
    with pytest.raises(ConsumerNotFoundError):
        await consumer.resume()


# ---- consumers ---------------------------------------------------------------------------------------------


async def test_a_consumer_is_born_paused_with_numbers_of_its_own(core: ScriptedCore, router: Router) -> None:
    producer, first = await pair(router)
    second = await first.transport.consume(producer, CHROMIUM_RECEIVER)
    assert first.paused
    assert [first.rtp_parameters.mid, second.rtp_parameters.mid] == ["0", "1"]
    numbers = [
        number
        for consumer in (first, second)
        for number in (
            consumer.rtp_parameters.encodings[0].ssrc,
            consumer.rtp_parameters.encodings[0].rtx_ssrc,
        )
    ]
    assert len(set(numbers)) == 4
    (entry,) = core.named("consume")[0]["consumers"]
    assert entry["codecs"][0]["payload_type"] == 101
    assert entry["codecs"][0]["rtx_payload_type"] == 102
    assert entry["cname"] == producer.rtp_parameters.rtcp.cname


async def test_resuming_and_pausing_tells_the_core_only_of_changes(
    core: ScriptedCore, router: Router
) -> None:
    _, consumer = await pair(router)
    await consumer.pause()
    await consumer.resume()
    await consumer.resume()
    assert not consumer.paused
    assert core.named("pause_consumers") == []
    assert core.named("resume_consumers")[0]["consumers"] == [consumer.handle]


async def test_a_batch_is_one_command_and_fails_piece_by_piece(core: ScriptedCore, router: Router) -> None:
    sender = await router.create_webrtc_transport()
    receiver = await router.create_webrtc_transport()
    video = await sender.produce("video", recorded("vp8"))
    other = await router.create_webrtc_transport()
    vp9 = await other.produce("video", recorded("vp9_svc_L3T3_KEY"))
    gone = await (await router.create_webrtc_transport()).produce("video", recorded("h264"))
    gone.close()
    capabilities = RtpCapabilities.from_wire(PYMEDIASOUP["rtpCapabilities"])
    results = await receiver.consume_many([video, vp9, gone], capabilities)
    assert isinstance(results[0], Consumer)
    assert isinstance(results[1], UnsupportedCodecError)
    assert isinstance(results[2], ProducerNotFoundError)
    assert len(core.named("consume")) == 1


async def test_a_producer_that_closes_while_it_is_consumed_is_not_found(
    core: ScriptedCore, router: Router
) -> None:
    producer, consumer = await pair(router)
    request = asyncio.create_task(consumer.transport.consume_many([producer], CHROMIUM_RECEIVER))
    await asyncio.sleep(0)
    producer.close()
    (result,) = await request
    assert isinstance(result, ProducerNotFoundError)
    assert not core.consumers


async def test_a_receiver_that_closes_while_it_consumes_gets_an_error(
    core: ScriptedCore, router: Router
) -> None:
    producer, consumer = await pair(router)
    request = asyncio.create_task(consumer.transport.consume_many([producer], CHROMIUM_RECEIVER))
    await asyncio.sleep(0)
    consumer.transport.close()
    with pytest.raises(TransportNotFoundError):
        await request
    assert not producer.consumers


async def simulcast_consumer(router: Router) -> Consumer:
    sender, receiver = await router.create_webrtc_transport(), await router.create_webrtc_transport()
    producer = await sender.produce("video", recorded("vp8_simulcast3"))
    return await receiver.consume(producer, CHROMIUM_RECEIVER)


async def test_layers_are_clamped_and_a_simple_stream_has_none(core: ScriptedCore, router: Router) -> None:
    _, simple = await pair(router)
    assert await simple.set_preferred_layers(2) is None
    assert not core.named("set_preferred_layers")
    consumer = await simulcast_consumer(router)
    assert consumer.type == "simulcast"
    assert consumer.rtp_parameters.encodings[0].scalability_mode == "L3T3"
    assert consumer.preferred_layers == Layers(2, 2)
    assert await consumer.set_preferred_layers(9) == Layers(2, 2)
    assert await consumer.set_preferred_layers(0, 1) == Layers(0, 1)
    assert consumer.preferred_layers == Layers(0, 1)
    assert [command["layers"] for command in core.named("set_preferred_layers")] == [
        {"spatial_layer": 2, "temporal_layer": 2},
        {"spatial_layer": 0, "temporal_layer": 1},
    ]
    assert consumer.producer_scores == (0, 0, 0)


async def test_layers_of_a_consumer_the_core_has_closed_are_not_found(
    core: ScriptedCore, router: Router
) -> None:
    consumer = await simulcast_consumer(router)
    core.refuse["set_preferred_layers"] = ("not_found", "there is no consumer")
    with pytest.raises(ConsumerNotFoundError):
        await consumer.set_preferred_layers(0)


async def test_the_layers_forwarded_are_known_and_each_change_is_told_once(
    core: ScriptedCore, router: Router
) -> None:
    consumer = await simulcast_consumer(router)
    assert consumer.current_layers is None
    told: list[tuple[Layers | None, Layers | None]] = []
    consumer.layers_changed.subscribe(lambda former: told.append((former, consumer.current_layers)))
    about = {"router": router.handle, "consumer": consumer.handle}
    low = {"spatial_layer": 0, "temporal_layer": None}
    for layers in (low, low, {"spatial_layer": 2, "temporal_layer": 1}, None):
        core.emit("layers_changed", **about, layers=layers)
    await settle()
    low_only, high = Layers(0, None), Layers(2, 1)
    assert told == [(None, low_only), (low_only, high), (high, None)]


async def test_what_is_reported_of_a_consumer_before_it_is_known_is_not_lost(
    core: ScriptedCore, router: Router
) -> None:
    """The core may answer and go on reporting before whoever asked reads the answer."""

    def made(command: dict[str, Any]) -> dict[str, Any]:
        handle = command["consumers"][0]["consumer"]
        about = {"router": router.handle, "consumer": handle}
        core.emit("consumer_score", **about, score=3, producer_score=4, producer_scores=[4])
        core.emit("layers_changed", **about, layers={"spatial_layer": 1, "temporal_layer": None})
        return {"results": [{"consumer": handle, "ok": True, "error": None}]}

    core.answers["consume"] = made
    consumer = await simulcast_consumer(router)
    assert (consumer.score, consumer.producer_score, consumer.producer_scores) == (3, 4, (4,))
    assert consumer.current_layers == Layers(1, None)


async def test_scores_reach_the_objects_they_concern(core: ScriptedCore, router: Router) -> None:
    producer, consumer = await pair(router)
    assert (consumer.score, consumer.producer_score, consumer.producer_scores) == (10, 0, (0,))
    about = {"router": router.handle}
    core.emit(
        "producer_score",
        **about,
        producer=producer.handle,
        scores=[{"encoding_idx": 0, "ssrc": 5, "rid": None, "score": 9}],
    )
    core.emit(
        "consumer_score",
        **about,
        consumer=consumer.handle,
        score=8,
        producer_score=9,
        producer_scores=[9],
    )
    await settle()
    assert producer.scores[0].score == 9
    assert (consumer.score, consumer.producer_score, consumer.producer_scores) == (8, 9, (9,))


async def test_a_key_frame_is_asked_for_video_only(core: ScriptedCore, router: Router) -> None:
    _, video = await pair(router)
    _, audio = await pair(router, "audio")
    await video.request_key_frame()
    await audio.request_key_frame()
    assert [command["consumers"] for command in core.named("request_key_frame")] == [[video.handle]]


async def test_counters_are_found_by_object(router: Router) -> None:
    producer, consumer = await pair(router)
    assert await producer.transport.stats() == {"bytes": 1}
    assert await producer.stats() == {"packets": 2}
    assert await consumer.stats() == {"packets": 3}


# ---- routers -----------------------------------------------------------------------------------------------


async def test_can_consume_says_no_for_unknown_producers(router: Router) -> None:
    producer, _ = await pair(router, "vp9_svc_L3T3_KEY")
    assert router.can_consume(producer.id, CHROMIUM_RECEIVER)
    assert not router.can_consume(producer.id, RtpCapabilities.from_wire(PYMEDIASOUP["rtpCapabilities"]))
    producer.close()
    assert not router.can_consume(producer.id, CHROMIUM_RECEIVER)


async def test_what_consumers_need_is_worked_out_once_per_capability_set(router: Router) -> None:
    producer, _ = await pair(router)
    same = RtpCapabilities.from_wire(CHROMIUM["recvRtpCapabilities"])
    assert producer.consumer_template(CHROMIUM_RECEIVER) is producer.consumer_template(same)


async def test_speakers_and_volumes_name_producers(core: ScriptedCore, router: Router) -> None:
    producer, _ = await pair(router, "audio")
    speakers: list[Producer | None] = []
    volumes: list[tuple[tuple[Producer, int], ...]] = []
    router.active_speaker_changed.subscribe(speakers.append)
    router.volumes_changed.subscribe(volumes.append)
    core.emit("active_speaker", router=router.handle, producer=producer.handle)
    core.emit("active_speaker", router=router.handle, producer=None)
    core.emit(
        "volumes",
        router=router.handle,
        volumes=[{"producer": producer.handle, "volume": -30}, {"producer": 999, "volume": -40}],
    )
    core.emit("volumes", router=router.handle, volumes=[])
    await settle()
    assert speakers == [producer, None]
    assert volumes == [((producer, -30),), ()]


async def test_closing_a_router_closes_all_and_forgets_all(
    core: ScriptedCore, worker: Worker, router: Router
) -> None:
    producer, consumer = await pair(router)
    order: list[str] = []
    consumer.closed.subscribe(lambda _: order.append("consumer"))
    producer.closed.subscribe(lambda _: order.append("producer"))
    producer.transport.closed.subscribe(lambda _: order.append("transport"))
    router.closed.subscribe(lambda _: order.append("router"))
    router.close()
    router.close()
    await settle()
    assert order == ["consumer", "producer", "transport", "router"]
    assert core.object_count == 0
    assert not router.transports
    assert not worker.routers
    assert router.producer(producer.id) is None


async def test_the_number_of_objects_in_the_core_returns_to_where_it_was(
    core: ScriptedCore, router: Router
) -> None:
    before = core.object_count
    for _ in range(50):
        producer, consumer = await pair(router)
        consumer.transport.close()
        producer.transport.close()
    await settle()
    assert core.object_count == before


async def test_a_failing_callback_does_not_keep_others_from_being_told(
    router: Router, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fail(_: str) -> None:
        raise MeeshyError("on purpose")

    transport: WebRtcTransport = await router.create_webrtc_transport()
    transport.closed.subscribe(fail)
    transport.closed.subscribe(told.append)
    transport.close("over")
    assert told == ["over"]
    assert "on purpose" in caplog.text
