"""Commands, answers and events of the native worker: Python writes and reads every field that Rust has, and no other.

A red test here after a change of crates/sfu-worker/interface.json: give the Python side the field too, or take it away.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import pytest

from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.media import channel, events
from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS, HEADER_EXTENSIONS
from meeshy_sfu.media.events import CoreFailure, read_event
from meeshy_sfu.media.router import Router
from meeshy_sfu.media.rtp_parameters import DtlsParameters, MediaKind, RtpCapabilities, RtpParameters
from meeshy_sfu.media.stats import RouterStats, WorkerStats
from meeshy_sfu.media.worker import Worker
from tests.unit.media.recordings import CHROMIUM
from tests.unit.media.scripted_core import ScriptedCore
from tests.unit.native_interface import WORKER, changed, differences, leaves, unread

COMMANDS = {sample["type"]: sample for sample in WORKER["commands"]}
ANSWERS: dict[str, Any] = WORKER["answers"]
EVENTS = {sample["type"]: sample for sample in WORKER["events"]}
RECEIVER = RtpCapabilities.from_wire(CHROMIUM["recvRtpCapabilities"])
DTLS = DtlsParameters.from_wire(CHROMIUM["connect"]["dtlsParameters"])

IGNORED_IN_EVENTS: Mapping[str, set[str]] = {
    # Only for the log: `tcp 192.0.2.1:10000`.
    "ready": {f"candidates.0.{name}" for name in ("foundation", "priority", "type", "tcp_type")},
}
IGNORED_ANSWERS: Mapping[str, str] = {
    "connect_transport": "the role is ours to know: the client is told `auto` and takes its own",
    "pause_consumers": "consumers that closed meanwhile need no pause",
    "resume_consumers": "the same",
    "close_consumers": "the same",
    "request_key_frame": "the same",
}


async def say_everything(worker: Worker) -> None:
    """Have every command sent, as the media objects send them."""
    router = await worker.create_router(DEFAULT_MEDIA_CODECS)
    sender = await router.create_webrtc_transport(max_incoming_bps=900_000, padding=True)
    receiver = await router.create_webrtc_transport()
    await sender.connect(DTLS)
    await sender.restart_ice()
    await sender.set_max_incoming_bitrate(500_000)
    for name in ("audio_opts", "vp8", "vp8_simulcast3"):
        parameters = RtpParameters.from_wire(CHROMIUM["produce"][name]["rtpParameters"])
        producer = await sender.produce(parameters.codecs[0].kind, parameters)
        await producer.pause()
        await producer.resume()
        consumer = await receiver.consume(producer, RECEIVER)
        await receiver.resume_consumers([consumer])
        await receiver.request_key_frames([consumer])
        await consumer.set_preferred_layers(0)
        await receiver.pause_consumers([consumer])
        consumer.close()
        producer.close()
    await worker.fetch_stats()
    await router.stats()
    await worker.inject_faults(1, [COMMANDS["inject_faults"]["faults"][0]])
    await worker.fault_log()
    await sender.panic()
    sender.close()
    router.close()
    await worker.panic()


async def test_every_command_is_written_as_the_core_reads_it(core: ScriptedCore, worker: Worker) -> None:
    await say_everything(worker)
    assert {command["type"] for command in core.commands} == set(COMMANDS)
    for command in core.commands:
        assert differences(command, COMMANDS[command["type"]]) == [], command


@pytest.mark.parametrize("name", EVENTS)
def test_every_value_of_an_event_is_read(name: str) -> None:
    def read(sample: Any) -> object:
        return read_event(json.dumps({"type": name, **sample}))

    sample = {key: value for key, value in EVENTS[name].items() if key != "type"}
    assert unread(sample, read) == IGNORED_IN_EVENTS.get(name, set())
    assert never_filled(sample, read) == set()


def never_filled(sample: Any, read: Callable[[Any], object]) -> set[str]:
    """The fields of the value read that no value of the sample reaches."""
    before = flat(read(sample))
    reached: set[str] = set()
    for place in leaves(sample):
        after = flat(read(changed(sample, place)))
        reached |= {name for name in before if before[name] != after[name]}
    return set(before) - reached


def flat(value: object, name: str = "") -> dict[str, object]:
    if is_dataclass(value):
        inside = [flat(getattr(value, item.name), f"{name}.{item.name}") for item in fields(value)]
        return {key: item for part in inside for key, item in part.items()}
    return {name: value}


async def created(router: Router) -> object:
    transport = await router.create_webrtc_transport()
    return transport.ice_parameters, transport.ice_candidates


async def restarted(router: Router) -> object:
    return await (await router.create_webrtc_transport()).restart_ice()


async def consumed(router: Router) -> object:
    parameters = RtpParameters.from_wire(CHROMIUM["produce"]["vp8"]["rtpParameters"])
    producer = await (await router.create_webrtc_transport()).produce("video", parameters)
    (result,) = await (await router.create_webrtc_transport()).consume_many([producer], RECEIVER)
    assert isinstance(result, MeeshyError)
    # The id of the producer is new in every run.
    return type(result), result.message.replace(producer.id, "")


async def counted(router: Router) -> object:
    return await router.worker.fetch_stats()


async def faulted(router: Router) -> object:
    return await router.worker.fault_log()


async def described(router: Router) -> object:
    return await router.stats()


READERS: Mapping[str, tuple[Callable[[Router], Awaitable[object]], set[str]]] = {
    "create_transport": (
        created,
        # Said by what a client is always told: `ice_lite` and `host`, and `passive` for TCP.
        {"ice_parameters.ice_lite", "ice_candidates.0.type", "ice_candidates.0.tcp_type"},
    ),
    "restart_ice": (restarted, {"ice_lite"}),
    # An entry without an error is there.
    "consume": (consumed, {"results.0.ok"}),
    "stats": (counted, set()),
    "fault_log": (faulted, set()),
    "dump": (
        described,
        # Known from the events; only the counters are news.
        {"router"}
        | {f"transports.0.{name}" for name in ("ice_state", "dtls_state")}
        | {f"transports.0.selected.{name}" for name in ("local", "remote", "protocol")}
        | {f"producers.0.{name}" for name in ("transport", "kind")}
        | {f"consumers.0.{name}" for name in ("transport", "producer")},
    ),
}


def test_every_answer_is_read_or_ignored_for_a_reason() -> None:
    assert READERS.keys() | IGNORED_ANSWERS.keys() == set(ANSWERS)


@pytest.mark.parametrize("name", READERS)
async def test_every_value_of_an_answer_is_read(core: ScriptedCore, worker: Worker, name: str) -> None:
    read, ignored = READERS[name]
    router = await worker.create_router(DEFAULT_MEDIA_CODECS)

    async def answered(sample: Any) -> object:
        core.answers[name] = lambda command: with_handle(name, sample, command)
        return await read(router)

    before = await answered(ANSWERS[name])
    same = {
        ".".join(map(str, place))
        for place in leaves(ANSWERS[name])
        if await answered(changed(ANSWERS[name], place)) == before
    }
    assert same == ignored


def with_handle(name: str, sample: Any, command: Mapping[str, Any]) -> Any:
    """The sample with the handle that was asked for; as far beside it as the sample was changed."""
    if name != "consume":
        return sample
    (result,) = sample["results"]
    beside = result["consumer"] - ANSWERS[name]["results"][0]["consumer"]
    return {"results": [{**result, "consumer": command["consumers"][0]["consumer"] + beside}]}


def test_the_totals_have_the_fields_of_the_core() -> None:
    assert {item.name for item in fields(WorkerStats)} == set(ANSWERS["stats"])
    assert {item.name for item in fields(RouterStats)} == set(ANSWERS["dump"]) - {"router"}


def test_the_words_are_those_of_the_core() -> None:
    words = {name: set(values) for name, values in WORKER["words"].items()}
    assert words["ice_state"] == set(get_args(events.IceState))
    assert words["dtls_state"] == set(get_args(events.DtlsState))
    assert words["media_kind"] == set(get_args(MediaKind))
    assert words["header_extension"] == {extension.uri for extension in HEADER_EXTENSIONS}
    assert words["protocol"] == {"udp", "tcp"}
    assert words["dtls_role"] == {"auto", "client", "server"}
    unknown = type(channel.core_error(CoreFailure("unheard_of", "")))
    assert {
        code for code in words["error_code"] if type(channel.core_error(CoreFailure(code, ""))) is unknown
    } == set()
