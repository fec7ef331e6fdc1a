"""Writes that nobody waits for: in the order of their call, until they are taken, the newest state only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from meeshy_sfu.gateway.calls import late_writes
from meeshy_sfu.gateway.calls.late_writes import LateWrites
from meeshy_sfu.gateway.jobs import Jobs
from meeshy_sfu.log import ids_of


class Database:
    """Takes writes, refuses them, or lets them wait."""

    def __init__(self) -> None:
        self.tries: list[str] = []
        self.taken: list[str] = []
        self.refuses = False
        self.serves = asyncio.Event()
        self.serves.set()

    def write(self, what: str, *, wrong: bool = False) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            self.tries.append(what)
            await self.serves.wait()
            if wrong:
                raise IntegrityError("INSERT", ("what people sent",), Exception("no such call"))
            if self.refuses:
                raise OperationalError(None, None, Exception("disk full"))
            self.taken.append(what)

        return run


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object]]:
    """What was logged, and of which call."""
    return [(record.getMessage(), ids_of(record).get("call")) for record in caplog.records]


@pytest.fixture
async def jobs() -> AsyncIterator[Jobs]:
    jobs = Jobs()
    yield jobs
    await jobs.close()


@pytest.fixture
def late(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> LateWrites:
    monkeypatch.setattr(late_writes, "RETRY_MIN_S", 0.0)
    monkeypatch.setattr(late_writes, "RETRY_MAX_S", 0.0)
    return LateWrites(jobs)


async def passes(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what holds is not an event
            await asyncio.sleep(0)


async def test_a_refused_write_is_tried_again_before_what_comes_after_it(late: LateWrites) -> None:
    database = Database()
    database.refuses = True
    for what in ("join", "mode", "leave"):
        late.add("a", what, database.write(what))
    await passes(lambda: len(database.tries) > 3)
    assert set(database.tries) == {"join"}
    assert late.failing
    assert late.waits("a")
    database.refuses = False
    await late.written()
    assert database.taken == ["join", "mode", "leave"]
    assert (late.failing, late.waits("a"), len(late)) == (False, False, 0)


async def test_the_newest_state_of_a_row_takes_the_place_of_an_older_one(late: LateWrites) -> None:
    database = Database()
    database.serves.clear()
    for what, name in (("join", "row"), ("mode", "mode"), ("off", "row"), ("on", "row")):
        late.add("a", name, database.write(what))
        await passes(lambda: bool(database.tries))
    assert len(late) == 2
    database.serves.set()
    await late.written()
    # the first was under way already; what came between stays before the newest
    assert database.taken == ["join", "mode", "on"]


async def test_a_call_that_cannot_be_written_keeps_no_other_call_from_it(late: LateWrites) -> None:
    database, other = Database(), Database()
    database.serves.clear()
    late.add("a", "row", database.write("a"))
    late.add("b", "row", other.write("b"))
    await passes(lambda: other.taken == ["b"])
    assert late.waits("a")
    database.serves.set()


async def test_a_write_that_can_never_be_right_keeps_no_other_from_it(
    late: LateWrites, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    late.add("a", "wrong", database.write("wrong", wrong=True))
    late.add("a", "right", database.write("right"))
    await late.written()
    assert database.taken == ["right"]
    assert ("refused by the database: wrong: no such call", "a") in logged(caplog)
    assert "what people sent" not in caplog.text


async def test_the_end_of_the_service_tries_once_more_and_names_what_is_lost(
    jobs: Jobs, late: LateWrites, caplog: pytest.LogCaptureFixture
) -> None:
    database, full = Database(), Database()
    full.refuses = True
    database.serves.clear()
    late.add("a", "row", database.write("a"))
    late.add("b", "row", full.write("b"))
    await passes(lambda: bool(database.tries and full.tries))
    await jobs.close()
    late.add("a", "end", database.write("end"))
    database.serves.set()
    await late.close()
    assert database.taken == ["a", "end"]
    assert ("not written to the database, and given up: row", "b") in logged(caplog)
    assert "a" not in {call for _, call in logged(caplog)}


async def test_slow_writes_are_waited_for_once_and_for_a_moment(
    late: LateWrites, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database()
    late.add("a", "row", database.write("fast"))
    await late.settle("a", "nobody's")
    assert database.taken == ["fast"]
    database.serves.clear()
    monkeypatch.setattr(late_writes, "SETTLE_S", 0.01)
    late.add("a", "row", database.write("slow"))
    await late.settle("a")
    monkeypatch.setattr(late_writes, "SETTLE_S", 60)
    async with asyncio.timeout(5):
        await late.settle("a")
    assert late.waits("a")
    database.serves.set()
    await late.written()
    assert not late.waits("a")
