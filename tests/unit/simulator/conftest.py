"""A synthetic run: the raw data of a perfect call, which tests change."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from simulator.analysis.packets import CAUSES
from simulator.analysis.raw_run import ADDED_COLUMNS, RawRun, RunContext
from simulator.report.write import summarize
from simulator.samples.end_state import FILE as END_STATE
from simulator.samples.end_state import EndState
from simulator.samples.recorder import Recorder
from simulator.samples.schema import TABLES
from simulator.scenario import Scenario, to_toml
from simulator.summary import Summary

S = 1_000_000_000
START = 1_800_000_000 * S
SECONDS = 10
PACKETS_PER_S = {0: 50, 1: 40}


def _delay_ns(number: int) -> int:
    """Return the latency of a frame: of a hundred each whole millisecond from 1 to 100 once, without a trend."""
    return (number * 37 % 100 + 1) * 1_000_000


class SyntheticRun:
    """Three bots, each sends to all others for ten seconds; each table is a list of mutable rows."""

    start_ns = START
    seconds = SECONDS

    def __init__(self, *, bots: int = 3, scenario: dict[str, object] | None = None) -> None:
        values: dict[str, object] = {"name": "synthetic", "participants": {"count": bots}}
        self.scenario = Scenario.from_record(values | (scenario or {}), source="synthetic")
        self.context = RunContext(
            started_ns=START - 5 * S,
            window_start_ns=START,
            window_end_ns=START + SECONDS * S,
            dropped_calls=0,
        )
        self.participants = [
            {
                "bot": b,
                "participant_id": f"bot-{b}",
                "call_id": "c",
                "bot_kind": "native",
                "generator": "native",
                "decodes": False,
            }
            for b in range(bots)
        ]
        self.expected = [
            {"receiver": r, "sender": s, "kind": k}
            for r in range(bots)
            for s in range(bots)
            if r != s
            for k in (0, 1)
        ]
        self.joins = [
            {
                "bot": b,
                "started_ns": START - 4 * S + b * S // 10,
                "signalled_ns": START - 4 * S + b * S // 10 + S // 20,
            }
            for b in range(bots)
        ]
        self.streams = [self._row(tick, e) for tick in range(SECONDS + 1) for e in self.expected]
        self.latency = [
            dict(
                e,
                flags=0,
                seq=n,
                recv_unix_ns=START + n * S // 10 + 1_000_000,
                owd_ns=_delay_ns(n),
                whole_ns=0,
            )
            for e in self.expected
            for n in range(100)
        ]
        self.sent = [
            {
                "sender": b,
                "kind": k,
                "flags": 0,
                "packets": 1,
                "bytes": 100,
                "seq": n,
                "sent_unix_ns": START + n * S // 10 + 1_000_000 - _delay_ns(n),
            }
            for b in range(bots)
            for k in (0, 1)
            for n in range(100)
        ]
        self.receivers = [
            {
                "tick": tick,
                "unix_ns": START + tick * S,
                "receiver": b,
                "stamps": 20 * (bots - 1) * tick,
                "unknown_ssrc_open": 0,
                **dict.fromkeys((*CAUSES, *ADDED_COLUMNS["receivers"]), 0),
            }
            for tick in range(SECONDS + 1)
            for b in range(bots)
        ]
        self.pauses: list[dict[str, object]] = []
        self.playout: list[dict[str, object]] = []
        self.transitions: list[dict[str, object]] = []
        self.arrivals: list[dict[str, object]] = []
        self.deaths: list[dict[str, object]] = []
        self.muted: list[dict[str, object]] = []
        self.paused: list[dict[str, object]] = []
        self.clocks: list[dict[str, object]] = []
        self.end_state: EndState | None = None
        self.server = [
            {
                "tick": t,
                "unix_ns": START + t * S,
                "cpu_ns": 7 * S + t * S // 4,
                "rss_bytes": 90_000_000 + t,
                "packets_in": 270 * t,
                "packets_out": 540 * t,
            }
            for t in range(SECONDS + 1)
        ]
        self.server_threads = [
            {
                "tick": t,
                "unix_ns": START + t * S,
                "thread": thread,
                "name": "worker",
                "cpu_ns": t * S // share,
            }
            for t in range(SECONDS + 1)
            for thread, share in ((1, 5), (2, 20))
        ]
        self.machine = [
            {
                "tick": t,
                "unix_ns": START + t * S,
                "cores": 2,
                "busy_ns": 100 * S + t * S // 2,
                "steal_ns": S,
                "ours_ns": 5 * S + t * S * 9 // 20,
                "pressure_us": 7_000_000 + t * 50_000,
            }
            for t in range(SECONDS + 1)
        ]
        self.threads = [
            {
                "tick": t,
                "unix_ns": START + t * S,
                "role": role,
                "pid": pid,
                "tid": pid + 1,
                "name": name,
                "cpu_ns": t * S // 5,
                "wait_ns": t * 1_000 * turns * 10,
                "turns": t * turns,
            }
            for t in range(SECONDS + 1)
            for role, pid, name, turns in (
                ("server", 100, "sfu-worker-0", 700),
                ("server", 200, "control", 5),
                ("generator", 300, "bots-0", 900),
            )
        ]
        self.generator = [
            {
                "tick": t,
                "unix_ns": START + t * S,
                "generator": "native-0",
                "cpu_ns": t * S // 10,
                "lag_max_us": 2000,
                "stalled_us": 0,
                "socket_drops": 0,
                "sends": 270 * t,
                "late_sends": 0,
            }
            for t in range(SECONDS + 1)
        ]

    def _row(self, tick: int, e: dict[str, int]) -> dict[str, object]:
        sent = PACKETS_PER_S[e["kind"]] * (tick + 3)
        last = max(e["receiver"], e["sender"])
        return dict(
            e,
            tick=tick,
            unix_ns=START + tick * S,
            packets=sent,
            bytes=sent * 100,
            expected=sent,
            missing_first=0,
            missing=0,
            duplicates=0,
            out_of_order=0,
            foreign=0,
            first_packet_ns=START - 4 * S + last * S // 10 + S // 5,
            last_packet_ns=START + tick * S - S // 50,
            last_frame_ns=START + tick * S - S // 50,
            surplus_repairs=0,
            unasked_repairs=0,
            frames_decoded=None,
            freezes=0,
            audio_energy=None,
        )

    def send_what_arrived(self) -> None:
        """Let the senders' record, and the receivers' counts, be what the samples say."""
        frames = {
            (row["sender"], row["kind"], row["seq"]): int(str(row["recv_unix_ns"])) - int(str(row["owd_ns"]))
            for row in self.latency
        }
        self.sent = [
            {"sender": s, "kind": k, "flags": 0, "packets": 1, "bytes": 100, "seq": n, "sent_unix_ns": at}
            for (s, k, n), at in frames.items()
        ]
        counts = Counter(row["receiver"] for row in self.latency)
        self.receivers = [
            {
                "tick": t,
                "unix_ns": START + t * S,
                "receiver": b,
                "stamps": n * t // SECONDS,
                "unknown_ssrc_open": 0,
            }
            | dict.fromkeys((*CAUSES, *ADDED_COLUMNS["receivers"]), 0)
            for t in range(SECONDS + 1)
            for b, n in counts.items()
        ]

    def of_stream(self, receiver: int, sender: int, kind: int) -> list[dict[str, object]]:
        """Return the rows of one stream, in order of time."""
        return [
            r for r in self.streams if (r["receiver"], r["sender"], r["kind"]) == (receiver, sender, kind)
        ]

    def write(self, directory: Path) -> Path:
        """Write it as a run does."""
        directory.mkdir(parents=True, exist_ok=True)
        collector = Recorder(directory)
        for table, schema in TABLES.items():
            rows = [{"whole_ns": 0} | row for row in getattr(self, table)]
            collector.add(table, [tuple(row[name] for name in schema.names) for row in rows])
        collector.write_text("scenario.toml", to_toml(self.scenario.to_values()))
        collector.write_text("run.json", self.context.model_dump_json())
        if self.end_state is not None:
            collector.write_text(END_STATE, self.end_state.model_dump_json())
        collector.close()
        return directory

    def summary(self, directory: Path) -> Summary:
        """Write and judge it."""
        return summarize(RawRun.read(self.write(directory)))


@pytest.fixture
def run() -> SyntheticRun:
    """A perfect run, for a test to change."""
    return SyntheticRun()


@pytest.fixture
def make_run() -> type[SyntheticRun]:
    """Make runs with another scenario."""
    return SyntheticRun
