"""The cases of the self-test: each fault in several sizes, the objectives it must break, and the figures that must show its size.

Pure. What applies the faults is the media server (crates/sfu-worker/src/faults.rs), the proxy of datagrams or that of
signalling; what they really did is in their logs (evidence.py), and the figures are compared with that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from simulator.selftest.case import (
    DURATION_S,
    MEDIA,
    PARTICIPANTS,
    Case,
    Done,
    Size,
    both,
    of_each_kind,
)
from simulator.selftest.datagrams import DatagramFault, Direction, Media
from simulator.selftest.evidence import AUDIO_MS, VIDEO_MS, Evidence
from simulator.selftest.pause_cases import paused

FAULTS: Mapping[str, str] = {
    "healthy": "nothing; the others are compared with it, and it must pass",
    "withhold": "the server sends no media in part of each period, and numbers what it sends without a gap",
    "stall-middle": "the server sends no media for a while, numbers without a gap",
    "stall-end": "the same until the end of the measured time",
    "stall-for-good": "the same from a moment on",
    "drop-audio": "the server leaves out audio packets, numbers without a gap",
    "key-frames-only": "the server sends no video but key frames, numbers without a gap",
    "key-frames-lost": "the server sends all video but some key frames, numbers without a gap",
    "torn-frames": "of video frames of several packets the server sends the last packet only, numbers without a gap",
    "swap": "the server puts the payload of another participant into a packet",
    "echo": "the server puts what the receiver itself sent into a packet",
    "other-kind": "the server puts sound into a video packet, and a picture into an audio packet",
    "unasked-ssrc": "the server sends a packet again under an SSRC that was never announced",
    "damaged-stamp": "the server inverts a byte of the stamp",
    "damaged-payload": "the server inverts a byte of the payload",
    "damaged-tag": "the network inverts a byte of the SRTP tag",
    "wrong-payload-type": "the server sends a packet with another payload type",
    "duplicate": "the network delivers a datagram twice",
    "duplicate-renumbered": "the server sends a packet again under the next number",
    "reorder": "the network delays single datagrams, so that later ones overtake them",
    "renumber": "the server leaves out sequence numbers, and no packets",
    "shift-timestamps": "the server adds to RTP timestamps",
    "jitter-timestamps": "the server adds to RTP timestamps, to each frame's another number of ticks",
    "freeze-timestamps": "the server sends one RTP timestamp in all packets of a stream",
    "delay-uplink": "the network delays what bots send",
    "delay-downlink": "the network delays what bots receive",
    "jitter": "the network delays each frame differently",
    "growing-delay": "the network delays what bots receive, by more from second to second",
    "lip-sync": "the network delays the sound that bots receive, and not the picture",
    "rtcp-lost": "the network loses RTCP, and no media",
    "stall-burst": "the network holds everything, then delivers all at once",
    "loss-uplink": "the network loses what bots send",
    "loss-downlink": "the network loses what bots receive",
    "lossy-receiver": "the network loses what one receiver would get",
    "freeze-receiver": "the network delivers nothing to one receiver",
    "few-producers": "the server does not announce some producers",
    "pause-obeyed": "nothing; producers are paused, and their bots go on sending: it must pass",
    "pause-ignored": "the server confirms that producers are paused, and goes on forwarding what their bots send",
    "late-start": "the network delivers no media while participants join",
    "several-at-once": "a few of the others in one run",
}
"""What is done, by the name of each fault."""

_DIRECTIONS: tuple[Direction, ...] = ("up", "down")
_STREAMS = PARTICIPANTS * (PARTICIPANTS - 1)
"""Of each kind."""


_DELIVERED = ("delivered_ratio.audio.ratio", "delivered_ratio.video.ratio")
_PAUSED = ("pauses.audio.longest_ms", "pauses.video.longest_ms")
_SHOWS_DELIVERED = (
    Size(figure=_DELIVERED[0], done=lambda e: e.share(0), missing=True),
    Size(figure=_DELIVERED[1], done=lambda e: e.share(1), missing=True),
)
_SHOWS_STALL = (
    Size(figure=f"{_PAUSED[0]}.max", done=lambda e: e.stall_ms(0, AUDIO_MS), plus=AUDIO_MS),
    Size(figure=f"{_PAUSED[1]}.max", done=lambda e: e.stall_ms(1, VIDEO_MS), plus=VIDEO_MS),
)


def _withheld() -> Iterable[Case]:
    for period_ms, on_ms in ((3200, 1600), (2000, 500), (1000, 350)):
        yield Case(
            fault="withhold",
            size=f"{on_ms / 1000:g} s of every {period_ms / 1000:g} s",
            server=both(kind="withhold", periodMs=period_ms, onMs=on_ms),
            named_by=_DELIVERED + (_PAUSED if on_ms > 1000 else ()),
            shown_by=_SHOWS_DELIVERED + _SHOWS_STALL,
            in_short=on_ms == 1600,
        )
    for at, from_s, for_s in (
        ("middle", 3.0, 1.8),
        ("middle", 3.0, 0.6),
        ("end", None, 1.8),
        ("end", None, 0.6),
    ):
        begin_s = DURATION_S - for_s if from_s is None else from_s
        lasts = {"forMs": int(for_s * 1000)} if from_s is not None else {}
        yield Case(
            fault=f"stall-{at}",
            size=f"{for_s:g} s",
            server=both(kind="withhold", fromMs=int(begin_s * 1000), **lasts),
            named_by=_DELIVERED + (_PAUSED if for_s > 1 else ()),
            shown_by=_SHOWS_DELIVERED + _SHOWS_STALL,
        )
    for from_s in (1.0, 3.0):
        yield Case(
            fault="stall-for-good",
            size=f"from second {from_s:g} of {DURATION_S:g}",
            server=both(kind="withhold", fromMs=int(from_s * 1000)),
            named_by=(*_DELIVERED, *_PAUSED, "streams.flowing"),
            shown_by=_SHOWS_DELIVERED + _SHOWS_STALL,
        )


def _partial() -> Iterable[Case]:
    for share in (1.0, 0.2, 0.05):
        yield Case(
            fault="drop-audio",
            size=f"{share:.0%}",
            server=({"kind": "withhold", "media": "audio", "share": share},),
            named_by=(_DELIVERED[0],),
            shown_by=_SHOWS_DELIVERED[:1],
        )
    yield Case(
        fault="key-frames-only",
        server=({"kind": "only_key_frames", "media": "video"},),
        named_by=(_DELIVERED[1],),
        shown_by=(Size(figure=_DELIVERED[1], done=lambda e: e.share(0), missing=True),),
    )
    for share in (1.0, 0.5):
        yield Case(
            fault="key-frames-lost",
            size=f"{share:.0%}",
            server=({"kind": "withhold_key_frames", "media": "video", "share": share, "byFrame": True},),
            named_by=("decodable_ratio.ratio",),
            shown_by=(Size(figure="frames.missing_key_frames", done=lambda e: e.frames(0), plus=2),),
            in_short=share == 0.5,
        )
    for share in (1.0, 0.4):
        yield Case(
            fault="torn-frames",
            size=f"{share:.0%} of those of several packets",
            server=({"kind": "tear_frames", "media": "video", "share": share, "byFrame": True},),
            named_by=(_DELIVERED[1],),
            shown_by=(
                Size(
                    figure=_DELIVERED[1],
                    done=lambda e: e.frames(0) / max(1, e.reach[0]["stamped"]),
                    missing=True,
                ),
            ),
        )


def _wrong() -> Iterable[Case]:
    for share in (1.0, 0.1, 0.01):
        yield Case(
            fault="swap",
            size=f"{share:.0%}",
            server=both(kind="swap", share=share),
            named_by=("foreign_frames",),
            shown_by=(Size(figure="foreign_frames", done=lambda e: e.count(stamped=True), plus=2),),
        )
        for fault, kind in (("echo", "echo"), ("other-kind", "other_kind")):
            yield Case(
                fault=fault,
                size=f"{share:.0%}",
                server=both(kind=kind, share=share),
                named_by=("foreign_frames",),
                shown_by=(Size(figure="foreign_frames", done=lambda e: e.count(stamped=True), plus=2),),
            )
        yield Case(
            fault="unasked-ssrc",
            size=f"{share:.0%}",
            server=({"kind": "unasked_ssrc", "share": share},),
            named_by=("unexpected_packets.total",),
            shown_by=(Size(figure="unexpected_packets.unknown_ssrc", done=lambda e: e.count(), plus=2),),
        )
        yield Case(
            fault="damaged-stamp",
            size=f"{share:.0%}",
            server=({"kind": "damage_stamp", "share": share},),
            named_by=("unexpected_packets.total",),
            shown_by=(Size(figure="unexpected_packets.damaged_stamps", done=lambda e: e.count(), plus=2),),
        )
        yield Case(
            fault="damaged-payload",
            size=f"{share:.0%}",
            server=both(kind="damage_payload", share=share),
            named_by=("corrupted_frames",),
            shown_by=(
                Size(
                    figure="corrupted_frames",
                    done=lambda e: e.count(0, stamped=True) + e.frames(1),
                    plus=2,
                ),
            ),
            in_short=share == 0.1,
        )
        yield Case(
            fault="damaged-tag",
            size=f"{share:.0%}",
            network=(
                DatagramFault(action="damage", direction="down", media=("audio", "video"), share=share),
            ),
            named_by=("unexpected_packets.total",),
            shown_by=(
                Size(
                    figure="unexpected_packets.unauthentic",
                    done=lambda e: e.touched(direction="down"),
                    plus=2,
                ),
            ),
        )
    for size, sent in (
        ("5%, one that is not known", {"amount": 99, "share": 0.05}),
        ("5% of video, that of audio", {"amount": 100, "media": "video", "share": 0.05}),
    ):
        yield Case(
            fault="wrong-payload-type",
            size=size,
            server=({"kind": "payload_type", **sent},),
            named_by=("unexpected_packets.total",),
            shown_by=(Size(figure="unexpected_packets.payload_type", done=lambda e: e.count(), plus=2),),
        )


def _numbered() -> Iterable[Case]:
    for share in (1.0, 0.05, 0.004):
        yield Case(
            fault="duplicate",
            size=f"{share:.1%}",
            network=(
                DatagramFault(action="repeat", direction="down", media=("audio", "video"), share=share),
            ),
            named_by=("duplicate_ratio.ratio",),
            shown_by=(
                Size(
                    figure="duplicate_ratio.ratio",
                    done=_repeated,
                ),
            ),
        )
        yield Case(
            fault="duplicate-renumbered",
            size=f"{share:.1%}",
            server=({"kind": "repeat", "share": share},),
            named_by=("frames.duplicated",),
            shown_by=(Size(figure="frames.duplicated", done=lambda e: e.count(stamped=True), plus=2),),
        )
    for share in (0.2, 0.02):
        yield Case(
            fault="reorder",
            size=f"{share:.0%} of audio 50 ms late",
            network=(
                DatagramFault(action="delay", direction="down", media=("audio",), share=share, delay_ms=50),
            ),
            named_by=("reordered.ratio",),
            shown_by=(Size(figure="reordered.ratio", done=lambda e: e.late_share(direction="down")),),
        )
    for share, amount in ((0.01, 10), (0.02, 2)):
        yield Case(
            fault="renumber",
            size=f"{amount} numbers left out before {share:.0%} of audio packets",
            server=({"kind": "renumber", "media": "audio", "amount": amount, "share": share},),
            named_by=("loss.audio.ratio",),
            shown_by=(
                Size(
                    figure="loss.audio.ratio",
                    done=_left_out(amount),
                ),
            ),
        )


def _timed() -> Iterable[Case]:
    """RTP timestamps that do not go on as the senders' do."""
    for size, fault in (
        ("1 s from second 3 on", {"amount": 48_000, "fromMs": 3000}),
        ("1 tick in 2% of audio packets", {"amount": 1, "share": 0.02}),
    ):
        yield Case(
            fault="shift-timestamps",
            size=size,
            server=({"kind": "shift_timestamp", "media": "audio", **fault},),
            named_by=("timestamp_jumps",),
            shown_by=(Size(figure="timestamp_jumps", done=lambda e: e.jumps(0, 960), plus=2),),
            in_short="share" in fault,
        )
    for amount, kind in ((2400, "audio"), (900, "video")):
        yield Case(
            fault="jitter-timestamps",
            size=f"0 to {amount} ticks of {kind}",
            server=({"kind": "jitter_timestamp", "media": kind, "amount": amount},),
            named_by=("timestamp_jumps",),
            shown_by=(Size(figure="timestamp_jumps", done=lambda e: e.count(stamped=True), plus=2),),
        )
    yield Case(
        fault="freeze-timestamps",
        size="of audio",
        server=({"kind": "freeze_timestamp", "media": "audio"},),
        named_by=("timestamp_jumps",),
        shown_by=(Size(figure="timestamp_jumps", done=lambda e: e.count(stamped=True), plus=2),),
    )


def _delayed() -> Iterable[Case]:
    for direction in _DIRECTIONS:
        for delay_ms in (70, 150, 400):
            yield Case(
                fault=f"delay-{direction}link",
                size=f"{delay_ms} ms",
                network=(DatagramFault(action="delay", direction=direction, delay_ms=delay_ms),),
                named_by=("latency_ms.audio.p95", "latency_ms.video.p95"),
                shown_by=of_each_kind(
                    "latency_ms.{kind}.p50", functools.partial(_latency, direction), plus=1.0
                ),
            )
    for jitter_ms in (60, 150):
        yield Case(
            fault="jitter",
            size=f"0 to {jitter_ms} ms",
            network=(DatagramFault(action="delay", direction="down", jitter_ms=jitter_ms),),
            named_by=("latency_ms.audio.p95", "latency_ms.video.p95"),
            shown_by=of_each_kind("jitter_ms.{kind}.p95", _variation, plus=3.0),
        )
    for growth in (10.0, 25.0):
        yield Case(
            fault="growing-delay",
            size=f"{growth:g} ms a second",
            network=(DatagramFault(action="delay", direction="down", growth_ms_per_s=growth),),
            named_by=("latency_rise_ms.audio", "latency_rise_ms.video"),
            shown_by=of_each_kind("latency_rise_ms.{kind}", _rise, plus=3.0),
        )
    for size, constant_ms, growth in (("60 ms", 60, 0.0), ("15 ms more each second", 0, 15.0)):
        yield Case(
            fault="lip-sync",
            size=size,
            network=(
                DatagramFault(
                    action="delay",
                    direction="down",
                    media=("audio",),
                    delay_ms=constant_ms,
                    growth_ms_per_s=growth,
                ),
            ),
            named_by=("lip_sync_ms.max",),
            # Of a delay that grows, medians of seconds show up to half a second's growth less or more.
            shown_by=(Size(figure="lip_sync_ms.max", done=_late_sound, plus=2.0 + growth / 2),),
        )
    for stall_s in (1.5, 0.5, 0.36):
        yield Case(
            fault="stall-burst",
            size=f"{stall_s:g} s",
            network=(DatagramFault(action="hold", direction="down", from_s=3.0, for_s=stall_s),),
            named_by=_PAUSED if stall_s > 1 else ("pauses.audio.share", "pauses.video.share"),
            shown_by=tuple(
                Size(
                    figure=f"{figure}.max",
                    done=_silence(kind),
                    plus=VIDEO_MS,
                )
                for figure, kind in zip(_PAUSED, MEDIA, strict=True)
            ),
        )


def _lost() -> Iterable[Case]:
    for direction in _DIRECTIONS:
        for share in (0.05, 0.2):
            yield Case(
                fault=f"loss-{direction}link",
                size=f"{share:.0%} of audio",
                network=(DatagramFault(action="drop", direction=direction, media=("audio",), share=share),),
                named_by=(_DELIVERED[0], "loss.audio.ratio"),
                shown_by=(
                    Size(
                        figure="loss.audio.ratio",
                        done=_lost_audio(direction),
                    ),
                ),
            )
    for share in (0.3, 0.1):
        yield Case(
            fault="lossy-receiver",
            size=f"{share:.0%} of audio",
            network=(
                DatagramFault(action="drop", direction="down", media=("audio",), receivers=1, share=share),
            ),
            named_by=("worst_delivered_ratio.audio",),
            shown_by=(
                Size(
                    figure="worst_delivered_ratio.audio.ratio",
                    done=lambda e: e.most_lost(direction="down", media="audio"),
                    missing=True,
                ),
            ),
        )
    for size, lost_directions in (("both ways", _DIRECTIONS), ("from the server", ("down",))):
        yield Case(
            fault="rtcp-lost",
            size=size,
            network=tuple(
                DatagramFault(action="drop", direction=direction, media=("rtcp",))
                for direction in lost_directions
            ),
            from_join=True,
            duration_s=12.0,
            named_by=("rtcp.sender_report_wait_ms", "rtcp.receiver_report_wait_ms"),
            # Until the end of the measured time, and from the first packet, which came before it began.
            shown_by=tuple(
                Size(
                    figure=f"rtcp.{figure}_wait_ms.max",
                    done=lambda e: (e.window_ns[1] - e.window_ns[0]) / 1e6,
                    plus=3500.0,
                )
                for figure in ("sender_report", "receiver_report")
            ),
        )
    yield Case(
        fault="rtcp-lost",
        size="to the server, and 5% of video from it",
        network=(
            DatagramFault(action="drop", direction="up", media=("rtcp",)),
            DatagramFault(action="drop", direction="down", media=("video",), share=0.05),
        ),
        named_by=("rtcp.unrepaired",),
        shown_by=(Size(figure="rtcp.unrepaired.ratio", done=lambda _: 1.0),),
    )
    yield Case(
        fault="freeze-receiver",
        size="from second 2",
        network=(DatagramFault(action="drop", direction="down", receivers=1, from_s=2.0),),
        named_by=("streams.flowing", *_DELIVERED, *_PAUSED),
        shown_by=(
            Size(figure="streams.flowing", done=lambda _: 2 * _STREAMS - 2 * (PARTICIPANTS - 1)),
            Size(figure=f"{_PAUSED[0]}.max", done=lambda e: e.silence_ms(direction="down", media="audio")),
        ),
        in_short=True,
    )
    yield Case(
        fault="freeze-receiver",
        size="1.4 s",
        network=(DatagramFault(action="drop", direction="down", receivers=1, from_s=3.0, for_s=1.4),),
        # Video of that time is asked for again and comes, late.
        named_by=(_DELIVERED[0], *_PAUSED),
        shown_by=(
            Size(
                figure=_DELIVERED[0],
                done=lambda e: e.lost(direction="down", media="audio"),
                missing=True,
                plus=0.002,
            ),
            Size(figure=f"{_PAUSED[0]}.max", done=lambda e: e.silence_ms(direction="down", media="audio")),
        ),
    )


def _signalled() -> Iterable[Case]:
    for size, hidden in (
        ("the sound of one", (("bot-1", "audio"),)),
        ("all of one", (("bot-1", "audio"), ("bot-1", "video"))),
        ("the video of two", (("bot-0", "video"), ("bot-3", "video"))),
    ):
        yield Case(
            fault="few-producers",
            size=size,
            hidden=hidden,
            named_by=("streams.flowing",),
            shown_by=(Size(figure="streams.flowing", done=lambda e: 2 * _STREAMS - e.hidden),),
            in_short=len(hidden) == 1,
        )
    for start_s in (2.3, 2.7):
        yield Case(
            fault="late-start",
            size=f"{start_s:g} s",
            network=(DatagramFault(action="drop", direction="down", for_s=start_s),),
            from_join=True,
            named_by=("join_ms.p95",),
            # The slowest join begins up to 0.1 s after the fault.
            shown_by=(Size(figure="join_ms.max", done=_joined(start_s), plus=50.0),),
        )


def _at_once() -> Iterable[Case]:
    """One run with several faults, each of which must be told from the others."""
    yield Case(
        fault="several-at-once",
        size="10% of audio swapped, 10% of video unasked, 5% repeated, 150 ms on the uplink",
        server=(
            {"kind": "swap", "media": "audio", "share": 0.1},
            {"kind": "unasked_ssrc", "media": "video", "share": 0.1},
        ),
        network=(
            DatagramFault(action="delay", direction="up", delay_ms=150),
            DatagramFault(action="repeat", direction="down", media=MEDIA, share=0.05),
        ),
        named_by=(
            "foreign_frames",
            "unexpected_packets.total",
            "duplicate_ratio.ratio",
            "latency_ms.audio.p95",
            "latency_ms.video.p95",
        ),
        shown_by=(
            Size(figure="foreign_frames", done=lambda e: e.count(0, stamped=True), plus=2),
            Size(figure="latency_ms.video.p50", done=_latency("up", "video"), plus=1.0),
        ),
        in_short=True,
    )


def cases() -> tuple[Case, ...]:
    """Return all cases; the first is the healthy server, which the others are compared with."""
    found = [Case(fault="healthy", in_short=True)]
    for group in (
        _withheld,
        _partial,
        _wrong,
        _numbered,
        _timed,
        _delayed,
        _lost,
        _signalled,
        paused,
        _at_once,
    ):
        found += group()
    return tuple(found)


def _left_out(amount: int) -> Done:
    """Return what computes the share of numbers that were left out, so many at a time."""

    def done(evidence: Evidence) -> float:
        left_out = evidence.count(0) * amount
        return _part(left_out, evidence.reach[0]["packets"] + left_out)

    return done


def _repeated(evidence: Evidence) -> float:
    """Compute the share of copies among all that arrived."""
    copies = evidence.touched(direction="down")
    return _part(copies, len(evidence.datagrams(direction="down")) + copies)


def _joined(start_s: float) -> Done:
    return lambda _: start_s * 1000


def _latency(direction: Direction, kind: Media) -> Done:
    """Return what computes the latency: the time that datagrams were held, and what the healthy server takes."""

    def done(evidence: Evidence) -> float:
        held_ms = evidence.held_ms(direction=direction, media=kind, quantile=0.5)
        return held_ms + float(evidence.healthy["latency_ms"][kind]["p50"])

    return done


def _variation(kind: Media) -> Done:
    return lambda evidence: evidence.variation_ms(direction="down", media=kind, quantile=0.95)


def _rise(kind: Media) -> Done:
    return lambda evidence: evidence.rise_ms(direction="down", media=kind)


def _late_sound(evidence: Evidence) -> float:
    return evidence.held_ms(direction="down", media="audio", quantile=0.75)


def _silence(kind: Media) -> Done:
    return lambda evidence: evidence.silence_ms(direction="down", media=kind)


def _lost_audio(direction: Direction) -> Done:
    return lambda evidence: evidence.lost(direction=direction, media="audio")


def _part(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
