"""What a search takes from a run of it, and what ends the search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.capacity.run import CapacitySearch
from simulator.capacity.search import SearchLimits
from simulator.capacity.subject import Subject
from simulator.errors import (
    BotError,
    NoAnswerError,
    NotServedError,
    ServerRefusedError,
    SignalingError,
    SimulatorError,
    StackError,
)
from simulator.report.write import write_report
from simulator.runs.base import Run, pattern_of
from simulator.samples.recorder import Recorder
from simulator.scenario import Scenario
from simulator.stack.watchdog import Watchdog
from simulator.summary import Summary


class Written(Run):
    """A run whose samples are there before: perfect up to four participants, and broken off beyond."""

    def __init__(self, scenario: Scenario, place: Path, error: SimulatorError, make_run: Any) -> None:
        super().__init__(pattern_of(scenario), scenario, state=place.parent, out=place)
        self._error = error
        self._make_run = make_run
        self._place = place

    async def execute(self) -> tuple[Path, Summary]:
        count = self._scenario.participants.count
        synthetic = self._make_run(bots=count)
        if count > 4:
            recorder = Recorder(self._place.parent)
            self._broke_off(recorder, self._error)
            recorder.close()
            synthetic.context.aborted = self._context.aborted
            synthetic.context.overloaded = self._context.overloaded
            synthetic.context.server_ended = self._context.server_ended
            synthetic.context.window_start_ns = synthetic.context.window_end_ns = None
            synthetic.generator = []
        synthetic.write(self._place)
        return self._place, write_report(self._place, plots="none")

    async def _run(self, recorder: Recorder, directory: Path, clip: str, watchdog: Watchdog) -> None:
        raise AssertionError("runs of these tests are written, not run")


async def search(error: SimulatorError, make_run: Any, tmp_path: Path) -> Any:
    limits = SearchLimits(start=4, stop=5, repeats=1)
    subject = Subject.of("participants", Scenario.load("group"))
    searching = CapacitySearch(
        subject,
        limits,
        lambda scenario, place: Written(scenario, place, error, make_run),
        state=tmp_path,
        out=tmp_path / "capacity",
    )
    return (await searching.execute())[1]


@pytest.mark.parametrize(
    "error",
    [
        NotServedError("participant 4 did not receive video of 1 within 30 s"),
        NoAnswerError("call:join: no answer from the gateway"),
        ServerRefusedError("POST create: SERVER_AT_CAPACITY", code="SERVER_AT_CAPACITY", http_status=503),
        ServerRefusedError("call:join: RATE_LIMIT_EXCEEDED", code="RATE_LIMIT_EXCEEDED", http_status=0),
        ServerRefusedError("call:join: ROOM_FULL", code="ROOM_FULL", http_status=403),
    ],
    ids=["late", "no-answer", "at-capacity", "rate", "full"],
)
async def test_joins_that_time_out_or_are_refused_for_room_mean_that_so_many_are_not_held(
    error: SimulatorError, make_run: Any, tmp_path: Path
) -> None:
    found = await search(error, make_run, tmp_path)
    assert (found.ended, found.verdict, found.holds, found.interval.high) == ("found", "pass", 4, 5)
    assert found.first_broken.not_served == str(error)
    assert f"first broken: not all could take part: {error} (with 5)" in found.statement[0]
    assert "| 5            | FAIL    |" in (tmp_path / "capacity" / "report.md").read_text()


@pytest.mark.parametrize(
    "error",
    [
        StackError("the media server was killed by SIGKILL"),
        ServerRefusedError("call:join: UNAUTHORIZED", code="UNAUTHORIZED", http_status=401),
        SignalingError("cannot open the socket"),
        BotError("bot 3 is gone"),
    ],
    ids=["died", "token", "socket", "bot"],
)
async def test_what_says_nothing_of_the_number_ends_the_search_as_an_error(
    error: SimulatorError, make_run: Any, tmp_path: Path
) -> None:
    found = await search(error, make_run, tmp_path)
    assert (found.ended, found.verdict, found.first_broken) == ("error", "error", None)
    assert f"the run with 5 broke off: {error}" in found.statement[-1]
