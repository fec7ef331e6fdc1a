"""Groups of figures about the media that arrived: pauses, the trend of the latency, and RTCP.

Part of the summary (summary.py); computed in analysis/.
"""

from __future__ import annotations

from simulator.figure_types import FigureModel, Percentiles, Share, figure


class Streams(FigureModel):
    """Streams from one participant to one other: audio and video count apart."""

    expected: int | None = figure(
        "streams expected", "Streams that should flow, from each sender to each receiver."
    )
    flowing: int | None = figure(
        "streams flowing",
        "Streams that brought media through the whole of the measured time, never silent for 2 s, its end included.",
        objectives=("== streams.expected",),
    )


class Rtcp(FigureModel):
    """RTCP as native bots need it: reports and feedback from server and peers, and answers to their requests."""

    sender_report_wait_ms: Percentiles | None = figure(
        "wait for a sender report",
        "Longest time that a stream was received without a sender report (RFC 3550) about it; per participant.",
        unit="ms",
        objectives=("max < 10000",),
    )
    receiver_report_wait_ms: Percentiles | None = figure(
        "wait for a receiver report",
        "Longest time that a stream was sent without a report on how it is received; per participant.",
        unit="ms",
        objectives=("max < 10000",),
    )
    feedback_wait_ms: Percentiles | None = figure(
        "wait for transport-wide feedback",
        "Longest time that media was sent without transport-wide feedback, once the first came; per participant.",
        unit="ms",
        objectives=("max < 10000",),
    )
    late_key_frames: Share | None = figure(
        "key frames late",
        "Of the times in which a video could not go on and a key frame was asked for, those in which none came within 500 ms "
        "and two round trips although media did; of the whole run, joins included.",
        unit="ratio",
    )
    unrepaired: Share | None = figure(
        "packets not repaired",
        "Of the lost packets that were asked for again (NACK), the share that never came; of the whole run.",
        unit="ratio",
        objectives=("low <= 0.1",),
    )


class PausesOf(FigureModel):
    """Times in which a stream brought nothing: audio no packet, video no frame that could be decoded."""

    longest_ms: Percentiles | None = figure(
        "longest pause",
        "Longest time in which a stream brought nothing, until the end of the measured time; per stream.",
        unit="ms",
        objectives=("max < 1000",),
    )
    over_300_ms: int | None = figure("pauses over 300 ms", "Pauses longer than 300 ms, of all streams.")
    share: float | None = figure(
        "time in pauses",
        "Share of the time of all streams that lay in pauses of over 300 ms.",
        unit="ratio",
        objectives=("<= 0.02",),
    )


class Pauses(FigureModel):
    """Pauses of audio and video."""

    audio: PausesOf | None = figure("pauses", "Pauses of audio.")
    video: PausesOf | None = figure("pauses", "Pauses of video.")


class LatencyRise(FigureModel):
    """By how much the latency rose from the begin to the end of the measured time.

    Trend of the medians of the seconds (Theil and Sen), which single seconds do not move; null for less than 5 s, and where
    stages change the load.
    """

    audio: float | None = figure("rise", "Of audio.", unit="ms", objectives=("< 30",))
    video: float | None = figure("rise", "Of video.", unit="ms", objectives=("< 30",))
