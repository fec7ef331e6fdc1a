"""What every kind of bot can do, so that one runner drives them all.

Declares; native bots are in bots/native.py, aiortc ones in bots/aiortc.py. Bots do media alone, no signalling:
their owner hands them the server's parameters and sends theirs to the server, both in the form of the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from simulator.client.media_server import Direction, Json
from simulator.samples.schema import Kind
from simulator.scenario import Network

EventSink = Callable[..., None]
"""Takes ``(name, unix_ns, **values)`` for events.jsonl."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A stream a bot is about to receive."""

    tag: int
    """Number of the stream, unique within the bot."""
    sender: int
    """The bot that is announced as its sender."""
    kind: Kind
    rtp_parameters: Json
    """As the server answered."""


class Bot(Protocol):
    """One participant's media. Belongs to a generator, which also collects what it measures."""

    number: int
    """Its number in stamps and tables."""
    kind_of_bot: str
    """`native` or `aiortc`."""
    generator: str
    """Who runs it, for the table of participants."""
    decodes: bool
    """Whether it decodes what it receives."""
    takes_early: bool
    """Whether streams may flow before it was told of them: it ignores them until then, and needs no start."""

    def capabilities(self, router: Json) -> Json:
        """Choose from the router's capabilities what this bot can receive."""

    async def connect(self, which: Direction, transport: Json) -> Json:
        """Begin ICE and DTLS towards the server's transport; returns the `dtlsParameters` to tell the server."""

    async def produce(self, kind: Kind) -> Json:
        """Return the `rtpParameters` of what it will send; nothing is sent yet."""

    async def start_sending(self, kind: Kind) -> None:
        """Send, once the server has the producer."""

    async def consume(self, streams: Sequence[Incoming]) -> None:
        """Get ready to receive streams; unless it `takes_early`, they do not flow yet."""

    async def close(self) -> None:
        """Stop all media. Idempotent."""


class BotGenerator(Protocol):
    """A set of bots of one kind, and what they measured. Use as an async context manager; leaving it ends them."""

    async def spawn(self, numbers: Sequence[int]) -> Sequence[Bot]:
        """Make bots with these numbers; they do nothing yet."""

    async def collect(self, tick: int) -> Mapping[str, Sequence[pa.RecordBatch]]:
        """Return what was measured since the last call, by table; counters are totals and carry `tick`."""

    def failures(self) -> list[str]:
        """Say what broke on its own since the last call, such as a lost child process or connection."""


@dataclass(frozen=True, slots=True)
class BotSettings:
    """What all bots of a run share."""

    seed: int
    network: Network
    clip: str
    """Path of the media clip."""
    bind: str
    """Local address of the bots' sockets."""
    on_event: EventSink
    synthetic: bool = False
    """aiortc bots encode live instead of sending the clip."""
    bots_per_process: int = 3
    relay_only: bool = False
    """aiortc bots use nothing but TURN servers they are told of."""
    audio_stamp_every: int = 10
    """Every so many opus packets one carries a stamp, which adds 34 bytes to some 80."""
    dtx: bool = False
    """Native bots leave silence out but for one packet in 400 ms."""
    clock_shift_ms: int = 0
    """How far the wall clock of native bots is put forward, as if they were on another host; for tests."""


def candidate_addresses(transport: Json) -> str:
    """List the addresses that a server's transport is reached at, for errors."""
    places = [
        f"{c.get('protocol', 'udp')} {c.get('ip')}:{c.get('port')}"
        for c in transport.get("iceCandidates") or []
    ]
    return ", ".join(places) or "no address"


def media_blocked(bot: int, timeout_s: float, addresses: str) -> str:
    """Describe a send transport that did not connect, with what to change."""
    return (
        f"bot {bot} could not connect its send transport within {timeout_s:g} s: ICE and DTLS did not complete with "
        f"{addresses}; open these ports, and set the server's announced_ip (MEESHY_ANNOUNCED_IP) to an address that "
        "the bots reach"
    )


def pick_capabilities(
    router: Json, *, mime_types: Sequence[str], feedback: Sequence[tuple[str, str]], extensions: Sequence[str]
) -> Json:
    """Take from a router's capabilities the codecs (with their RTX), feedback and extensions that are named."""
    wanted = {name.lower() for name in mime_types}
    media = [c for c in router["codecs"] if str(c["mimeType"]).lower() in wanted]
    types = {c["preferredPayloadType"] for c in media}
    rtx = [
        c
        for c in router["codecs"]
        if str(c["mimeType"]).lower().endswith("/rtx") and (c.get("parameters") or {}).get("apt") in types
    ]
    return {
        "codecs": [{**c, "rtcpFeedback": _kept(c.get("rtcpFeedback"), feedback)} for c in media + rtx],
        "headerExtensions": [e for e in router["headerExtensions"] if e["uri"] in extensions],
    }


def _kept(given: list[dict[str, Any]] | None, wanted: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [f for f in given or [] if (f["type"], f.get("parameter") or "") in wanted]
