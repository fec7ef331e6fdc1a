"""The event log: what it keeps, and what its checker finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.gateway.calls.journal import RETRY_S, Journal, check, read


def start(epoch: int, source: str = "p2p", target: str = "sfu") -> dict[str, Any]:
    return {"callId": "a", "event": "start", "epoch": epoch, "source": source, "target": target}


def event(name: str, epoch: int = 0, **more: Any) -> dict[str, Any]:
    return {"callId": "a", "event": name, "epoch": epoch, **more}


GOOD = [
    event("join"),
    start(1),
    event("told", 1),
    event("complete", 1),
    start(2, "sfu", "p2p"),
    event("told", 2),
    event("roll_back", 2),
    start(3, "sfu", "p2p"),
    event("complete", 3),
    event("ended"),
]


def test_a_good_log_has_no_problems() -> None:
    verdict = check(GOOD)
    assert verdict.problems == []
    assert (verdict.calls, verdict.transitions, verdict.completed, verdict.rolled_back) == (1, 3, 2, 1)


def test_what_is_no_event_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no event log"):
        read(path)
    path.write_text("", encoding="utf-8")
    assert read(path) == []


def test_calls_are_told_apart() -> None:
    other = [{**entry, "callId": "b"} for entry in GOOD]
    mixed = [entry for both in zip(GOOD, other, strict=True) for entry in both]
    assert check(mixed).problems == []


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([start(1), start(2)], "epoch 2 started while 1 was under way"),
        ([start(2), event("complete", 2), start(2, "sfu", "p2p")], "epoch 2 started after 2"),
        ([event("begun", mode="p2p"), start(1, "sfu")], "epoch 1 leaves sfu, but the call was p2p"),
        ([start(1), event("complete", 2)], "complete of epoch 2 while 1 was under way"),
        ([start(1), event("confirm", 1)], "epoch 1 was confirmed before it was announced"),
        ([event("roll_back", 1)], "roll_back of epoch 1 while None was under way"),
        ([start(1), event("told", 3)], "epoch 3 was announced while 1 was under way"),
        ([event("ended"), start(1)], "start after its end"),
        ([start(7), event("restored", 3, mode="p2p")], "restored with epoch 3 after 7"),
    ],
)
def test_every_kind_of_interleaving_is_found(entries: list[dict[str, Any]], problem: str) -> None:
    assert check(entries).problems == [f"call a: {problem}"]


def test_a_restart_cuts_a_transition_off() -> None:
    verdict = check([start(1), event("restored", 50, mode="p2p"), start(51), event("complete", 51)])
    assert (verdict.cut_off, verdict.completed, verdict.problems) == (1, 1, [])


def test_what_is_written_can_be_read_but_for_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events" / "log.jsonl"
    journal = Journal(ManualClock(), path)
    journal.note("a", "join", participantId="p")
    journal.close()
    journal.close()
    with path.open("a") as file:
        file.write('{"callId": "a", "ev')
    assert read(path) == list(journal.recent)


def test_after_a_full_disk_the_log_goes_on_and_says_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "log.jsonl", ManualClock()
    path.symlink_to("/dev/full")
    journal = Journal(clock, path)
    journal.note("a", "begun", mode="p2p")
    journal.note("a", "start", epoch=1, source="p2p", target="sfu")
    clock.advance(RETRY_S)
    journal.note("a", "told", epoch=1)  # tried, and still in vain
    path.unlink()
    clock.advance(RETRY_S / 2)
    journal.note("a", "confirm", epoch=1)
    assert not path.exists(), "it was tried again at once"
    clock.advance(RETRY_S / 2)
    journal.note("a", "complete", epoch=1, source="p2p", target="sfu")
    journal.note("a", "start", epoch=2, source="sfu", target="p2p")
    journal.close()
    missing, *rest = read(path)
    assert (missing["event"], missing["entries"]) == ("missing", 4)
    assert [entry["event"] for entry in rest] == ["complete", "start"]
    verdict = check([missing, *rest])
    assert (verdict.missing, verdict.problems) == (4, [])
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        "the event log cannot be written; entries are missing from now on",
        "the event log can be written again; 4 entries are missing",
    ]


def test_a_closed_log_is_not_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal(ManualClock(), path)
    journal.close()
    path.unlink()
    journal.note("a", "join")
    assert not path.exists()


def test_what_was_cut_off_does_not_take_the_next_entry_along(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"callId": "a", "ev', encoding="utf-8")
    journal = Journal(ManualClock(), path)
    journal.note("a", "join")
    journal.close()
    assert read(path) == list(journal.recent)


MISSING = {"callId": None, "event": "missing", "entries": 3}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [event("complete", 4, target="sfu"), start(5, "sfu", "p2p")], id="a-call-begun"),
        pytest.param([start(1)], [start(3, "sfu", "p2p")], id="an-end-and-more"),
        pytest.param([start(1)], [event("complete", 1), start(2, "sfu", "p2p")], id="something-else"),
        pytest.param([start(1)], [event("told", 1), event("roll_back", 1), start(2)], id="a-confirmation"),
        pytest.param([start(1)], [event("join"), event("complete", 4, target="p2p")], id="a-beginning"),
    ],
)
def test_what_must_have_been_among_missing_entries_is_no_problem(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    assert check([*before, MISSING, *after]).problems == []
    assert check([*before, MISSING, *after, *after]).problems != []


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_a_full_file_makes_way_for_the_next(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal(ManualClock(), path, max_bytes=200, keep=keep)
    for number in range(50):
        journal.note("a", "join", participantId=f"p{number}")
    journal.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log.jsonl", *(f"log.jsonl.{n}" for n in range(1, keep + 1))]
    assert all(file.stat().st_size < 400 for file in files)
    kept = [entry["participantId"] for file in reversed(files) for entry in read(file)]
    assert kept == [f"p{number}" for number in range(50)][-len(kept) :]
