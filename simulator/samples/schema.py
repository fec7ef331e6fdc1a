"""The raw data of a run: one table per kind of observation, each a Parquet file in the run directory.

Says which columns there are and what they mean. All bots, whatever their kind, fill the same columns; writing
is done in samples/recorder.py, computing in analysis/metrics.py. All times are Unix nanoseconds of the generator's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import pyarrow as pa

Kind = Literal["audio", "video"]
KINDS: Final[tuple[Kind, Kind]] = ("audio", "video")
"""Kinds of media; their place is the number in the `kind` columns."""

SAMPLE_FOREIGN: Final = 1
"""Flag of a latency sample whose stamp names another sender or kind than the announced one: a misrouted frame."""
SAMPLE_KEY: Final = 8
"""Flag of an aiortc bot's sample: its frame was a key frame."""
SAMPLE_SHOWN: Final = 2
"""Flag of a sample of a call that switches: its frame was shown to the receiver."""
SAMPLE_SURPLUS: Final = 4
"""Flag of a sample of a call that switches: its frame was not shown, because another leg brought it."""

SAMPLE_CORRUPT: Final = 16
"""Flag of a sample whose frame was whole, but not what was sent, by the checksum in its stamp."""
SAMPLE_COMFORT: Final = 32
"""Flag of a sent frame: it describes the silence until the next one, which is not sent."""
NEVER_WHOLE: Final = -1
"""In `whole_ns`: a packet of the frame never came."""
OUTSIDE: Final = -1
"""The tick of what was collected outside the measured time."""
DRAINED: Final = -2
"""The tick of what was collected once what was under way at the end of the measured time had come, or its time was up."""

PARTICIPANTS = pa.schema(
    [
        pa.field("bot", pa.uint16()),  # the bot's number, as in its stamps
        pa.field("participant_id", pa.string()),
        pa.field("call_id", pa.string()),
        pa.field("bot_kind", pa.string()),  # native or aiortc
        pa.field("generator", pa.string()),  # who runs it: native, aiortc-0, …
        pa.field("decodes", pa.bool_()),
    ]
)
EXPECTED = pa.schema(
    [
        pa.field("receiver", pa.uint16()),
        pa.field("sender", pa.uint16()),
        pa.field("kind", pa.uint8()),
    ]
)
JOINS = pa.schema(
    [
        pa.field("bot", pa.uint16()),
        pa.field("started_ns", pa.int64()),  # before the first request
        pa.field(
            "signalled_ns", pa.int64()
        ),  # the server has its transports and producers, and it sends; 0: never
    ]
)
STREAMS = pa.schema(
    [
        # -1 outside the measured time; then 0, 1, 2, … once a second; -2 once all that was under way has come
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("receiver", pa.uint16()),
        pa.field("sender", pa.uint16()),  # as announced by the server
        pa.field("kind", pa.uint8()),
        # counters since the stream began
        pa.field("packets", pa.int64()),  # distinct media packets, repaired ones included
        pa.field("bytes", pa.int64()),
        pa.field("expected", pa.int64()),  # by sequence numbers, from the first packet on
        pa.field("missing_first", pa.int64()),  # did not come when first sent
        pa.field("missing", pa.int64()),  # never came
        pa.field("duplicates", pa.int64()),
        pa.field("out_of_order", pa.int64()),
        pa.field("foreign", pa.int64()),
        pa.field("first_packet_ns", pa.int64()),  # 0: none yet
        pa.field("last_packet_ns", pa.int64()),
        pa.field("last_frame_ns", pa.int64()),  # video: that could be decoded; audio: packet; 0: none yet
        pa.field("surplus_repairs", pa.int64()),  # of the duplicates, those that came as retransmissions
        pa.field("unasked_repairs", pa.int64()),  # of these, how many more than were asked for
        pa.field("freezes", pa.int64()),  # gaps of over 500 ms between two frames
        # bots that decode; null for others
        pa.field("frames_decoded", pa.int64()),
        pa.field("audio_energy", pa.float64()),  # sum of squared samples, full scale 1, by seconds
    ]
)
LATENCY = pa.schema(
    [
        pa.field("receiver", pa.uint16()),
        pa.field("sender", pa.uint16()),  # as the stamp says
        pa.field("kind", pa.uint8()),
        pa.field("flags", pa.uint8()),
        pa.field("seq", pa.uint32()),
        pa.field("recv_unix_ns", pa.uint64()),
        pa.field("owd_ns", pa.int64()),
        pa.field(
            "whole_ns", pa.int64()
        ),  # from the stamp's arrival until all of the frame was there; -1: never
    ]
)
SENT = pa.schema(
    [
        # one row for each stamped frame, and for each leg in a call that switches
        pa.field("sender", pa.uint16()),
        pa.field("kind", pa.uint8()),
        pa.field("flags", pa.uint8()),
        pa.field("packets", pa.uint16()),
        pa.field("bytes", pa.uint32()),  # of its payloads
        pa.field("seq", pa.uint32()),  # as in its stamp
        pa.field("sent_unix_ns", pa.uint64()),  # as in its stamp
    ]
)
PAUSES = pa.schema(
    [
        # one row for each time of over 300 ms in which a stream brought nothing, once it is over
        pa.field("receiver", pa.uint16()),
        pa.field("sender", pa.uint16()),
        pa.field("kind", pa.uint8()),
        pa.field("began_ns", pa.int64()),
        pa.field("ended_ns", pa.int64()),
    ]
)
RECEIVERS = pa.schema(
    [
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("receiver", pa.uint16()),
        # since the bot began, on all of its legs
        pa.field("stamps", pa.int64()),  # rows of the latency table
        # packets it could not attribute; null for what this kind of bot cannot count
        pa.field("unknown_ssrc", pa.int64()),
        pa.field("unknown_ssrc_open", pa.int64()),  # of SSRCs that may still be announced
        pa.field("unauthentic", pa.int64()),
        pa.field("payload_type", pa.int64()),
        pa.field("damaged_stamps", pa.int64()),
        pa.field("timestamp_jumps", pa.int64()),  # RTP timestamps that did not go on as the sender's did
        pa.field("malformed", pa.int64()),
        # RTCP, of native bots alone; since the bot began
        pa.field(
            "key_frame_requests", pa.int64()
        ),  # times a video could not go on and a key frame was asked for
        pa.field("late_key_frames", pa.int64()),  # of these, those in which none came in time
        pa.field("repaired", pa.int64()),  # lost packets that came when asked for
        pa.field("unrepaired", pa.int64()),  # lost packets that were asked for and never came
        # now: how long the stream that waits longest flows without
        pa.field("sender_report_wait_ms", pa.int64()),
        pa.field("receiver_report_wait_ms", pa.int64()),
        pa.field("feedback_wait_ms", pa.int64()),
    ]
)
PLAYOUT = pa.schema(
    [
        pa.field("receiver", pa.uint16()),
        pa.field("sender", pa.uint16()),
        pa.field("kind", pa.uint8()),
        pa.field("unix_ns", pa.int64()),  # when the frame came out of the decoder
        pa.field("delay_ns", pa.int64()),  # since its stamp
    ]
)
SERVER = pa.schema(
    [
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("cpu_ns", pa.int64()),  # since the process began
        pa.field("rss_bytes", pa.int64()),
        pa.field("packets_in", pa.int64()),
        pa.field("packets_out", pa.int64()),
    ]
)
SERVER_THREADS = pa.schema(
    [
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("thread", pa.int64()),
        pa.field("name", pa.string()),
        pa.field("cpu_ns", pa.int64()),
    ]
)
GENERATOR = pa.schema(
    [
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("generator", pa.string()),  # one thread of native bots, or one process of aiortc bots
        pa.field("cpu_ns", pa.int64()),  # since it began
        pa.field(
            "lag_max_us", pa.int64()
        ),  # how late a frame left or a datagram was read, worst since the last row
        pa.field("stalled_us", pa.int64()),  # length of all stalls of at least 20 ms, since it began
        pa.field("socket_drops", pa.int64()),  # since it began
        pa.field("sends", pa.int64()),
        pa.field("late_sends", pa.int64()),
    ]
)
MACHINE = pa.schema(
    [
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("cores", pa.int32()),
        # since the machine started, all CPUs together
        pa.field("busy_ns", pa.int64()),
        pa.field("steal_ns", pa.int64()),  # the hypervisor gave it to other guests
        pa.field("ours_ns", pa.int64()),  # of busy_ns: used by server and load generator since they began
        pa.field(
            "pressure_us", pa.int64()
        ),  # some task waited for a CPU (PSI); null: the kernel does not say
    ]
)
THREADS = pa.schema(
    [
        pa.field("tick", pa.int32()),
        pa.field("unix_ns", pa.int64()),
        pa.field("role", pa.string()),  # server or generator
        pa.field("pid", pa.int64()),
        pa.field("tid", pa.int64()),
        pa.field("name", pa.string()),
        # since the thread began (/proc/PID/task/TID/schedstat)
        pa.field("cpu_ns", pa.int64()),
        pa.field("wait_ns", pa.int64()),  # was ready to run and had no CPU
        pa.field("turns", pa.int64()),  # times it was given a CPU
    ]
)
TRANSITIONS = pa.schema(
    [
        pa.field("bot", pa.uint16()),  # one row for each mode change a participant was notified of
        pa.field("call_id", pa.string()),
        pa.field("epoch", pa.int64()),
        pa.field("old", pa.string()),  # p2p or sfu
        pa.field("new", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("prewarmed", pa.bool_()),  # its SFU leg was ready before
        pa.field(
            "peers", pa.string()
        ),  # peers it went on receiving through the change, by number, with spaces
        pa.field("decided_ns", pa.int64()),  # by the gateway, from its deadline; 0 in all of these: never
        pa.field("told_ns", pa.int64()),
        pa.field("media_ns", pa.int64()),  # the last track it waited for was shown from the new leg
        pa.field("confirmed_ns", pa.int64()),
        pa.field(
            "completed_ns", pa.int64()
        ),  # the gateway announced that all have confirmed, or the rollback
        pa.field("success", pa.bool_()),
        pa.field("error", pa.string()),
    ]
)
ARRIVALS = pa.schema(
    [
        pa.field("bot", pa.uint16()),  # one row for each join of a call
        pa.field("call_id", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("started_ns", pa.int64()),
        pa.field("flowing_ns", pa.int64()),  # all streams of those already there are shown; 0: never
        pa.field("left_ns", pa.int64()),
    ]
)
MUTED = pa.schema(
    [
        pa.field("bot", pa.uint16()),  # one row for each time in which a participant sent nothing of a kind
        pa.field("kind", pa.uint8()),
        pa.field("began_ns", pa.int64()),
        pa.field("ended_ns", pa.int64()),  # 0: never
    ]
)
PAUSED = pa.schema(
    [
        # one row for each time in which a producer was paused on the server, and its participant went on sending
        pa.field("bot", pa.uint16()),
        pa.field("kind", pa.uint8()),
        pa.field("asked_ns", pa.int64()),  # before the pause was requested
        pa.field("began_ns", pa.int64()),  # the server had confirmed it; 0: never
        pa.field("ended_ns", pa.int64()),  # before it was resumed; 0: never
    ]
)
CLOCKS = pa.schema(
    [
        pa.field(
            "bot", pa.uint16()
        ),  # one row for each bot of a run on several machines, or in several processes
        pa.field("clock", pa.string()),  # bots with the same one read the same time
    ]
)
DEATHS = pa.schema(
    [
        pa.field("unix_ns", pa.int64()),  # when a fault was injected
        pa.field(
            "what", pa.string()
        ),  # client, worker, media, gateway, partition, or a service that was stopped or restarted
    ]
)

TABLES: Final[dict[str, pa.Schema]] = {
    "participants": PARTICIPANTS,
    "expected": EXPECTED,
    "joins": JOINS,
    "streams": STREAMS,
    "sent": SENT,
    "latency": LATENCY,
    "pauses": PAUSES,
    "receivers": RECEIVERS,
    "playout": PLAYOUT,
    "server": SERVER,
    "server_threads": SERVER_THREADS,
    "generator": GENERATOR,
    "machine": MACHINE,
    "threads": THREADS,
    "transitions": TRANSITIONS,
    "arrivals": ARRIVALS,
    "deaths": DEATHS,
    "muted": MUTED,
    "paused": PAUSED,
    "clocks": CLOCKS,
}
"""Every table by its name; the file is `<name>.parquet`."""


def rows_to_batch(schema: pa.Schema, rows: Iterable[tuple[object, ...]]) -> pa.RecordBatch:
    """Turn rows, with values in the order of the schema, into one batch."""
    columns = list(zip(*rows, strict=True)) or [() for _ in schema]
    return pa.record_batch(
        [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )
