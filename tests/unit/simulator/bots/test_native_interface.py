"""Options, parameters and events of the native pool: Python has every field that Rust has, and no other.

A red test here after a change of crates/sfu-bot/interface.json: add the field to simulator/bots/pool_wire.py too, or
remove it. That the bots write and read by these types is what mypy checks.
"""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from simulator.bots import pool_wire
from simulator.bots.native import _NOTED, link_profile
from simulator.client.media_server import Direction, Json
from simulator.samples.schema import Kind
from simulator.scenario import Link
from tests.unit.native_interface import BOT

EVENTS = {sample["type"]: sample for sample in BOT["events"]}
EVENT_TYPES = {get_args(get_type_hints(of)["type"])[0]: of for of in get_args(pool_wire.PoolEvent)}
OBJECTS = {
    "pool_config": pool_wire.PoolConfig,
    "spawn_options": pool_wire.SpawnOptions,
    "link_profile": pool_wire.LinkProfile,
    "connect_parameters": pool_wire.ConnectParameters,
    "consume_request": pool_wire.ConsumeRequest,
    "local_parameters": pool_wire.LocalParameters,
    "health": pool_wire.Health,
}
FOR_RTP_PARAMETERS = {"rtp_parameters"}
"""Carried as they come from a media server or an offer; the pool ignores what it does not know in them."""


def misfits(of: Any, sample: Any, place: str) -> list[str]:
    """List where a type and a sample differ in form."""
    if is_typeddict(of):
        hints = get_type_hints(of)
        missing = [f"{place}.{name}: Python does not have it" for name in sample.keys() - hints.keys()]
        surplus = [f"{place}.{name}: only Python has it" for name in hints.keys() - sample.keys()]
        inside = [
            line
            for name in hints.keys() & sample.keys()
            for line in misfits(hints[name], sample[name], f"{place}.{name}")
        ]
        return sorted(missing + surplus + inside)
    origin, arguments = get_origin(of), get_args(of)
    if of == Json:
        fits = isinstance(sample, dict)
    elif origin is list:
        return [line for item in sample for line in misfits(arguments[0], item, f"{place}[]")]
    elif origin is Literal:
        fits = sample in arguments
    elif origin in (Union, UnionType):
        return [line for one in arguments if one is not NoneType for line in misfits(one, sample, place)]
    else:
        fits = type(sample) is of
    return [] if fits else [f"{place}: {sample!r} is no {of}"]


def test_every_object_of_the_pool_is_compared() -> None:
    assert OBJECTS.keys() | FOR_RTP_PARAMETERS | {"events", "words"} == BOT.keys()
    assert EVENT_TYPES.keys() == EVENTS.keys()


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_has_the_fields_of_the_pool(name: str) -> None:
    assert misfits(OBJECTS[name], BOT[name], name) == []


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_an_event_has_the_fields_of_the_pool(name: str) -> None:
    assert misfits(EVENT_TYPES[name], EVENTS[name], name) == []


def test_the_words_are_those_of_the_pool() -> None:
    words = {name: set(values) for name, values in BOT["words"].items()}
    assert words["dtls_role"] == set(get_args(pool_wire.DtlsRole))
    assert words["ice_role"] == set(get_args(pool_wire.IceRole))
    assert words["direction"] == set(get_args(Direction))
    assert words["kind"] == set(get_args(Kind))


def test_the_events_that_are_noted_exist() -> None:
    assert EVENTS.keys() >= _NOTED


def test_every_part_of_a_scenarios_link_reaches_the_pool() -> None:
    values = {"delay_ms": 1.5, "jitter_ms": 2.5, "loss": 0.5, "rate_bps": 4}
    assert values.keys() == Link.model_fields.keys()
    assert link_profile(Link(**values), 7) == {**values, "seed": 7}
