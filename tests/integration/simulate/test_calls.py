"""The pattern `calls` on the real stack: roles, turns of talk, stages, and actions at given times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator.analysis.raw_run import RawRun
from simulator.runs.base import pattern_of
from simulator.samples.schema import SAMPLE_COMFORT
from simulator.scenario import Scenario
from simulator.summary import Summary

pytestmark = [
    pytest.mark.slow(reason="whole runs: servers, participants, and the report"),
    pytest.mark.timeout(200),
]


def run(tmp_path: Path, **values: Any) -> tuple[Summary, RawRun]:
    """Run a scenario of native bots; how fast it was is not judged, as others may use the machine."""
    scenario = Scenario.from_values(
        {
            "name": "x",
            "pattern": "calls",
            "participants": {"bots": "native"},
            "ramp": {"over_s": 1.0, "timeout_s": 60.0},
            **values,
        }
    )
    _, summary = asyncio.run(
        pattern_of(scenario).make_run(scenario, state=tmp_path, out=tmp_path / "run").execute()
    )
    assert summary.verdict != "error", summary.reasons
    assert summary.dropped_calls == 0
    assert not summary.foreign_frames
    assert summary.leftovers is not None
    assert summary.leftovers.findings == []
    return summary, RawRun.read(tmp_path / "run")


def test_some_only_receive_and_the_others_talk_in_turns(tmp_path: Path) -> None:
    summary, raw = run(
        tmp_path,
        calls={"calls": 2, "people": 4, "senders": 2, "talkers": 1, "spurt_s": 0.7},
        hold={"duration_s": 6.0, "settle_s": 0.5},
    )
    assert summary.participants == 8
    assert summary.streams.flowing == summary.streams.expected == 2 * 2 * 3 * 2
    frames = raw.samples()
    # Participants are numbered call by call; the first two of each send.
    assert set(frames["sender"]) == {1, 2, 5, 6}
    assert set(frames["receiver"]) == set(range(1, 9))
    talk = raw.tables["muted"]
    turns = talk[(talk["kind"] == 0) & (talk["ended_ns"] > 0)]
    assert len(turns) >= 4
    for _, bot, began, ended in turns[["bot", "began_ns", "ended_ns"]].itertuples():
        audio = frames[(frames["sender"] == bot) & (frames["kind"] == 0)]
        sent_ns = audio["recv_unix_ns"].astype("int64") - audio["owd_ns"]
        inside = sent_ns[(sent_ns > began + 50_000_000) & (sent_ns < ended)]
        assert inside.empty, f"participant {bot} was heard while it was silent"


@pytest.mark.parametrize("pattern", ["calls", "group"])
def test_silence_that_is_not_sent_is_no_pause(tmp_path: Path, pattern: str) -> None:
    """In turns of talk and in the clip's own silence: a frame in 400 ms, no pauses, nothing missing."""
    values: dict[str, Any] = {"media": {"dtx": True}, "hold": {"duration_s": 6.0}}
    if pattern == "calls":
        summary, raw = run(tmp_path, calls={"calls": 1, "people": 4, "talkers": 1, "spurt_s": 1.5}, **values)
    else:
        values |= {"name": "x", "participants": {"count": 4, "bots": "native"}}
        made = pattern_of(scenario := Scenario.from_values(values)).make_run(
            scenario, state=tmp_path, out=tmp_path / "run"
        )
        _, summary = asyncio.run(made.execute())
        raw = RawRun.read(tmp_path / "run")
    assert summary.streams.flowing == summary.streams.expected == 24
    assert raw.tables["muted"].empty
    assert summary.delivered_ratio is not None
    assert summary.delivered_ratio.audio is not None
    assert summary.delivered_ratio.audio.ratio > 0.98
    # Called a pause, the silence of three of four would be most of the time.
    assert summary.pauses is not None
    assert summary.pauses.audio is not None
    assert summary.pauses.audio.share is not None
    assert summary.pauses.audio.share < 0.1
    sent = raw.tables["sent"]
    audio = sent[sent["kind"] == 0].sort_values(["sender", "sent_unix_ns"])
    comfort = (audio["flags"] & SAMPLE_COMFORT) != 0
    assert comfort.any()
    again = comfort & comfort.shift(fill_value=False) & (audio["sender"] == audio["sender"].shift())
    apart_ms = audio["sent_unix_ns"].astype("int64").diff()[again] / 1e6
    assert apart_ms.median() == pytest.approx(400, abs=20)


def test_calls_grow_and_shrink_by_their_stages(tmp_path: Path) -> None:
    summary, raw = run(
        tmp_path,
        stages=[
            {"duration_s": 4, "calls": 1, "people": 3},
            {"duration_s": 6, "calls": 3, "people": 4},
            {"duration_s": 4, "calls": 2, "people": 2},
        ],
    )
    assert summary.duration_s == pytest.approx(14, abs=3)
    arrivals = raw.tables["arrivals"]
    assert arrivals["call_id"].nunique() == 3
    assert arrivals.groupby("call_id").size().tolist() == [4, 4, 4]
    until = raw.context.window_end_ns
    assert until is not None
    assert int((arrivals["left_ns"] >= until).sum()) == 4


def test_actions_happen_at_their_times_and_all_calls_survive(tmp_path: Path) -> None:
    at: list[dict[str, Any]] = [
        {"s": 1, "do": "mute", "call": 1, "participant": 2},
        {"s": 1, "do": "camera-off", "call": 1, "participant": 3},
        {"s": 2, "do": "leave", "call": 2, "participant": 3},
        {"s": 3, "do": "unmute", "call": 1, "participant": 2},
        {"s": 4, "do": "join", "call": 2, "participant": 3},
        {"s": 6, "do": "partition", "call": 1, "participant": 3, "for_s": 1.5},
        {"s": 9, "do": "kill-worker"},
        {"s": 14, "do": "stop", "service": "gateway", "for_s": 1.0},
        {"s": 17, "do": "restart", "service": "gateway"},
        {"s": 24, "do": "kill-media"},
    ]
    summary, raw = run(tmp_path, calls={"calls": 2, "people": 3}, hold={"duration_s": 36.0}, at=at)
    done = [event for event in raw.events if event["event"] == "action"]
    assert sorted((event["s"], event["do"]) for event in done) == sorted((float(a["s"]), a["do"]) for a in at)
    start = raw.context.window_start_ns
    assert start is not None
    for event in done:
        assert (event["unix_ns"] - start) / 1e9 == pytest.approx(event["s"], abs=1.5)
    assert raw.tables["deaths"]["what"].tolist() == [
        *("partition", "worker", "stopped gateway", "restarted gateway", "media")
    ]
    assert len(raw.tables["arrivals"]) == 7  # six, and the one who came back
    assert not [event for event in raw.events if event["event"] == "action-failed"]
    muted = raw.tables["muted"]
    assert set(zip(muted["bot"], muted["kind"], strict=True)) == {(2, 0), (3, 1)}
    assert summary.streams.expected >= 24


def test_a_webinar_has_one_sender(tmp_path: Path) -> None:
    _, raw = run(
        tmp_path,
        calls={"calls": 1, "people": 6, "senders": 1},
        media={"resolution": "360p"},
        hold={"duration_s": 3.0},
    )
    frames: pd.DataFrame = raw.samples()
    assert set(frames["sender"]) == {1}
    assert set(frames["receiver"]) == {2, 3, 4, 5, 6}
