"""`meeshy simulate` on the real stack: what it says is what was done to the call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest

from meeshy_sfu.cli import main
from simulator.scenario import Scenario
from simulator.summary import json_schema

from .conftest import Finished, Simulate, command, write
from .test_processes import eventually, is_running

pytestmark = [
    pytest.mark.slow(reason="whole runs: servers, bots, seconds of media, and the report"),
    pytest.mark.timeout(200),
]


def judged(run: Finished) -> dict[str, Any]:
    """Return the summary of a run that was measured; a busy machine may make it void, never worse."""
    assert run.code in {0, 4}, (run.code, run.summary.get("reasons"), run.stderr[-2000:])
    assert run.summary["verdict"] == ("pass" if run.code == 0 else "void")
    return run.summary


def test_a_native_group_flows_without_loss(simulate: Simulate) -> None:
    summary = judged(
        simulate("group", "--participants", "5", "--bots", "native", "--duration", "4", unhurried=True)
    )
    jsonschema.Draft202012Validator(json_schema()).validate(summary)
    assert summary["streams"] == {"expected": 40, "flowing": 40}
    assert summary["loss"]["ratio"] == summary["loss"]["before_repair"] == 0
    assert summary["foreign_frames"] == 0
    assert summary["latency_ms"]["video"]["samples"] > 20 * 4 * 25
    assert summary["server"]["packets_out"] > 20 * 4 * 80
    assert summary["server"]["cpu_ns_per_packet"] > 0
    assert summary["join_ms"]["samples"] >= 4


def test_aiortc_bots_decode_all_others_without_a_freeze(simulate: Simulate) -> None:
    run = simulate(
        {
            "name": "decoding",
            "participants": {
                "count": 6,
                "bots": "mixed",
                "observers": 4,
                "watched": 5,
                "bots_per_process": 2,
            },
            "hold": {"duration_s": 5, "settle_s": 1},
        },
        unhurried=True,
    )
    summary = judged(run)
    assert summary["streams"] == {"expected": 60, "flowing": 60}
    decoded = summary["decoded"]
    assert decoded["streams"] == 40
    assert decoded["frames"] > 20 * 5 * 25
    assert decoded["freezes"] == 0 or run.code == 4  # starved bots cannot judge the server
    assert decoded["audible"] == decoded["audio_streams"] == 20
    assert decoded["playout_ms"]["video"]["samples"] > 20 * 5 * 20


def test_live_encoded_media_is_stamped_and_decoded_too(simulate: Simulate) -> None:
    run = simulate(
        {
            "name": "synthetic",
            "participants": {"count": 2, "bots": "aiortc"},
            "media": {"aiortc": "synthetic"},
            "hold": {"duration_s": 4},
        },
        unhurried=True,
    )
    summary = judged(run)
    assert summary["streams"] == {"expected": 4, "flowing": 4}
    assert summary["decoded"]["audible"] == 2
    assert summary["latency_ms"]["video"]["samples"] > 100


def test_an_injected_delay_is_reported_as_it_is(simulate: Simulate) -> None:
    options = ("--participants", "4", "--duration", "5", "--seed", "3")
    plain = simulate("group", *options, unhurried=True)
    slow = simulate("group", *options, "--delay-ms", "150", "--slo", "latency_ms.video.p95<1000")
    judged(plain)
    assert slow.code in {3, 4}  # audio still has its default objective
    fast, late = (pd.read_parquet(run.directory / "latency.parquet") for run in (plain, slow))
    for number, kind in enumerate(("audio", "video")):
        # The quick ones of both: what a busy machine adds to the others comes and goes.
        added_ns = [rows.loc[rows["kind"] == number, "owd_ns"].quantile(0.05) for rows in (fast, late)]
        assert (added_ns[1] - added_ns[0]) / 1e6 == pytest.approx(150, abs=5), kind
        assert slow.summary["latency_ms"][kind]["p50"] >= 150, kind


def test_injected_loss_is_reported_before_repair_and_video_is_repaired(simulate: Simulate) -> None:
    run = simulate(
        "group",
        "--participants",
        "6",
        "--duration",
        "12",
        "--loss",
        "5",
        *("--slo", "loss.ratio<10%"),
        # Nobody repairs audio.
        *("--slo", "delivered_ratio.audio.ratio>=0.9", "--slo", "worst_delivered_ratio.audio.ratio>=0.85"),
        unhurried=True,
    )
    summary = judged(run)
    pairs = pd.read_csv(run.directory / "pairs.csv")
    kinds = pd.read_parquet(run.directory / "participants.parquet").set_index("bot")["bot_kind"]
    pairs["bots"] = pairs["receiver"].map(kinds)
    for bots, rows in pairs.groupby("bots"):
        before = (rows["loss_before_repair"] * rows["expected"]).sum() / rows["expected"].sum()
        assert before == pytest.approx(0.05, abs=0.005 if bots == "native" else 0.0075), bots
    assert summary["loss"]["before_repair"] == pytest.approx(0.05, abs=0.005)
    assert summary["loss"]["video"]["ratio"] < 0.001
    assert summary["loss"]["audio"]["ratio"] == summary["loss"]["audio"]["before_repair"]


def test_a_saturated_generator_gives_void_and_never_pass(simulate: Simulate) -> None:
    run = simulate(
        {
            "name": "saturated",
            "participants": {"count": 8, "bots": "aiortc", "bots_per_process": 16},
            "media": {"aiortc": "synthetic"},
            "ramp": {"timeout_s": 8},
            "hold": {"duration_s": 3},
        },
    )
    assert run.code == 4, (run.summary.get("reasons"), run.stderr[-2000:])
    assert run.summary["verdict"] == "void"
    assert not run.summary["generator"]["valid"]


def test_a_broken_objective_ends_with_its_own_code(simulate: Simulate) -> None:
    run = simulate(
        "group", "--participants", "2", "--bots", "native", "--duration", "2", "--slo", "streams.flowing>100"
    )
    assert run.code in {3, 4}
    assert "streams.flowing>100 is broken: 4" in run.summary["reasons"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("nothing",), "no scenario named 'nothing'"),
        (("group", "--bots", "robots"), "participants.bots: input should be 'native', 'aiortc' or 'mixed'"),
        (("group", "--slo", "latency<1"), "no figure 'latency'"),
        (("group", "--loss", "500"), "--loss"),
        (("group", "--server", "nowhere"), "is no URL"),
    ],
)
def test_wrong_usage_ends_with_code_two(simulate: Simulate, options: tuple[str, ...], words: str) -> None:
    run = simulate(*options)
    assert run.code == 2
    assert words in run.stderr
    assert not run.directory.exists()


def test_a_misspelt_variable_is_refused(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEESHY_SIMULATE_PARTICIPANT", "3")
    run = simulate("group")
    assert run.code == 2
    assert "did you mean MEESHY_SIMULATE_PARTICIPANTS?" in run.stderr


def test_a_variable_stands_for_its_option(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEESHY_SIMULATE_PARTICIPANTS", "1")
    run = simulate("group")
    assert run.code == 2
    assert "participants.count" in run.stderr


def test_a_server_that_does_not_answer_is_an_error_with_its_name(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_SIMULATE_SECRET", "s" * 32)
    run = simulate("group", "--server", "http://127.0.0.1:1")
    assert run.code == 1
    assert "no answer from http://127.0.0.1:1" in run.stderr
    assert not run.directory.exists()


def test_a_limit_that_was_reached_is_named_and_the_run_is_an_error(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_RATE_OTHER", "3")
    run = simulate("group", "--participants", "6", "--bots", "native", "--duration", "2")
    assert run.code == 1
    assert run.summary["verdict"] == "error"
    (reason,) = run.summary["reasons"]
    assert "RATE_LIMIT_EXCEEDED" in reason
    assert "limit 3 per window" in reason


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_WORKERS", "many")
    run = simulate("group", "--participants", "2", "--bots", "native")
    assert run.code == 1
    assert "the media server did not start" in run.stderr
    assert "MEESHY_WORKERS" in run.stderr
    assert not run.directory.exists()


def test_a_report_is_computed_again_from_raw_data(
    simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    run = simulate("group", "--participants", "2", "--bots", "native", "--duration", "2")
    (run.directory / "summary.json").unlink()
    assert main(["report", str(run.directory), "--json"]) == run.code
    assert json.loads(capsys.readouterr().out) == run.summary
    assert main(["report", str(run.directory)]) == run.code
    assert "report.md" in capsys.readouterr().out


def test_several_scenarios_run_one_after_the_other_and_end_in_one_report(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "both.toml", tmp_path / "run"
    part = '[[parts]]\nscenario = "group"\nslo = ["{}"]\n[parts.hold]\nduration_s = 1.0\nsettle_s = 0.2\n'
    participants = '[parts.participants]\ncount = 2\nbots = "native"\n'
    source.write_text(
        'name = "both"\n'
        + "".join(part.format(slo) + participants for slo in ("streams.flowing>0", "streams.flowing>9"))
    )
    code = main(["simulate", str(source), "--out", str(out), "--json", "--state-dir", str(state)])
    whole = json.loads(capsys.readouterr().out)
    assert code in {3, 4}  # the second part cannot reach its objective; a busy machine may make a part void
    assert [part["folder"] for part in whole["parts"]] == ["1-group", "2-group"]
    assert "streams.flowing>9 is broken: 4" in whole["parts"][1]["summary"]["reasons"]
    assert (out / "1-group" / "latency.parquet").is_file()
    (out / "summary.json").unlink()
    assert main(["report", str(out)]) == code
    assert "report.html" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text()) == whole


def test_what_is_no_run_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("victim", "reason"),
    [
        ("aiortc_worker", "aiortc-0 was killed by SIGKILL; its log is aiortc-0.log"),
        ("serve media", "the media server was killed by SIGKILL; its log is server.log"),
    ],
)
def test_a_run_that_lost_a_child_is_an_error_that_names_it(
    state: Path, tmp_path: Path, victim: str, reason: str
) -> None:
    # A busy machine would make it void; what is judged here is what broke it off.
    patient = {
        "stall_ms": 60_000,
        "lag_p95_ms": 60_000,
        "stalled_ratio": 1,
        "late_send_ratio": 1,
        "core_percent": 1000,
    }
    patient |= {"wait_ms": 1000, "disturbed_ratio": 1}
    source = write(Scenario.load("group").to_values() | {"limits": patient}, tmp_path / "patient.toml")
    arguments = (
        str(source),
        "--participants",
        "3",
        "--duration",
        "60",
        "--out",
        str(tmp_path / "run"),
        "--json",
    )
    with subprocess.Popen(
        command(state, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr is not None
        while "hold" not in run.stderr.readline():
            assert run.poll() is None
        (pid,) = [pid for pid in descendants(run.pid) if victim in command_line(pid)]
        os.kill(pid, signal.SIGKILL)
        out, _ = run.communicate(timeout=60)
    assert run.returncode == 1
    summary = json.loads(out)
    assert summary["verdict"] == "error"
    assert any(reason in line for line in summary["reasons"]), summary["reasons"]


@pytest.mark.parametrize(
    ("how", "ends_with"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_however_a_run_is_ended_nothing_leaks_and_what_was_measured_is_kept(
    state: Path, tmp_path: Path, how: signal.Signals, ends_with: int
) -> None:
    arguments = ("group", "--participants", "4", "--duration", "60", "--out", str(tmp_path / "run"))
    # Where the tests run in the background of a shell, Ctrl-C is ignored, and their children would inherit that.
    heeding = ["env", "--default-signal=INT", *command(state, *arguments)]
    with subprocess.Popen(heeding, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        while "hold" not in run.stderr.readline():
            assert run.poll() is None
        time.sleep(2)
        children = descendants(run.pid)
        os.kill(run.pid, how)
        run.communicate(timeout=60)
    assert run.returncode == ends_with
    assert eventually(lambda: not any(is_running(pid) for pid in children))
    if how is signal.SIGKILL:
        assert eventually(lambda: list(tmp_path.iterdir()) == [])
        return
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["verdict"] == "error"
    assert summary["reasons"] == [f"the run was interrupted by {how.name}"]
    assert 1 < summary["duration_s"] < 30
    assert summary["streams"]["expected"] > 0
    assert summary["latency_ms"]["audio"]["samples"] > 0
    assert (tmp_path / "run" / "report.html").is_file()


def command_line(pid: int) -> str:
    return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode()


def descendants(pid: int) -> set[int]:
    """Return the processes that descend from one."""
    found: set[int] = set()
    parents = {pid}
    while parents:
        children = {
            int(child)
            for parent in parents
            for task in Path("/proc", str(parent), "task").glob("*/children")
            for child in task.read_text().split()
        }
        parents = children - found
        found |= children
    return found
