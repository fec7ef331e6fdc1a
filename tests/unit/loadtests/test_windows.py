"""What locust is shown of media: percentiles of each second, and silences."""

import numpy as np
import pyarrow as pa
import pytest

from loadtests.children.windows import SILENCE_NS, Silences, last_seen, windows
from simulator.samples.schema import LATENCY, SAMPLE_FOREIGN, rows_to_batch

MS = 1_000_000
S = 1_000_000_000


def _batch(rows: list[tuple[int, int, int, int, int, float]]) -> pa.RecordBatch:
    """Rows of receiver, sender, kind, flags, arrival in ms, delay in ms."""
    named = [
        {
            "receiver": r,
            "sender": s,
            "kind": k,
            "flags": flags,
            "recv_unix_ns": at * MS,
            "owd_ns": int(ms * MS),
        }
        for r, s, k, flags, at, ms in rows
    ]
    return rows_to_batch(LATENCY, [tuple(row.get(name, 0) for name in LATENCY.names) for row in named])


def test_a_window_holds_the_95th_percentile_of_each_receiver_and_kind() -> None:
    delays = np.random.default_rng(7).permutation(np.arange(1, 101))
    rows = [(3, 1, 0, 0, 0, float(ms)) for ms in delays]
    rows += [(3, 2, 1, 0, 0, 7.5), (9, 1, 0, 0, 0, 0.25)]
    found = {(w.receiver, w.kind): (w.p95_ms, w.samples) for w in windows([_batch(rows)])}
    assert found == {(3, "audio"): (95.0, 100), (3, "video"): (7.5, 1), (9, "audio"): (0.25, 1)}


def test_misrouted_frames_are_in_no_window() -> None:
    found = windows([_batch([(1, 2, 0, SAMPLE_FOREIGN, 0, 900.0), (1, 2, 0, 0, 0, 5.0)])])
    assert [w.p95_ms for w in found] == [5.0]


def test_without_samples_there_is_no_window() -> None:
    assert windows([_batch([])]) == []
    assert last_seen([_batch([])]) == {}


def test_the_last_arrival_of_each_track_is_found_in_any_order() -> None:
    rows = [
        (1, 2, 0, 0, 30, 1.0),
        (1, 2, 0, 0, 10, 1.0),
        (2, 60_000, 1, 0, 5, 1.0),
        (65_535, 1, 0, 0, 8, 1.0),
    ]
    assert last_seen([_batch(rows)]) == {
        (1, 2, "audio"): 30 * MS,
        (2, 60_000, "video"): 5 * MS,
        (65_535, 1, "audio"): 8 * MS,
    }


@pytest.mark.parametrize(("silent_ns", "reported"), [(SILENCE_NS, False), (SILENCE_NS + 1, True)])
def test_a_track_is_silent_after_two_seconds(silent_ns: int, reported: bool) -> None:
    silences, track = Silences(), (1, 2, "audio")
    assert silences.look({track: 10 * S}, [track], 10 * S) == []
    assert silences.look({}, [track], 10 * S + silent_ns) == [track] * reported


def test_a_silence_is_reported_once_and_the_next_again() -> None:
    silences, track = Silences(), (1, 2, "video")
    silences.look({track: 0}, [track], 0)
    assert silences.look({}, [track], 3 * S) == [track]
    assert silences.look({}, [track], 9 * S) == []
    assert silences.look({track: 10 * S}, [track], 10 * S) == []
    assert silences.look({}, [track], 13 * S) == [track]


def test_a_participant_who_left_is_not_silent_and_comes_back_anew() -> None:
    silences, track = Silences(), (1, 2, "audio")
    silences.look({track: 0}, [track], 0)
    assert silences.look({}, [], 5 * S) == []
    assert silences.look({}, [track], 60 * S) == []
