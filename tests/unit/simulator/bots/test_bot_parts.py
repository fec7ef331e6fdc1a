"""Small pure parts around bots: capabilities, who receives whom, refusals, the server's figures, the live table."""

import os
from io import StringIO

import jwt
import numpy as np
import pytest
from rich.console import Console

from simulator.bots.native import ROW_DTYPE, SAMPLE_DTYPE, latency_batch, streams_batch, threads_for
from simulator.client.bot import pick_capabilities
from simulator.client.media_server import Credentials, refusal
from simulator.client.server_figures import read_figures
from simulator.errors import UsageError
from simulator.report.live import PhaseLines, Progress, progress_table
from simulator.runs.group import Plan, _bot_number, _participant_id
from simulator.samples.schema import SAMPLE_FOREIGN, STREAMS, rows_to_batch
from simulator.scenario import Scenario

ROUTER = {
    "codecs": [
        {"mimeType": "audio/opus", "preferredPayloadType": 100, "rtcpFeedback": [{"type": "transport-cc"}]},
        {
            "mimeType": "video/VP8",
            "preferredPayloadType": 101,
            "rtcpFeedback": [{"type": "nack", "parameter": ""}, {"type": "ccm", "parameter": "fir"}],
        },
        {"mimeType": "video/rtx", "preferredPayloadType": 102, "parameters": {"apt": 101}},
        {"mimeType": "video/H264", "preferredPayloadType": 105},
        {"mimeType": "video/rtx", "preferredPayloadType": 106, "parameters": {"apt": 105}},
    ],
    "headerExtensions": [{"uri": "mid", "preferredId": 1}, {"uri": "twcc", "preferredId": 5}],
}


def scenario(count: int, bots: str, **more: object) -> Scenario:
    return Scenario.from_values({"name": "x", "participants": {"count": count, "bots": bots, **more}})


def test_capabilities_keep_the_wanted_codecs_with_their_rtx_and_nothing_else() -> None:
    picked = pick_capabilities(
        ROUTER, mime_types=("video/vp8",), feedback=(("nack", ""),), extensions=("mid",)
    )
    assert [c["preferredPayloadType"] for c in picked["codecs"]] == [101, 102]
    assert picked["codecs"][0]["rtcpFeedback"] == [{"type": "nack", "parameter": ""}]
    assert [e["uri"] for e in picked["headerExtensions"]] == ["mid"]


@pytest.mark.parametrize("bots", ["native", "aiortc"])
def test_each_bot_receives_all_others(bots: str) -> None:
    assert len(Plan(scenario(5, bots)).expected()) == 5 * 4 * 2


def test_in_a_mixed_call_observers_receive_only_as_many_as_they_watch() -> None:
    plan = Plan(scenario(50, "mixed", observers=2, watched=4))
    assert plan.aiortc == [48, 49]
    received = [(r, s) for r, s, kind in plan.expected() if kind == 0]
    assert len([1 for r, _ in received if r == 48]) == 4
    assert len([1 for r, _ in received if r == 0]) == 49
    assert len(received) == 48 * 49 + 2 * 4


def test_one_thread_carries_fifty_native_bots_and_never_more_threads_than_cores_are_used() -> None:
    assert Plan(scenario(50, "native")).native_threads() == 1
    assert Plan(scenario(2, "aiortc")).native_threads() == 1
    assert threads_for(received=500 * 4 * 2, sent=500 * 2) == min(2, len(os.sched_getaffinity(0)))
    assert 1 <= Plan(scenario(500, "native")).native_threads() <= (os.cpu_count() or 1)


def test_a_small_mixed_call_is_a_full_mesh() -> None:
    assert len(Plan(scenario(5, "mixed")).expected()) == 5 * 4 * 2


@pytest.mark.parametrize("name", ["ada", "bot-", "bot-x", "bot--1", "robot-3"])
def test_other_participants_of_the_call_are_no_bots_of_ours(name: str) -> None:
    assert _bot_number(name) is None


def test_a_bot_is_known_by_its_name() -> None:
    assert _bot_number(_participant_id(17)) == 17


def test_a_reached_limit_is_named_with_its_remedy() -> None:
    error = refusal(
        "POST",
        "/x/consume",
        429,
        {"code": "RATE_LIMIT_EXCEEDED", "message": "too many consume requests"},
        {"X-RateLimit-Limit": "100", "Retry-After": "12"},
    )
    assert "limit 100 per window, free again in 12 s" in str(error)
    assert "too many consume requests" in str(error)
    assert error.http_status == 429


def test_a_refusal_without_a_body_still_says_what_was_refused() -> None:
    assert "POST /x: HTTP 500: no message" in str(refusal("POST", "/x", 500, None, {}))


def test_each_participant_gets_a_token_of_its_own() -> None:
    secret = "s" * 32
    claims = jwt.decode(
        Credentials(secret=secret).for_participant("call", "bot-1"),
        secret,
        algorithms=["HS256"],
        audience="meeshy-media",
    )
    assert (claims["callId"], claims["participantId"], claims["role"]) == ("call", "bot-1", "participant")
    assert Credentials(token="ready").for_participant("call", "bot-1") == "ready"


def test_a_short_secret_is_refused_by_us_and_not_only_warned_of_by_the_library() -> None:
    with pytest.raises(
        UsageError, match=r"MEESHY_SIMULATE_SECRET.* 5 bytes.* 32 bytes.*openssl rand"
    ) as caught:
        Credentials(secret="short")
    assert "short" not in str(caught.value)


def test_the_servers_figures_are_sums_over_its_workers_and_the_rest_is_control() -> None:
    figures = read_figures(
        {
            "process": {"cpuS": 2.5, "rssBytes": 7},
            "workers": [
                {"index": 0, "cpuNs": 1_000_000_000, "packetsIn": 1, "packetsOut": 2},
                {"index": 1, "cpuNs": 500_000_000, "packetsIn": 3, "packetsOut": 4},
            ],
        },
        5,
    )
    assert (figures.cpu_ns, figures.rss_bytes, figures.packets_in, figures.packets_out) == (
        2_500_000_000,
        7,
        4,
        6,
    )
    assert figures.workers[-1] == (-1, "control", 1_000_000_000)


def test_figures_a_server_does_not_give_are_none() -> None:
    figures = read_figures({}, 5)
    assert (figures.cpu_ns, figures.rss_bytes, figures.packets_out, figures.workers) == (None, None, None, ())


def test_rows_of_the_pool_become_rows_of_the_streams_table() -> None:
    rows = np.zeros(2, ROW_DTYPE)
    rows["bot"], rows["sender"], rows["kind"] = [1, 1], [2, 65535], [1, 0]
    rows["expected"], rows["lost"], rows["lost_after_repair"] = 100, 5, 2
    (row,) = streams_batch(rows, 3, 99).to_pylist()
    assert (row["tick"], row["receiver"], row["sender"], row["packets"]) == (3, 1, 2, 98)
    assert (row["missing_first"], row["missing"], row["frames_decoded"]) == (5, 2, None)


def test_samples_of_the_pool_keep_only_the_flag_of_misrouted_frames() -> None:
    samples = np.zeros(2, SAMPLE_DTYPE)
    samples["flags"], samples["owd_ns"] = [0b101, 0b010], [5, -6]
    rows = latency_batch(samples).to_pylist()
    assert [row["flags"] for row in rows] == [0, SAMPLE_FOREIGN]
    assert [row["owd_ns"] for row in rows] == [5, -6]


def test_phases_are_printed_with_what_was_reached() -> None:
    out = StringIO()
    with PhaseLines(Console(file=out, width=100), "group") as lines:
        lines.phase("ramp")
        lines.show(Progress(participants=3, expected=12, joined=3, flowing=12))
        lines.phase("hold", 5)
    assert out.getvalue() == "group\n  ramp\n  hold, 5 s (3 of 3 in, 12 of 12 streams flowing)\n"


def test_the_live_table_shows_where_the_run_is() -> None:
    progress = Progress(participants=3, expected=12, joined=2)
    now = 10_000_000_000
    stream = dict.fromkeys(STREAMS.names, 0) | {"unix_ns": now, "last_packet_ns": now - 1, "expected": 50}
    stale = stream | {"last_packet_ns": 1, "missing": 5}
    batch = rows_to_batch(STREAMS, [tuple(row[n] for n in STREAMS.names) for row in (stream, stale)])
    progress.update(None, [], [batch])
    assert progress.flowing == 1
    out = StringIO()
    Console(file=out, width=100).print(progress_table(progress, "group"))
    assert "1 of 12" in out.getvalue()
    assert "5.000%" in out.getvalue()


def test_the_live_table_counts_no_streams_where_participants_join_and_leave() -> None:
    out = StringIO()
    progress = Progress(participants=3, expected=4, flowing=12, steady=False)
    Console(file=out, width=100).print(progress_table(progress, "switch"))
    assert "12 of 4" not in out.getvalue()
