"""Rooms: who may do what, who is told, and who closes whom."""

import asyncio
from typing import Any

import pytest

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.errors import (
    CapacityError,
    ConsumerAlreadyExistsError,
    ConsumerNotFoundError,
    ForbiddenError,
    InvalidRequestError,
    InvalidStateError,
    KickedError,
    MeeshyError,
    NoPortError,
    ParticipantNotFoundError,
    ProducerAlreadyExistsError,
    ProducerNotFoundError,
    RoomAlreadyExistsError,
    RoomFullError,
    RoomNotFoundError,
    TransportNotFoundError,
    UnsupportedCodecError,
    WorkerDiedError,
)
from meeshy_sfu.media.consumer import Consumer
from meeshy_sfu.media.ids import ConsumerId, ProducerId, TransportId
from meeshy_sfu.media.producer import Producer
from meeshy_sfu.media.rtp_parameters import (
    DtlsParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpParameters,
    read_media_codecs,
)
from meeshy_sfu.rooms.listener import RoomListener
from meeshy_sfu.rooms.participant import Participant, ParticipantId
from meeshy_sfu.rooms.registry import RoomRegistry
from meeshy_sfu.rooms.room import CallId, Room
from tests.unit.media.recordings import CHROMIUM
from tests.unit.media.scripted_core import ScriptedCore
from tests.unit.rooms.notes import Notes

RECEIVER = RtpCapabilities.from_wire(CHROMIUM["recvRtpCapabilities"])
CALL = CallId("call-1")
ANN, BEN, CID, DAN = (ParticipantId(name) for name in ("ann", "ben", "cid", "dan"))


@pytest.fixture
async def room(registry: RoomRegistry) -> Room:
    return await registry.create(CALL)


async def come_in(room: Room, participant_id: ParticipantId) -> Participant:
    participant, _, _ = await room.join_with_transports(participant_id, rtp_capabilities=RECEIVER)
    return participant


async def send(participant: Participant, name: str = "vp8", **app_data: str) -> Producer:
    wire: dict[str, Any] = {
        **CHROMIUM["produce"][name]["rtpParameters"],
        "mid": f"m{len(participant.producers)}",
    }
    wire["encodings"] = [{"ssrc": 1000 + 10 * len(participant.producers)}]
    (transport,) = [t for t in participant.transports if participant.direction_of(t) == "send"]
    kind = "audio" if name.startswith("audio") else "video"
    return await participant.produce(transport, kind, RtpParameters.from_wire(wire), app_data=app_data)


async def receive(participant: Participant, producer: Producer) -> Consumer:
    (consumer,) = await participant.consume([producer.id])
    assert isinstance(consumer, Consumer)
    return consumer


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ---- the registry ------------------------------------------------------------------------------------------


async def test_a_call_has_one_room(registry: RoomRegistry, room: Room, notes: Notes) -> None:
    assert registry.get(CALL) is registry.find(CALL) is room
    with pytest.raises(RoomAlreadyExistsError):
        await registry.create(CALL)
    assert notes.names == ["room_created"]


async def test_two_that_create_one_room_at_once_get_one(registry: RoomRegistry) -> None:
    results = await asyncio.gather(registry.create(CALL), registry.create(CALL), return_exceptions=True)
    assert [type(result) for result in results] == [Room, RoomAlreadyExistsError]


async def test_a_server_carries_a_limited_number_of_calls(registry: RoomRegistry, room: Room) -> None:
    await registry.create(CallId("call-2"))
    assert registry.full
    with pytest.raises(CapacityError) as caught:
        await registry.create(CallId("call-3"))
    assert caught.value.details == {"limit": "rooms"}
    assert caught.value.http_status == 503


async def test_an_unknown_call_has_no_room(registry: RoomRegistry) -> None:
    with pytest.raises(RoomNotFoundError):
        registry.get(CALL)
    with pytest.raises(RoomNotFoundError):
        registry.destroy(CALL)
    assert registry.find(CALL) is None


async def test_a_failed_creation_leaves_the_call_free(registry: RoomRegistry, core: ScriptedCore) -> None:
    with pytest.raises(UnsupportedCodecError):
        await registry.create(CALL, [RtpCodecCapability("video/H265", 90000)])
    await registry.create(CALL)


async def test_a_room_forwards_the_codecs_it_was_created_with(registry: RoomRegistry) -> None:
    wanted = read_media_codecs([{"mimeType": "audio/opus", "clockRate": 48000, "channels": 2}])
    room = await registry.create(CALL, wanted)
    assert [codec.mime_type for codec in room.router.rtp_capabilities.codecs] == ["audio/opus"]


async def test_destroying_a_room_tells_everyone_once(
    registry: RoomRegistry, room: Room, notes: Notes, core: ScriptedCore
) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    await receive(ben, await send(ann))
    notes.told.clear()
    registry.destroy(CALL, "the call is over")
    room.close("again")
    await settle()
    assert notes.names == ["participant_left", "participant_left", "room_closed"]
    assert notes.named("room_closed") == [("the call is over",)]
    assert registry.find(CALL) is None
    assert core.object_count == 0
    assert room.transport_count == room.producer_count == room.consumer_count == 0


async def test_rooms_that_nobody_entered_are_closed_after_a_while(
    registry: RoomRegistry, room: Room, clock: ManualClock
) -> None:
    entered = await registry.create(CallId("call-2"))
    await come_in(entered, ANN)
    clock.advance(60)
    assert registry.close_idle(older_than_s=61) == 0
    assert registry.close_idle(older_than_s=60) == 1
    assert room.closed_reason == "no participant came"
    assert not entered.is_closed


async def test_a_room_made_in_advance_counts_only_once_it_is_activated(
    registry: RoomRegistry, room: Room
) -> None:
    await come_in(room, ANN)
    for number in range(3):
        await registry.create(CallId(f"in-advance-{number}"), in_advance=True)
    assert not registry.full
    assert not registry.activate(CallId("in-advance-0")).in_advance
    assert registry.full
    registry.activate(CallId("in-advance-0"))
    with pytest.raises(CapacityError):
        registry.activate(CallId("in-advance-1"))
    assert registry.get(CallId("in-advance-1")).in_advance
    with pytest.raises(RoomNotFoundError):
        registry.activate(CallId("unknown"))


async def test_a_room_that_nobody_entered_makes_way_when_the_server_is_full(
    registry: RoomRegistry, room: Room, clock: ManualClock
) -> None:
    await come_in(await registry.create(CallId("call-2")), ANN)
    clock.advance(119)
    with pytest.raises(CapacityError):
        await registry.create(CallId("call-3"))
    clock.advance(1)
    await registry.create(CallId("call-3"))
    assert room.closed_reason == "no participant came"
    with pytest.raises(CapacityError):
        await registry.create(CallId("call-4"))


async def test_a_closed_registry_takes_no_more_calls(registry: RoomRegistry, room: Room) -> None:
    registry.close()
    assert room.closed_reason == "server closed"
    with pytest.raises(InvalidStateError):
        await registry.create(CallId("call-2"))


async def test_the_death_of_the_worker_is_the_reason_a_room_closes(
    registry: RoomRegistry, room: Room, notes: Notes, core: ScriptedCore
) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    await receive(ben, await send(ann))
    notes.told.clear()
    core.emit("died", index=0, message="on purpose")
    await settle()
    assert notes.names == ["participant_left", "participant_left", "room_closed"]
    assert notes.named("room_closed") == [("worker died",)]
    assert not registry.rooms
    with pytest.raises(WorkerDiedError):
        await registry.create(CALL)


# ---- coming and going --------------------------------------------------------------------------------------


async def test_joining_in_one_step_opens_both_transports(room: Room, notes: Notes) -> None:
    participant, sending, receiving = await room.join_with_transports(ANN, rtp_capabilities=RECEIVER)
    assert participant.direction_of(sending.id) == "send"
    assert participant.receive_transport() is receiving
    assert notes.named("participant_joined") == [(participant,)]


async def test_the_first_transport_lets_a_participant_in(room: Room) -> None:
    await room.create_transport(ANN, "send")
    transport = await room.create_transport(ANN, "recv")
    assert list(room.participants) == [ANN]
    assert room.participant(ANN).receive_transport() is transport


async def test_tracks_are_received_on_the_newest_receive_transport(room: Room) -> None:
    await room.create_transport(ANN, "recv")
    newest = await room.create_transport(ANN, "recv")
    await room.create_transport(ANN, "send")
    assert room.participant(ANN).receive_transport() is newest
    newest.close()
    assert room.participant(ANN).receive_transport() is not newest


async def test_a_room_holds_a_limited_number_of_participants(room: Room) -> None:
    for name in (ANN, BEN, CID):
        room.enter(name)
    with pytest.raises(RoomFullError) as caught:
        room.enter(DAN)
    assert (caught.value.http_status, caught.value.code) == (403, "ROOM_FULL")
    assert room.enter(ANN) is room.participant(ANN)
    assert room.join(ANN) is room.participant(ANN)


async def test_a_room_holds_a_limited_number_of_transports_even_at_once(room: Room) -> None:
    results = await asyncio.gather(
        *(room.create_transport(ANN, "recv") for _ in range(8)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, CapacityError)]
    assert len(refused) == 2
    assert refused[0].details == {"limit": "transports_per_room"}


async def test_a_first_transport_that_fails_leaves_nobody_in_the_room(room: Room, core: ScriptedCore) -> None:
    core.refuse["create_transport"] = ("no_port", "no address")
    with pytest.raises(NoPortError):
        await room.create_transport(ANN, "send")
    with pytest.raises(NoPortError):
        await room.join_with_transports(ANN)
    assert not room.participants
    assert not room.is_closed


async def test_the_last_one_out_closes_the_room(registry: RoomRegistry, room: Room, notes: Notes) -> None:
    await come_in(room, ANN)
    await come_in(room, BEN)
    assert room.leave(ANN)
    assert not room.is_closed
    assert room.leave(BEN)
    assert not room.leave(BEN)
    assert room.closed_reason == "the last participant left"
    assert registry.find(CALL) is None
    assert notes.names[-1] == "room_closed"
    with pytest.raises(RoomNotFoundError):
        room.enter(ANN)


async def test_leaving_closes_the_consumers_of_others(room: Room, notes: Notes, core: ScriptedCore) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    consumer = await receive(ben, producer)
    notes.told.clear()
    ann.leave()
    ann.leave()
    await settle()
    assert notes.told == [
        ("consumer_closed", (ben, consumer, "producer closed")),
        ("producer_closed", (ann, producer, "left")),
        ("participant_left", (ann, "left")),
    ]
    assert not core.consumers
    assert not ben.consumers
    assert room.consumer_count == 0


async def test_joining_again_replaces_the_former_self(room: Room, notes: Notes, core: ScriptedCore) -> None:
    former = await come_in(room, ANN)
    producer = await send(former)
    present = await come_in(room, ANN)
    assert former.is_closed
    assert producer.is_closed
    assert room.participant(ANN) is present
    assert not room.is_closed
    assert notes.named("participant_left") == [(former, "replaced by a new connection")]
    former.leave()
    assert room.participant(ANN) is present
    with pytest.raises(ParticipantNotFoundError):
        await former.create_transport("send")
    await settle()
    assert len(core.transports) == 2


async def test_a_transport_made_for_somebody_who_left_is_closed(room: Room, core: ScriptedCore) -> None:
    await come_in(room, BEN)
    ann = room.enter(ANN)
    request = asyncio.create_task(ann.create_transport("send"))
    await asyncio.sleep(0)
    ann.leave()
    with pytest.raises(ParticipantNotFoundError):
        await request
    await settle()
    assert len(core.transports) == 2


async def test_a_transport_made_in_a_room_that_closes_finds_no_room(room: Room, core: ScriptedCore) -> None:
    ann = room.enter(ANN)
    request = asyncio.create_task(ann.create_transport("send"))
    await asyncio.sleep(0)
    room.close("over")
    with pytest.raises(RoomNotFoundError, match="over"):
        await request
    await settle()
    assert core.object_count == 0


async def test_somebody_whose_connections_are_lost_leaves(
    room: Room, core: ScriptedCore, notes: Notes
) -> None:
    ann = await come_in(room, ANN)
    await come_in(room, BEN)
    first, second = ann.transports.values()
    for transport in (first, second):
        transport.dtls_state = "connected"
    about = {"router": room.router.handle, "reason": "consent lost"}
    core.emit("transport_closed", **about, transport=first.handle)
    await settle()
    assert ANN in room.participants
    core.emit("transport_closed", **about, transport=second.handle)
    await settle()
    assert ANN not in room.participants
    assert notes.named("participant_left") == [(ann, "connection lost: consent lost")]


async def test_somebody_without_a_path_is_cut_off_until_one_comes_back(
    room: Room, core: ScriptedCore, notes: Notes
) -> None:
    ann = await come_in(room, ANN)
    assert not ann.is_cut_off
    for transport, cut_off in zip(ann.transports.values(), (False, True), strict=True):
        about = {"router": room.router.handle, "transport": transport.handle}
        core.emit("transport_ice", **about, state="disconnected", selected=None)
        await settle()
        assert ann.is_cut_off is cut_off
    assert ANN in room.participants, "the transports stay for an ICE restart"
    core.emit("transport_ice", **about, state="connected", selected=None)
    await settle()
    assert not ann.is_cut_off


async def test_somebody_who_closes_all_transports_stays(room: Room) -> None:
    ann = await come_in(room, ANN)
    for transport_id in list(ann.transports):
        ann.close_transport(transport_id)
    assert ANN in room.participants
    with pytest.raises(TransportNotFoundError):
        ann.receive_transport()


# ---- sending and receiving ---------------------------------------------------------------------------------


async def test_a_new_track_is_told_with_its_sender(room: Room, notes: Notes) -> None:
    ann = await come_in(room, ANN)
    producer = await send(ann, source="camera")
    assert notes.named("new_producer") == [(ann, producer)]
    assert room.producers() == [(ann, producer)]
    assert room.producers(but=ANN) == []
    assert producer.app_data == {"source": "camera"}


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ({"source": "camera"}, {"source": "screen"}, True),
        ({"source": "camera"}, {"source": "camera"}, False),
        ({"source": "camera"}, {}, True),
        ({}, {}, True),
        ({}, {"source": "screen"}, True),
    ],
)
async def test_one_track_of_each_kind_and_source(
    room: Room, first: dict[str, str], second: dict[str, str], allowed: bool
) -> None:
    ann = await come_in(room, ANN)
    producer = await send(ann, **first)
    if allowed:
        await send(ann, **second)
        return
    with pytest.raises(ProducerAlreadyExistsError) as caught:
        await send(ann, **second)
    assert caught.value.http_status == 409
    producer.close()
    await send(ann, **second)


async def test_two_tracks_of_one_source_at_once_are_one(room: Room) -> None:
    ann = await come_in(room, ANN)
    results = await asyncio.gather(
        send(ann, source="camera"), send(ann, source="camera"), return_exceptions=True
    )
    assert [type(result) for result in results] == [Producer, ProducerAlreadyExistsError]


async def test_one_live_consumer_per_producer_and_receiving_transport(room: Room) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    consumer = await receive(ben, producer)
    for _ in range(3):
        (again,) = await ben.consume([producer.id])
        assert isinstance(again, ConsumerAlreadyExistsError)
        assert again.http_status == 409
        assert again.details["consumerId"] == consumer.id
    assert room.consumer_count == 1
    consumer.close("closed by the receiver")
    renewed = await receive(ben, producer)
    await ben.create_transport("recv")
    assert (await receive(ben, producer)).id != renewed.id, "another transport is another path"


async def test_two_requests_for_one_producer_at_once_make_one_consumer(room: Room) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    answers = await asyncio.gather(*(ben.consume([producer.id]) for _ in range(100)))
    made = [answer for (answer,) in answers if isinstance(answer, Consumer)]
    refused = [answer for (answer,) in answers if isinstance(answer, ConsumerAlreadyExistsError)]
    assert (len(made), len(refused), room.consumer_count) == (1, 99, 1)


@pytest.mark.parametrize("source", ["", "x" * 65, 7, "a\x00", "\u202ecamera", " "])
async def test_a_source_is_a_short_string(room: Room, source: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"appData\.source"):
        await send(await come_in(room, ANN), source=source)


async def test_a_receive_transport_sends_nothing(room: Room) -> None:
    ann = await come_in(room, ANN)
    parameters = RtpParameters.from_wire(CHROMIUM["produce"]["vp8"]["rtpParameters"])
    with pytest.raises(InvalidRequestError, match="transportId"):
        await ann.produce(ann.receive_transport().id, "video", parameters)
    with pytest.raises(TransportNotFoundError):
        await ann.produce(TransportId("made up"), "video", parameters)


async def test_a_room_holds_a_limited_number_of_tracks(room: Room) -> None:
    ann = await come_in(room, ANN)
    for number in range(4):
        await send(ann, source=f"screen-{number}")
    with pytest.raises(CapacityError) as caught:
        await send(ann, source="one more")
    assert caught.value.details == {"limit": "producers_per_room"}
    assert len(ann.producers) == 4


async def test_a_batch_of_consumers_comes_back_in_order_with_its_errors(
    room: Room, core: ScriptedCore
) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    video, audio = await send(ann), await send(ann, "audio")
    results = await ben.consume([audio.id, ProducerId("made up"), video.id], RECEIVER)
    assert isinstance(results[0], Consumer)
    assert results[0].producer is audio
    assert isinstance(results[1], ProducerNotFoundError)
    assert isinstance(results[2], Consumer)
    assert results[2].producer is video
    assert len(core.named("consume")) == 1
    assert room.consumer_count == len(ben.consumers) == 2


async def test_one_participant_receives_a_limited_number_of_tracks(room: Room) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    await ben.consume([producer.id] * 5)
    with pytest.raises(CapacityError) as caught:
        await ben.consume([producer.id])
    assert caught.value.details == {"limit": "consumers_per_participant"}


async def test_capabilities_are_needed_once(room: Room) -> None:
    ann = await come_in(room, ANN)
    producer = await send(ann)
    await room.create_transport(BEN, "recv")
    ben = room.participant(BEN)
    with pytest.raises(InvalidRequestError, match="rtpCapabilities"):
        await ben.consume([producer.id])
    assert isinstance((await ben.consume([producer.id], RECEIVER))[0], Consumer)
    with pytest.raises(TransportNotFoundError):
        await room.enter(CID).consume([producer.id], RECEIVER)


async def test_consumers_are_resumed_and_paused_in_batches(room: Room, core: ScriptedCore) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    consumers = [await receive(ben, await send(ann, name)) for name in ("vp8", "audio")]
    ids = [consumer.id for consumer in consumers]
    assert await ben.resume_consumers([*ids, ConsumerId("made up")]) == ["made up"]
    assert [consumer.paused for consumer in consumers] == [False, False]
    assert len(core.named("resume_consumers")) == 1
    assert await ben.pause_consumers(ids) == []
    assert [consumer.paused for consumer in consumers] == [True, True]


async def test_closing_ones_own_consumer_is_not_told_to_oneself(room: Room, notes: Notes) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    consumer = await receive(ben, await send(ann))
    ben.close_consumer(consumer.id)
    assert not notes.named("consumer_closed")
    assert room.consumer_count == 0
    with pytest.raises(ConsumerNotFoundError):
        ben.close_consumer(consumer.id)


async def test_closing_a_track_ends_it_for_everyone(room: Room, notes: Notes) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    consumer = await receive(ben, producer)
    ann.close_producer(producer.id)
    assert notes.named("producer_closed") == [(ann, producer, "producer closed")]
    assert notes.named("consumer_closed") == [(ben, consumer, "producer closed")]
    with pytest.raises(ProducerNotFoundError):
        ann.close_producer(producer.id)


async def test_a_track_that_pauses_is_told_to_its_receivers(room: Room, notes: Notes) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    consumer = await receive(ben, producer)
    await producer.pause()
    await producer.resume()
    assert notes.named("consumer_paused") == notes.named("consumer_resumed") == [(ben, consumer)]


async def test_a_transport_is_connected_through_its_owner(room: Room, core: ScriptedCore) -> None:
    ann = await come_in(room, ANN)
    dtls = DtlsParameters.from_wire(CHROMIUM["connect"]["dtlsParameters"])
    await ann.connect_transport(ann.receive_transport().id, dtls)
    assert len(core.named("connect_transport")) == 1
    with pytest.raises(TransportNotFoundError):
        await ann.connect_transport(TransportId("made up"), dtls)


# ---- whose is it -------------------------------------------------------------------------------------------


async def test_only_owners_and_services_get_at_things(room: Room) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann)
    consumer = await receive(ben, producer)
    transport = ben.receive_transport()
    assert room.producer(producer.id, by=ANN) == room.producer(producer.id, by=None) == (ann, producer)
    assert room.consumer(consumer.id, by=BEN) == (ben, consumer)
    assert room.transport(transport.id, by=BEN) == (ben, transport)
    with pytest.raises(ForbiddenError):
        room.producer(producer.id, by=BEN)
    with pytest.raises(ForbiddenError):
        room.consumer(consumer.id, by=ANN)
    with pytest.raises(ForbiddenError):
        room.transport(transport.id, by=ANN)


async def test_unknown_things_are_not_found_by_anyone(room: Room) -> None:
    with pytest.raises(ProducerNotFoundError):
        room.producer(ProducerId("x"), by=None)
    with pytest.raises(ConsumerNotFoundError):
        room.consumer(ConsumerId("x"), by=ANN)
    with pytest.raises(TransportNotFoundError):
        room.transport(TransportId("x"), by=ANN)
    with pytest.raises(ParticipantNotFoundError):
        room.participant(ANN)


# ---- what is heard -----------------------------------------------------------------------------------------


async def test_speakers_volumes_and_scores_are_told_with_their_people(
    room: Room, notes: Notes, core: ScriptedCore
) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    producer = await send(ann, "audio")
    consumer = await receive(ben, producer)
    about = {"router": room.router.handle}
    core.emit("active_speaker", **about, producer=producer.handle)
    core.emit("active_speaker", **about, producer=None)
    core.emit("volumes", **about, volumes=[{"producer": producer.handle, "volume": -30}])
    core.emit("producer_score", **about, producer=producer.handle, scores=[])
    core.emit(
        "consumer_score",
        **about,
        consumer=consumer.handle,
        score=7,
        producer_score=8,
        producer_scores=[8],
    )
    await settle()
    assert notes.named("active_speaker") == [(ann, producer), (None, None)]
    assert notes.named("volumes") == [([(ann, producer, -30)],)]
    assert notes.named("producer_score") == [(ann, producer)]
    assert notes.named("consumer_score") == [(ben, consumer)]


async def test_the_layers_of_a_track_are_told_with_its_receiver(
    room: Room, notes: Notes, core: ScriptedCore
) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    (transport,) = [t for t in ann.transports if ann.direction_of(t) == "send"]
    parameters = RtpParameters.from_wire(CHROMIUM["produce"]["vp8_simulcast3"]["rtpParameters"])
    consumer = await receive(ben, await ann.produce(transport, "video", parameters))
    core.emit(
        "layers_changed",
        router=room.router.handle,
        consumer=consumer.handle,
        layers={"spatial_layer": 1, "temporal_layer": None},
    )
    await settle()
    assert notes.named("consumer_layers") == [(ben, consumer, None)]


async def test_who_joins_waits_for_media_from_their_first_request_and_who_was_first_from_the_first_track(
    room: Room, notes: Notes, core: ScriptedCore, clock: ManualClock
) -> None:
    def flows(person: Participant) -> None:
        transport = list(person.transports.values())[-1]
        core.emit("transport_media", router=room.router.handle, transport=transport.handle)

    ann = await come_in(room, ANN)
    clock.advance(60)
    ben = await come_in(room, BEN)
    clock.advance(2)
    producer = await send(ben, "audio")
    clock.advance(0.5)
    await receive(ann, producer)
    flows(ann)
    await settle()
    clock.advance(1)
    cem = await come_in(room, ParticipantId("cem"))
    clock.advance(0.25)
    flows(cem)
    await settle()
    # another transport, and what has media already, wait for nothing
    flows(ann)
    flows(cem)
    await settle()
    assert notes.named("media_started") == [(ann, 0.5), (cem, 0.25)]
    flows(ben)
    await settle()
    assert len(notes.named("media_started")) == 2, "nobody else sends"


async def test_a_listener_that_fails_does_not_stop_the_room(
    registry: RoomRegistry, room: Room, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise MeeshyError("on purpose")

    notes.participant_left = fail  # type: ignore[method-assign]
    await come_in(room, ANN)
    room.leave(ANN)
    assert room.is_closed
    assert registry.find(CALL) is None
    assert "on purpose" in caplog.text


async def test_a_listener_may_leave_out_what_it_does_not_care_for(registry: RoomRegistry, room: Room) -> None:
    quiet = RoomListener()
    quiet.room_created(room)
    quiet.room_closed(room, "over")
    assert quiet.volumes(room, []) is None  # type: ignore[func-returns-value]


async def test_a_thousand_joins_and_leaves_leave_nothing(
    registry: RoomRegistry, room: Room, core: ScriptedCore
) -> None:
    ben = await come_in(room, BEN)
    await settle()
    before = core.object_count
    for _ in range(1000):
        ann = await come_in(room, ANN)
        await receive(ben, await send(ann))
        ann.leave()
    await settle()
    assert core.object_count == before
    assert (room.transport_count, room.producer_count, room.consumer_count) == (2, 0, 0)
    assert not ben.consumers


async def test_a_transport_that_is_ready_after_its_session_was_replaced_is_closed(
    room: Room, core: ScriptedCore
) -> None:
    ann = room.enter(ANN)
    ann.take_over()
    making = asyncio.create_task(ann.create_transport("send"))
    await asyncio.sleep(0)
    ann.take_over()
    with pytest.raises(KickedError, match="took over"):
        await making
    assert not ann.transports
    assert room.transport_count == 0
    assert not room.router.transports


async def test_a_take_over_closes_what_the_former_session_owned_and_frees_its_sources(
    room: Room, notes: Notes
) -> None:
    ann, ben = await come_in(room, ANN), await come_in(room, BEN)
    ann.take_over()
    producer = await send(ann, source="camera")
    await ben.consume([producer.id])
    ann.take_over()
    assert producer.is_closed
    assert not ann.transports
    assert not ben.consumers
    assert [arguments[0].id for arguments in notes.named("producer_closed")] == [ANN]
    assert ANN in room.participants
    await room.create_transport(ANN, "send")
    await send(ann, source="camera")
