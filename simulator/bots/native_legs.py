"""Native bots in calls of the gateway: legs of the native module's pool, to a media server and straight to each other.

Turns offers and answers into the pool's parameters and its events into arrivals; frames, stamps and the change of
legs are in crates/sfu-bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence, Set
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import orjson
import pyarrow as pa

from simulator.bots.native import (
    MAX_SAMPLES,
    SAMPLE_DTYPE,
    BotPool,
    NativeBot,
    PoolRecords,
    Records,
    latency_batch,
    link_profile,
)
from simulator.bots.netem import link_seed
from simulator.bots.pool_wire import (
    ConnectParameters,
    ConsumeRequest,
    Health,
    LocalParameters,
    PoolConfig,
    PoolEvent,
    SpawnOptions,
    details,
)
from simulator.client.bot import BotSettings
from simulator.client.legs import Arrivals, CallBot, PeerLeg, ServerLeg
from simulator.client.media_server import Json
from simulator.client.sdp import (
    Description,
    Section,
    answerable,
    host_candidate,
    parse,
    parse_candidate,
    write,
)
from simulator.errors import BotError, SdpError
from simulator.samples.schema import (
    GENERATOR,
    KINDS,
    LATENCY,
    SAMPLE_SHOWN,
    SAMPLE_SURPLUS,
    Kind,
    rows_to_batch,
)

_POOL_FLAGS = ((8, SAMPLE_SHOWN), (16, SAMPLE_SURPLUS))
"""Flags of samples of legs, the pool's and ours."""
_NOTED = frozenset({"closed", "error", "freeze", "thaw", "entered", "dtls"})
_LOST = json.dumps({"loss": 1.0})


class Sending:
    """Which kinds of media a leg is to send, unless its bot is muted."""

    def __init__(self, leg: int, pool: BotPool, muted: Set[Kind]) -> None:
        self._leg = leg
        self._pool = pool
        self._muted = muted
        self._kinds: set[Kind] = set()

    def start(self, kind: Kind) -> None:
        """Send a kind from now on, or from when it is muted no more."""
        self._kinds.add(kind)
        self.look(kind)

    def look(self, kind: Kind) -> None:
        """Send a kind, or not, by what is muted now."""
        if kind in self._kinds:
            if kind in self._muted:
                self._pool.stop_sending(self._leg, kind)
            else:
                self._pool.start_sending(self._leg, kind)


class NativeServerLeg(NativeBot):
    """A native leg to a media server."""

    def __init__(self, leg: int, pool: BotPool, muted: Set[Kind]) -> None:
        super().__init__(leg, pool)
        self.arrivals = Arrivals()
        self.sending = Sending(leg, pool, muted)

    async def start_sending(self, kind: Kind) -> None:
        """Send, once the transport is up, and while the bot is not muted."""
        await self.until_connected()
        self.sending.start(kind)

    async def prefer(self) -> None:
        """Take the bot's tracks from this leg, as soon as they can be decoded."""
        self._pool.prefer(self.number)


class NativePeerLeg:
    """A native leg to a peer, without a server."""

    def __init__(
        self, leg: int, pool: BotPool, peer: int, offered: Description | None, muted: Set[Kind]
    ) -> None:
        self.number = leg
        self.sending = Sending(leg, pool, muted)
        self.arrivals = Arrivals()
        self.connected: dict[str, asyncio.Event] = {"recv": asyncio.Event()}
        self._pool = pool
        self._peer = peer
        self._remote: Description | None = None
        self._closed = False
        both: LocalParameters = json.loads(pool.local(leg))
        local = both["recv"]
        ours = [json.loads(pool.produce(leg, kind)) for kind in KINDS]
        self._description = Description(
            ice=local["ice"],
            fingerprints=local["dtls"]["fingerprints"],
            setup="actpass" if offered is None else "active",
            sections=tuple(Section(kind, o) for kind, o in zip(KINDS, ours, strict=True))
            if offered is None
            else tuple(
                Section(theirs.kind, answerable(theirs, ours[KINDS.index(theirs.kind)]))
                for theirs in offered.sections
            ),
            candidates=(host_candidate(local["address"], local["port"]),),
        )
        self.description = write(self._description, address=local["address"], session_id=leg + 1)
        if offered is not None:
            self._connect(offered)

    async def accept(self, answer: str) -> None:
        """Take the answer to its offer, and connect."""
        if self._remote is not None:
            raise SdpError("a second answer to the same offer")
        answered = parse(answer)
        if answered.setup == "actpass":
            raise SdpError("an answer must decide who begins DTLS")
        self._connect(answered)

    async def add_candidate(self, candidate: str) -> None:
        """Take a candidate that came later."""
        if self._remote is not None and candidate and (parsed := parse_candidate(candidate)):
            self._join(self._remote, [parsed])

    async def prefer(self) -> None:
        """Take the bot's tracks from this leg, as soon as they can be decoded."""
        self._pool.prefer(self.number)

    @property
    def is_closed(self) -> bool:
        """Whether its media was stopped."""
        return self._closed

    async def close(self) -> None:
        """Stop its media. Idempotent."""
        if not self._closed:
            self._closed = True
            self._pool.close_bot(self.number)

    def _connect(self, remote: Description) -> None:
        self._remote = remote
        requests: list[ConsumeRequest] = [
            {"tag": tag, "sender": self._peer, "kind": s.kind, "rtpParameters": s.parameters}
            for tag, s in enumerate(remote.sections)
        ]
        self._pool.consume(self.number, json.dumps(requests))
        if remote.candidates:
            self._join(remote, remote.candidates)
        for section in remote.sections:
            self.sending.start(section.kind)

    def _join(self, remote: Description, candidates: Sequence[Json]) -> None:
        parameters: ConnectParameters = {
            "iceParameters": remote.ice,
            "iceCandidates": list(candidates),
            "dtlsParameters": {"role": remote.role, "fingerprints": list(remote.fingerprints)},
        }
        self._pool.connect(self.number, "recv", json.dumps(parameters))


L = TypeVar("L", NativeServerLeg, NativePeerLeg)


class NativeCallBot:
    """A bot whose legs are native."""

    kind_of_bot = "native"
    generator = "native"
    decodes = False

    def __init__(self, number: int, generator: NativeCallBotGenerator) -> None:
        self.number = number
        self._generator = generator
        self._lost = False
        self._hushed = False
        self._muted: set[Kind] = set()
        self._legs: list[NativeServerLeg | NativePeerLeg] = []

    def use_ice_servers(self, servers: Sequence[Json]) -> None:
        """Use none of them: native bots know host candidates alone, and reach the relays of peers like any other address."""

    async def server_leg(self) -> ServerLeg:
        """Make a leg to a media server; nothing is connected yet."""
        leg = NativeServerLeg(self._generator.make_leg(self.number, {}), self._generator.pool, self._muted)
        self._take(leg)
        return leg

    async def offer(self, peer: int) -> PeerLeg:
        """Make a leg to this peer, with an offer."""
        number = self._generator.make_leg(self.number, {"peer": "controlling", "recv_role": "auto"})
        return self._take(NativePeerLeg(number, self._generator.pool, peer, None, self._muted))

    async def answer(self, peer: int, offer: str) -> PeerLeg:
        """Make a leg to this peer that answers an offer, and connect."""
        offered = parse(offer)
        if any(section.parameters["encodings"][0].get("ssrc") is None for section in offered.sections):
            raise SdpError("bots need a=ssrc in an offer")
        options: SpawnOptions = {"peer": "controlled", "recv_role": "client"}
        for section in offered.sections:
            options[section.kind] = section.parameters
        number = self._generator.make_leg(self.number, options)
        return self._take(NativePeerLeg(number, self._generator.pool, peer, offered, self._muted))

    async def impair(self, lost: bool) -> None:
        """Lose everything on all of its legs, or nothing any more."""
        self._lost = lost
        for leg in self._legs:
            self._impair(leg.number)

    async def mute(self, kind: Kind, *, muted: bool) -> None:
        """Send nothing of a kind on any of its legs, or send it again."""
        (self._muted.add if muted else self._muted.discard)(kind)
        for leg in self._legs:
            if not leg.is_closed:
                leg.sending.look(kind)

    async def hush(self, hushed: bool) -> None:
        """Send silence on all of its legs, or what it has to say again."""
        self._hushed = hushed
        for leg in self._legs:
            if not leg.is_closed:
                self._generator.pool.hush(leg.number, hushed)

    async def close(self) -> None:
        """End all of its legs. Idempotent."""
        for leg in self._legs:
            await leg.close()
        self._legs.clear()

    def _take(self, leg: L) -> L:
        self._generator.legs[leg.number] = leg
        self._legs = [leg for leg in self._legs if not leg.is_closed] + [leg]
        self._impair(leg.number)
        if self._hushed:
            self._generator.pool.hush(leg.number, hushed=True)
        return leg

    def _impair(self, leg: int) -> None:
        network, seed = self._generator.settings.network, self._generator.settings.seed
        if self._lost:
            up = down = _LOST
        else:
            up = json.dumps(link_profile(network.up, link_seed(seed, leg, down=False)))
            down = json.dumps(link_profile(network.down, link_seed(seed, leg, down=True)))
        with contextlib.suppress(BotError, LookupError):
            self._generator.pool.impair(leg, up, down)


class NativeCallBotGenerator:
    """All native bots of calls of the gateway, in one pool. Use as an async context manager; leaving it ends them."""

    def __init__(self, settings: BotSettings, *, threads: int = 1) -> None:
        self.settings = settings
        self.legs: dict[int, NativeServerLeg | NativePeerLeg] = {}
        self._bot_of: dict[int, int] = {}
        config: PoolConfig = {
            "threads": threads,
            "clip_path": settings.clip,
            "seed": settings.seed,
            "tick_us": 2000,
            "sample_capacity": MAX_SAMPLES,
            "clock_shift_ms": settings.clock_shift_ms,
        }
        self.pool = BotPool(json.dumps(config))

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self.pool.event_fd, self._take_events)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self.pool.event_fd)
        self.pool.stop()

    async def spawn_call_bots(self, numbers: Sequence[int]) -> Sequence[CallBot]:
        """Make bots with these numbers."""
        return [NativeCallBot(number, self) for number in numbers]

    def make_leg(self, bot: int, options: SpawnOptions) -> int:
        """Make a leg of a bot; returns its number in the pool."""
        common: SpawnOptions = {
            "bind": self.settings.bind,
            "participant": bot,
            "audio_stamp_every": 1,
            "dtx": self.settings.dtx,
        }
        [leg] = self.pool.spawn(1, json.dumps({**common, **options}))
        self._bot_of[leg] = bot
        return leg

    async def collect(self, tick: int) -> Mapping[str, Sequence[pa.RecordBatch]]:
        """Return what was measured since the last call, by table."""
        samples, records, health = await asyncio.to_thread(self._fetch)
        return {
            **records.batches(tick, time.time_ns(), self._bot_of),
            "latency": [self._latency_batch(np.frombuffer(samples, SAMPLE_DTYPE))],
            "generator": [rows_to_batch(GENERATOR, self._health_rows(json.loads(health), tick))],
        }

    def failures(self) -> list[str]:
        """Return what failed on its own since the last call."""
        health: Health = json.loads(self.pool.health())
        return (
            []
            if all(thread["alive"] for thread in health["threads"])
            else ["a thread of native bots has ended"]
        )

    def _fetch(self) -> tuple[bytes, PoolRecords, str]:
        records = PoolRecords(self.pool)
        samples = self.pool.samples(MAX_SAMPLES)
        self.pool.sender_rows()  # waits until the threads have handed out what they sent before
        records.fetch_sent(self.pool)
        return samples, records, self.pool.health()

    def _latency_batch(self, samples: Records) -> pa.RecordBatch:
        bot_of_leg = np.zeros(65_536, np.uint16)
        for leg, number in self._bot_of.items():
            bot_of_leg[leg] = number
        batch = latency_batch(samples, _POOL_FLAGS)
        receiver = LATENCY.get_field_index("receiver")
        return batch.set_column(receiver, LATENCY.field(receiver), pa.array(bot_of_leg[samples["receiver"]]))

    def _health_rows(self, health: Health, tick: int) -> list[tuple[object, ...]]:
        now_ns = time.time_ns()
        drops = int(health["socket_drops"]) + int(health["samples_dropped"])
        rows: list[tuple[object, ...]] = []
        for index, thread in enumerate(health["threads"]):
            rows.append(
                (
                    tick,
                    now_ns,
                    f"native-{index}",
                    int(thread["cpu_ns"]),
                    int(thread["lag_recent_us"]),
                    int(thread["stalled_us"]),
                    drops if index == 0 else 0,
                    int(thread["packets_sent"]),
                    int(thread["late_sends"]),
                )
            )
        return rows

    def _take_events(self) -> None:
        for text in self.pool.events():
            event: PoolEvent = orjson.loads(text)
            number, unix_ns = event["bot"], event["unix_ns"]
            if (leg := self.legs.get(number)) is not None:
                if (
                    event["type"] == "dtls"
                    and event["state"] == "connected"
                    and event["which"] in leg.connected
                ):
                    leg.connected[event["which"]].set()
                elif event["type"] == "entered":
                    leg.arrivals.entered((event["sender"], event["kind"]), unix_ns)
                elif event["type"] == "closed":
                    leg.arrivals.fail(event["reason"])
                elif event["type"] == "error":
                    leg.arrivals.fail(event["message"])
            if event["type"] in _NOTED:
                bot = self._bot_of.get(number)
                self.settings.on_event(event["type"], unix_ns, bot=bot, leg=number, **details(event))
