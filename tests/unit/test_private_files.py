"""Files of people's data belong to their owner alone, whatever the umask is and whatever was there before."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.config import load_settings
from meeshy_sfu.db.session import create_engine
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.gateway.calls.journal import Journal
from meeshy_sfu.log import start_logging, stop_logging
from meeshy_sfu.media.certificate import load_or_create
from meeshy_sfu.private_files import close_to_others, make_private_directory, make_private_file
from simulator.samples.recorder import RunDirectory


@pytest.fixture(autouse=True)
def an_open_umask() -> Iterator[None]:
    former = os.umask(0)
    yield
    os.umask(former)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def assert_private(directory: Path) -> list[str]:
    """Check everything below a directory; gives what there is."""
    found = [directory, *directory.rglob("*")]
    for path in found:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), f"{path} {mode(path):o}"
    return sorted(path.name for path in found if path.is_file())


def test_directories_are_made_private_all_the_way(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "a" / "b" / "c")
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"):
        assert mode(path) == 0o700


def test_what_was_open_before_is_closed(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir(mode=0o755)
    (old / "file").write_text("x")
    assert mode(old / "file") == 0o666
    make_private_directory(old)
    make_private_file(old / "file")
    assert assert_private(old) == ["file"]
    assert (old / "file").read_text() == "x"


def test_directories_that_are_shared_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    like_tmp, home = tmp_path / "tmp", tmp_path / "home"
    for path in (like_tmp, home):
        path.mkdir(mode=0o755)
    like_tmp.chmod(0o1777)
    monkeypatch.setenv("HOME", str(home))
    for path in (like_tmp, home):
        before = mode(path)
        make_private_directory(path)
        assert mode(path) == before
    close_to_others(tmp_path / "missing")


def test_log_journal_secret_and_certificate_are_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    signing_secret(load_settings(flags={"state_dir": state}))
    load_or_create(state / "certs", ManualClock())
    clock = ManualClock()
    journal = Journal(clock, state / "events" / "gateway.jsonl", max_bytes=200, keep=2)
    try:
        for number in range(20):
            journal.note("c1", "begun", number=number)
    finally:
        journal.close()
    try:
        start_logging(level="info", file=state / "logs" / "media.log", max_bytes=10_000, keep=2)
        for number in range(300):
            logging.getLogger("test").info("user=ada number %d %s", number, "x" * 100)
    finally:
        stop_logging()
    names = assert_private(state)
    assert {"development-secret", "dtls-key.pem", "dtls-cert.pem", "gateway.jsonl", "gateway.jsonl.2"} <= set(
        names
    )
    assert {"media.log", "media.log.1", "media.log.2"} <= set(names)


def test_a_run_of_the_simulator_is_private(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "state" / "runs" / "one") as directory:
        (directory.partial / "logs").mkdir()
        for name in ("run.json", "logs/gateway.log"):
            (directory.partial / name).write_text("{}")
        directory.complete()
    assert assert_private(tmp_path / "state") == ["gateway.log", "run.json"]


@pytest.mark.parametrize("existed", [False, True])
async def test_the_database_is_private_with_all_its_files(tmp_path: Path, existed: bool) -> None:
    state = tmp_path / "state"
    if existed:
        state.mkdir(mode=0o700)
        for name in ("meeshy.db", "meeshy.db-wal", "meeshy.db-shm"):
            (state / name).touch()
    engine = create_engine(f"sqlite:///{state / 'meeshy.db'}")
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x)")
        async with engine.begin() as connection:
            await connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            assert assert_private(state) == ["meeshy.db", "meeshy.db-shm", "meeshy.db-wal"]
    finally:
        await engine.dispose()


async def test_the_directory_of_a_database_elsewhere_is_left_to_its_owner(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o750)
    engine = create_engine(f"sqlite:///{shared / 'calls.db'}")
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("CREATE TABLE t (x)")
    finally:
        await engine.dispose()
    assert (mode(shared), mode(shared / "calls.db")) == (0o750, 0o600)
