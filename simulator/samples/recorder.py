"""The recorder: raw samples to Parquet, events to events.jsonl; a run directory is complete or not there.

A run is written under a hidden name beside its final one and renamed at the very end, so a directory with the
final name is always complete. Partial directories of killed runs are removed by the watchdog of that run
(stack/watchdog.py), or else by the next run in the same folder.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from meeshy_sfu.private_files import (
    DIRECTORY_MODE,
    OTHERS,
    close_to_others,
    make_private_directory,
    make_users_directory,
    open_to_users_umask,
)
from simulator.errors import RunDirectoryError
from simulator.samples.schema import TABLES, rows_to_batch

REPORTS = (
    "*.html",
    "*.md",
    "*.csv",
    "*.png",
    "summary.json",
    "capacity.json",
    "comparison.json",
    "selftest.json",
)
"""Files of a run directory that others than its owner may read, if the user named the directory."""
_PARTIAL = re.compile(r"\.(?P<name>.+)\.partial-(?P<pid>\d+)")


class RunDirectory:
    """The directory of one run: hidden while it is written, in place once it is complete.

    Use as a context manager. Leaving it without :meth:`complete` removes everything.
    """

    path: Path
    """Where the complete run will be."""
    partial: Path
    """Where it is written until then."""

    def __init__(self, path: Path, *, is_named: bool = False) -> None:
        """Make it.

        Args:
            path: Where it will be.
            is_named: Whether its user named it, and will take its reports from there.

        Raises:
            RunDirectoryError: There is something, or it cannot be made.
        """
        self.path = path
        self._is_named = is_named
        self.partial = _partial(path)
        self._done = False
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunDirectoryError(f"{path} exists and is not empty; name a new directory with --out")
        try:
            if not path.parent.exists():
                (make_users_directory if is_named else make_private_directory)(path.parent)
            remove_partial_runs(path.parent)
            self.partial.mkdir(mode=DIRECTORY_MODE)
        except OSError as error:
            raise RunDirectoryError(f"cannot write to {path.parent}: {error.strerror}") from error

    @classmethod
    def in_folder(cls, folder: Path, name: str, now: datetime) -> RunDirectory:
        """Make a new directory in `folder`, named after the time and `name`."""
        stem = f"{now:%Y%m%dT%H%M%SZ}-{name}"
        candidates = (folder / (stem if n == 0 else f"{stem}-{n}") for n in range(1000))
        return cls(next(path for path in candidates if not path.exists() and not _partial(path).exists()))

    @classmethod
    def chosen(cls, out: Path | None, state: Path, name: str) -> RunDirectory:
        """Make the directory that was asked for, or else a new one among the runs of the state directory."""
        return cls(out, is_named=True) if out else cls.in_folder(state / "runs", name, utc_now())

    def complete(self) -> Path:
        """Rename the directory to its final name.

        If another run has taken the name meanwhile, a number is added to it; `path` is then the new one.
        """
        # Logs of servers and raw samples are for the owner alone; so is all of what the user did not name a place for.
        for path in self.partial.rglob("*"):
            if not path.is_symlink():
                close_to_others(path)
        if self._is_named:
            share_reports(self.partial)
        wanted = self.path
        for number in itertools.count(1):
            try:
                self.partial.rename(self.path)  # takes the place of an empty directory, of no other
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise RunDirectoryError(f"cannot write to {wanted.parent}: {error.strerror}") from error
                self.path = wanted.with_name(f"{wanted.name}-{number}")
        self._done = True
        return self.path

    def close(self) -> None:
        """Remove the run unless it is complete. Idempotent."""
        if not self._done:
            shutil.rmtree(self.partial, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Recorder:
    """Write the raw data of one run. Owns its files; :meth:`close` finishes them and may be repeated.

    Methods are called from one thread at a time.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._events: IO[str] = (directory / "events.jsonl").open("w", encoding="utf-8")
        self.rows: dict[str, int] = dict.fromkeys(TABLES, 0)
        """Rows written, by table."""

    def add(self, table: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Add rows with values in the order of the table's schema."""
        self.add_batch(table, rows_to_batch(TABLES[table], rows))

    def add_batch(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows that are columns already."""
        if batch.num_rows == 0:
            return
        writer = self._writers.get(table)
        if writer is None:
            writer = self._writers[table] = self._open(table)
        writer.write_batch(batch)
        self.rows[table] += batch.num_rows

    def event(self, name: str, unix_ns: int | None = None, **values: object) -> None:
        """Write one event; events after :meth:`close` are dropped."""
        if self._events.closed:
            return
        when = time.time_ns() if unix_ns is None else unix_ns
        self._events.write(json.dumps({"unix_ns": when, "event": name, **values}, default=str) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write one text file of the run."""
        (self._directory / name).write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Finish all files; a table without rows becomes an empty one. Idempotent."""
        if self._events.closed:
            return
        for table in TABLES:
            if table not in self._writers:
                self._writers[table] = self._open(table)
        for writer in self._writers.values():
            writer.close()
        self._events.close()

    def _open(self, table: str) -> pq.ParquetWriter:
        return pq.ParquetWriter(self._directory / f"{table}.parquet", TABLES[table], compression="zstd")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-{os.getpid()}")


def share_reports(directory: Path) -> None:
    """Let the reports in a directory, and in those within, be read by whom the user's umask lets read them.

    Raw samples, events and logs stay for the owner alone.
    """
    open_to_users_umask(directory)
    for path in directory.rglob("*"):
        if not path.is_symlink() and path.is_file() and any(path.match(name) for name in REPORTS):
            open_to_users_umask(path)
            for above in path.relative_to(directory).parents:
                open_to_users_umask(directory / above)


def is_shared(directory: Path) -> bool:
    """Return whether others than its owner can enter a run directory."""
    return bool(directory.stat().st_mode & OTHERS)


def is_partial(directory: Path) -> bool:
    """Return whether a directory is one that a run writes to until it ends."""
    return _PARTIAL.fullmatch(directory.resolve().name) is not None


def remove_partial_runs(folder: Path) -> list[Path]:
    """Remove the partial directories of killed runs in `folder`; return them."""
    removed: list[Path] = []
    for path in folder.glob(".*.partial-*"):
        match = _PARTIAL.fullmatch(path.name)
        if match and not Path("/proc", match["pid"]).exists():
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
