"""The event log of a running gateway: written beside the event loop, and whole at the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.gateway.calls import journal
from meeshy_sfu.gateway.calls.journal import Journal
from tests.integration.gateway.conftest import MakeCaller, StartGateway
from tests.integration.gateway.test_switch import pair
from tests.integration.hearing import eventually


class HangingDisk:
    """Lets writes of a log hang until it is well."""

    def __init__(self, log: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.well = threading.Event()
        write = log._write

        def hang(*arguments: Any) -> Any:
            self.well.wait(20)
            return write(*arguments)

        monkeypatch.setattr(log, "_write", hang)


async def test_the_journal_does_not_flush_on_the_event_loop(
    start_gateway: StartGateway, caller: MakeCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_gateway()
    disk = HangingDisk(gateway.journal, monkeypatch)
    ada, bob = await pair(gateway, caller)
    assert (await ada.signal(bob))["success"]
    path = gateway.settings.state_dir / "events" / "gateway.jsonl"
    assert journal.read(path) == []
    disk.well.set()
    await eventually(lambda: len(journal.read(path)) == len(gateway.journal.recent))
    assert journal.read(path) == list(gateway.journal.recent)


def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    log = Journal(SystemClock(), tmp_path / "log.jsonl")
    log.write_behind()
    for number in range(2000):
        log.note("a", "confirm", epoch=number)
    log.close()
    log.note("a", "confirm", epoch=-1)
    assert [entry["epoch"] for entry in journal.read(tmp_path / "log.jsonl")] == list(range(2000))


def test_a_disk_that_hangs_fills_no_memory_and_the_log_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PENDING_MAX", 10)
    log = Journal(SystemClock(), tmp_path / "log.jsonl")
    log.write_behind()
    disk = HangingDisk(log, monkeypatch)
    for number in range(25):
        log.note("a", "confirm", epoch=number)
    assert log.pending == 10
    disk.well.set()
    deadline = time.monotonic() + 10
    while log.pending:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    log.note("a", "confirm", epoch=25)
    log.close()
    entries = journal.read(tmp_path / "log.jsonl")
    assert [entry.get("epoch", entry.get("entries")) for entry in entries] == [*range(10), 15, 25]
    assert journal.check(entries).missing == 15
