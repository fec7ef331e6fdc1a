"""Native bots: many light participants in threads of the native module, thousands of streams to a core.

Wraps the pool and turns its records into the tables all bots share; ICE, DTLS, SRTP, RTCP and all counting are in
crates/sfu-bot. The only module of the simulator that touches the native module.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from meeshy_sfu import _core
from simulator.bots.netem import link_seed
from simulator.bots.pool_wire import (
    ConnectParameters,
    ConsumeRequest,
    Health,
    LinkProfile,
    LocalParameters,
    LocalTransport,
    PoolConfig,
    PoolEvent,
    SpawnOptions,
    details,
)
from simulator.client.bot import (
    Bot,
    BotSettings,
    Incoming,
    candidate_addresses,
    media_blocked,
    pick_capabilities,
)
from simulator.client.media_server import Direction, Json
from simulator.errors import BotError, NotServedError
from simulator.samples.schema import (
    GENERATOR,
    LATENCY,
    NEVER_WHOLE,
    PAUSES,
    RECEIVERS,
    SAMPLE_COMFORT,
    SAMPLE_CORRUPT,
    SAMPLE_FOREIGN,
    SAMPLE_KEY,
    SENT,
    STREAMS,
    Kind,
    rows_to_batch,
)
from simulator.scenario import Link

Records = NDArray[np.void]
BotPool = _core.BotPool
"""The native pool, for the other modules that drive it."""

ROW_DTYPE = np.dtype(_core.BotPool.row_dtype())
"""One received stream, as counted by the pool."""
SAMPLE_DTYPE = np.dtype(_core.BotPool.sample_dtype())
"""One latency sample, as taken by the pool."""
SENT_DTYPE = np.dtype(_core.BotPool.sent_dtype())
"""One stamped frame that was sent."""
PAUSE_DTYPE = np.dtype(_core.BotPool.pause_dtype())
"""One time in which a stream brought nothing."""
BOT_DTYPE = np.dtype(_core.BotPool.bot_row_dtype())
"""What one bot received and could not attribute."""
MAX_SAMPLES = 1 << 21
STREAMS_PER_THREAD = 6000
"""Received streams that one thread of native bots carries."""
_SENT_STREAM = 3
"""A sent stream costs as much as so many received ones: one system call a packet."""
CONNECT_TIMEOUT_S = 20.0
_POOL_FLAGS = ((2, SAMPLE_FOREIGN), (32, SAMPLE_CORRUPT))
"""Flags of the pool's samples, and ours."""
_POOL_KEY = 4
_POOL_COMFORT = 64
_POOL_NEVER_WHOLE = 2**32 - 1
_UNKNOWN_SENDER = 65535
_NOTED = frozenset({"dtls", "closed", "error", "freeze", "thaw", "pli"})
"""Events of the pool that go to events.jsonl; first packets are in the rows."""


def threads_for(*, received: int, sent: int) -> int:
    """Return the threads that so many streams need, as far as there are CPUs."""
    needed = math.ceil((received + _SENT_STREAM * sent) / STREAMS_PER_THREAD)
    return max(1, min(len(os.sched_getaffinity(0)), needed))


def build_profile() -> str:
    """Return how the native module was built; measurements of a debug build say nothing."""
    return _core.BUILD_PROFILE


class NativeBot:
    """One native bot; it exists while its pool does."""

    kind_of_bot = "native"
    decodes = False
    takes_early = True
    generator = "native"

    def __init__(
        self, number: int, pool: _core.BotPool, apart: Callable[[int], NativeBot] | None = None
    ) -> None:
        self.number = number
        self._pool = pool
        self._apart = apart
        self._closed = False
        self._addresses = ""
        self.connected: dict[Direction, asyncio.Event] = {"send": asyncio.Event(), "recv": asyncio.Event()}

    def capabilities(self, router: Json) -> Json:
        """Choose opus and VP8 with everything the pool's RTCP does."""
        return pick_capabilities(
            router,
            mime_types=("audio/opus", "video/VP8"),
            feedback=(("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("transport-cc", "")),
            extensions=(
                "urn:ietf:params:rtp-hdrext:sdes:mid",
                "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
                "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            ),
        )

    async def connect(self, which: Direction, transport: Json) -> Json:
        """Begin ICE and DTLS towards the server's transport; returns the `dtlsParameters` for the server."""
        local: LocalParameters = json.loads(self._pool.local(self.number))
        parameters: ConnectParameters = {
            "iceParameters": transport["iceParameters"],
            "iceCandidates": transport["iceCandidates"],
            "dtlsParameters": transport["dtlsParameters"],
        }
        if which == "send":
            self._addresses = candidate_addresses(transport)
        self._pool.connect(self.number, which, json.dumps(parameters))
        return local[which]["dtls"]

    def receiving_apart(self) -> NativeBot:
        """Make a bot whose streams count as received by this one, for servers that want a connection for each publisher.

        It belongs to the generator, and is closed with its pool or by itself. Its own number names its transports alone.
        """
        if self._apart is None:
            raise BotError(f"bot {self.number} has no generator that could make it another connection")
        return self._apart(self.number)

    def local(self, which: Direction) -> LocalTransport:
        """Return our side of a transport, for servers that are told of it in SDP."""
        local: LocalParameters = json.loads(self._pool.local(self.number))
        return local[which]

    async def produce(self, kind: Kind) -> Json:
        """Return the `rtpParameters` of what it will send."""
        parameters: Json = json.loads(self._pool.produce(self.number, kind))
        return parameters

    async def start_sending(self, kind: Kind) -> None:
        """Send, once the transport is up."""
        await self.until_connected()
        self._pool.start_sending(self.number, kind)

    async def until_connected(self) -> None:
        """Wait until the send transport is up.

        Raises:
            NotServedError: It is not in time.
        """
        try:
            await asyncio.wait_for(self.connected["send"].wait(), CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise NotServedError(media_blocked(self.number, CONNECT_TIMEOUT_S, self._addresses)) from error

    async def consume(self, streams: Sequence[Incoming]) -> None:
        """Receive streams, which may flow already."""
        requests: list[ConsumeRequest] = [
            {"tag": s.tag, "sender": s.sender, "kind": s.kind, "rtpParameters": s.rtp_parameters}
            for s in streams
        ]
        self._pool.consume(self.number, orjson.dumps(requests).decode())

    @property
    def is_closed(self) -> bool:
        """Whether its media was stopped."""
        return self._closed

    async def close(self) -> None:
        """Stop all media. Idempotent."""
        if not self._closed:
            self._closed = True
            self._pool.close_bot(self.number)


class NativeGenerator:
    """The pool of native bots of a run. Use as an async context manager; leaving it ends them."""

    def __init__(self, settings: BotSettings, *, first: int = 0, threads: int = 1) -> None:
        self._settings = settings
        self._bots: dict[int, NativeBot] = {}
        self._owners: dict[int, int] = {}
        """Of bots that receive for another one."""
        config: PoolConfig = {
            "threads": threads,
            "clip_path": settings.clip,
            "seed": settings.seed,
            "first_bot": first,
            "sample_capacity": MAX_SAMPLES,
        }
        self._pool = _core.BotPool(json.dumps(config))

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._pool.event_fd, self._take_events)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._pool.event_fd)
        self._pool.stop()

    async def spawn(self, numbers: Sequence[int]) -> Sequence[Bot]:
        """Make bots with these numbers, which must follow on one another."""
        options: SpawnOptions = {
            "bind": self._settings.bind,
            "audio_stamp_every": self._settings.audio_stamp_every,
            "dtx": self._settings.dtx,
        }
        made = self._pool.spawn(len(numbers), json.dumps(options))
        if list(made) != list(numbers):
            raise BotError(f"the pool numbered its bots {made[0]}…{made[-1]}, not {numbers[0]}…{numbers[-1]}")
        for number in made:
            self._adopt(number)
        return list(self._bots.values())

    async def collect(self, tick: int) -> Mapping[str, Sequence[pa.RecordBatch]]:
        """Return what was measured since the last call, by table."""
        # These wait until the threads read their queues.
        rows, samples, records, health = await asyncio.to_thread(self._fetch)
        now_ns = time.time_ns()
        owners = self._owners
        return {
            "streams": [streams_batch(owned(np.frombuffer(rows, ROW_DTYPE), "bot", owners), tick, now_ns)],
            "latency": [latency_batch(owned(np.frombuffer(samples, SAMPLE_DTYPE), "receiver", owners))],
            "pauses": [pauses_batch(owned(np.frombuffer(records.pauses, PAUSE_DTYPE), "receiver", owners))],
            **records.batches(tick, now_ns, {n: owners.get(n, n) for n in self._bots}),
            "generator": [rows_to_batch(GENERATOR, self._health_rows(json.loads(health), tick, now_ns))],
        }

    def failures(self) -> list[str]:
        """Return what failed on its own since the last call."""
        return []

    def _apart(self, owner: int) -> NativeBot:
        options: SpawnOptions = {"bind": self._settings.bind}
        [number] = self._pool.spawn(1, json.dumps(options))
        self._owners[number] = owner
        return self._adopt(number)

    def _adopt(self, number: int) -> NativeBot:
        """Take up a bot that the pool has made, behind the emulated network."""
        bot = self._bots[number] = NativeBot(number, self._pool, self._apart)
        network, seed = self._settings.network, self._settings.seed
        if not (network.up.is_clean and network.down.is_clean):
            self._pool.impair(
                number,
                json.dumps(link_profile(network.up, link_seed(seed, number, down=False))),
                json.dumps(link_profile(network.down, link_seed(seed, number, down=True))),
            )
        return bot

    def _fetch(self) -> tuple[bytes, bytes, PoolRecords, str]:
        records = PoolRecords(self._pool)
        samples = self._pool.samples(MAX_SAMPLES)
        rows = self._pool.rows()
        records.fetch_sent(self._pool)
        return rows, samples, records, self._pool.health()

    def _health_rows(self, health: Health, tick: int, now_ns: int) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        # A sample that did not fit was not measured, which is as bad as a datagram that was not received.
        drops = int(health["socket_drops"]) + int(health["samples_dropped"])
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
        for text in self._pool.events():
            event: PoolEvent = orjson.loads(text)
            bot = self._bots.get(event["bot"])
            if event["type"] == "dtls" and event["state"] == "connected" and bot is not None:
                bot.connected[event["which"]].set()
            if event["type"] in _NOTED:
                number = self._owners.get(event["bot"], event["bot"])
                self._settings.on_event(event["type"], event["unix_ns"], bot=number, **details(event))


def owned(rows: Records, column: str, owners: Mapping[int, int]) -> Records:
    """Return the pool's rows with the owner of a bot in place of one that receives for it."""
    if not owners:
        return rows
    rows = rows.copy()
    for number, owner in owners.items():
        rows[column][rows[column] == number] = owner
    return rows


def link_profile(link: Link, seed: int) -> LinkProfile:
    """Write a direction of the emulated network as the pool takes it."""
    return {
        "delay_ms": link.delay_ms,
        "jitter_ms": link.jitter_ms,
        "loss": link.loss,
        "rate_bps": link.rate_bps,
        "seed": seed,
    }


def streams_batch(rows: Records, tick: int, now_ns: int) -> pa.RecordBatch:
    """Turn the pool's rows into rows of the streams table; streams of unknown senders are left out."""
    rows = rows[rows["sender"] != _UNKNOWN_SENDER]
    count = len(rows)
    columns: dict[str, Any] = {
        "tick": np.full(count, tick, np.int32),
        "unix_ns": np.full(count, now_ns, np.int64),
        "receiver": rows["bot"],
        "sender": rows["sender"],
        "kind": rows["kind"],
        "packets": rows["expected"] - rows["lost_after_repair"],
        "bytes": rows["bytes"],
        "expected": rows["expected"],
        "missing_first": rows["lost"],
        "missing": rows["lost_after_repair"],
        "duplicates": rows["duplicates"] + rows["surplus_repairs"],
        "out_of_order": rows["out_of_order"],
        "foreign": rows["foreign"],
        "first_packet_ns": rows["first_packet_unix_ns"],
        "last_packet_ns": rows["last_packet_unix_ns"],
        "last_frame_ns": rows["last_frame_unix_ns"],
        "surplus_repairs": rows["surplus_repairs"],
        "unasked_repairs": np.maximum(rows["surplus_repairs"].astype(np.int64) - rows["nacks"], 0),
        "freezes": rows["freezes"],
    }
    arrays = [
        pa.array(np.ascontiguousarray(columns[field.name]).astype(field.type.to_pandas_dtype()))
        if field.name in columns
        else pa.nulls(count, field.type)
        for field in STREAMS
    ]
    return pa.record_batch(arrays, schema=STREAMS)


def latency_batch(samples: Records, flags: Sequence[tuple[int, int]] = ()) -> pa.RecordBatch:
    """Turn the pool's samples into rows of the latency table; `flags` are others to translate, the pool's and ours."""
    ours = np.zeros(len(samples), np.uint8)
    for theirs, meaning in (*_POOL_FLAGS, *flags):
        ours |= np.where(samples["flags"] & theirs, meaning, 0).astype(np.uint8)
    whole_us = samples["whole_us"].astype(np.int64)
    columns = {
        name: samples[name] for name in ("receiver", "sender", "kind", "seq", "recv_unix_ns", "owd_ns")
    }
    columns["flags"] = ours
    columns["whole_ns"] = np.where(whole_us == _POOL_NEVER_WHOLE, NEVER_WHOLE, whole_us * 1000)
    return pa.record_batch(
        [pa.array(np.ascontiguousarray(columns[field.name])) for field in LATENCY], schema=LATENCY
    )


def pauses_batch(pauses: Records) -> pa.RecordBatch:
    """Turn the pool's pauses into rows of the table of pauses; streams of unknown senders are left out."""
    pauses = pauses[pauses["sender"] != _UNKNOWN_SENDER]
    columns = {name: pauses[name] for name in ("receiver", "sender", "kind")}
    columns["began_ns"], columns["ended_ns"] = pauses["began_unix_ns"], pauses["ended_unix_ns"]
    arrays = [
        pa.array(np.ascontiguousarray(columns[field.name]).astype(field.type.to_pandas_dtype()))
        for field in PAUSES
    ]
    return pa.record_batch(arrays, schema=PAUSES)


class PoolRecords:
    """What a pool has to say of what its bots sent, and of what they received and could not attribute.

    Made before the samples are fetched, which it counts, so that none is missed; what was sent is fetched after them and
    after the next tick of the threads, so that no sample is of a frame that is not there.
    """

    def __init__(self, pool: _core.BotPool) -> None:
        self._bots, self.pauses = pool.bot_rows(), pool.pauses(MAX_SAMPLES)
        self._sent = b""

    def fetch_sent(self, pool: _core.BotPool) -> None:
        """Take what was sent."""
        self._sent = pool.sent(MAX_SAMPLES)

    def batches(
        self, tick: int, now_ns: int, owner_of: Mapping[int, int] | None = None
    ) -> dict[str, list[pa.RecordBatch]]:
        """Return the rows for the tables `sent` and `receivers`; `owner_of` says whose leg a bot of the pool is."""
        return {
            "sent": [_sent_batch(np.frombuffer(self._sent, SENT_DTYPE))],
            "receivers": [self._receivers(np.frombuffer(self._bots, BOT_DTYPE), tick, now_ns, owner_of)],
        }

    @staticmethod
    def _receivers(
        rows: Records, tick: int, now_ns: int, owner_of: Mapping[int, int] | None
    ) -> pa.RecordBatch:
        totals: dict[int, NDArray[np.int64]] = {}
        waits: dict[int, NDArray[np.int64]] = {}
        for row in rows:
            bot = int(row["bot"]) if owner_of is None else owner_of[int(row["bot"])]
            counts = np.array([int(row[name]) for name in _COUNTS], np.int64)
            totals[bot] = totals.get(bot, np.zeros(len(_COUNTS), np.int64)) + counts
            longest = np.array([int(row[name]) for name in _WAITS], np.int64)
            waits[bot] = np.maximum(waits.get(bot, longest), longest)
        return rows_to_batch(
            RECEIVERS,
            [(tick, now_ns, bot, *counts.tolist(), *waits[bot].tolist()) for bot, counts in totals.items()],
        )


_COUNTS = (
    "samples",
    "unknown_ssrc",
    "unknown_ssrc_open",
    "unauthentic",
    "payload_type",
    "damaged_stamps",
    "timestamp_jumps",
    "malformed",
    "key_frame_requests",
    "late_key_frames",
    "repaired",
    "unrepaired",
)
"""Columns of the table of receivers that add up over the legs of a bot, in its order."""
_WAITS = ("sender_report_wait_ms", "receiver_report_wait_ms", "feedback_wait_ms")
"""Those behind them, of which the longest of a bot's legs counts."""


def _sent_batch(frames: Records) -> pa.RecordBatch:
    columns = {name: frames[name] for name in ("sender", "kind", "packets", "bytes", "seq", "sent_unix_ns")}
    key = np.where(frames["flags"] & _POOL_KEY, SAMPLE_KEY, 0)
    comfort = np.where(frames["flags"] & _POOL_COMFORT, SAMPLE_COMFORT, 0)
    columns["flags"] = (key | comfort).astype(np.uint8)
    return pa.record_batch(
        [pa.array(np.ascontiguousarray(columns[field.name])) for field in SENT], schema=SENT
    )
