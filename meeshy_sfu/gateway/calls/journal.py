"""The event log of calls: one JSON object a line, in the order things happened; and what can be proven from it.

Written by the gateway for every change of a call's mode and members; read by `check` and by operators.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from meeshy_sfu.errors import StartError
from meeshy_sfu.private_files import make_private_directory, make_private_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from pathlib import Path
    from typing import TextIO

    from meeshy_sfu.clock import Clock

logger = logging.getLogger(__name__)

RECENT_MAX = 10_000
RETRY_S = 5.0
"""How long a file that cannot be written is left alone before it is tried again."""
PENDING_MAX = 20_000
"""Entries that may wait for a disk that hangs."""
CLOSE_S = 1.0
"""How long the end waits for them."""
BEGUN, RESTORED, ENDED = "begun", "restored", "ended"
MISSING = "missing"
"""An entry of no call: that as many as `entries` could not be written before it."""
INTRODUCED = "introduced"
"""The first of two was requested to offer to the second, outside of any change of mode."""
START, ANNOUNCED, COMPLETE, ROLL_BACK = "start", "told", "complete", "roll_back"
TRANSITION = (START, ANNOUNCED, COMPLETE, ROLL_BACK)


class Journal:
    """Append entries to a file, if there is one, and keep the newest in memory.

    Owns the file; `close` it. A file that has grown to `max_bytes` gets `.1` behind its name, older ones the next
    number; `keep` of them stay. While it cannot be written, entries are counted; once it can, the log says how many
    are missing.

    Raises:
        StartError: The file cannot be written.
    """

    def __init__(
        self, clock: Clock, path: Path | None = None, *, max_bytes: int = 10_000_000, keep: int = 5
    ) -> None:
        self._clock = clock
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT_MAX)
        self._file: TextIO | None = None
        self._missing = 0
        """Entries that could not be written, and that the file does not count yet."""
        self._writer: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None
        self._handed_over = self._done_with = 0
        """Entries that the thread was given, and that it has seen to: each is counted by one thread only."""
        self._dropped = 0
        """Entries that were too many for it."""
        self._closed = False
        self._retry_at_s: float | None = None
        """When a file that failed is tried again."""
        if path is not None:
            try:
                make_private_directory(path.parent)
                self._file = self._opened(path)
            except OSError as error:
                raise StartError(
                    f"cannot write the event log {path}: {error.strerror}; "
                    "give this user the directory, set MEESHY_STATE_DIR to another, or switch log_to_file off"
                ) from None

    def note(self, call_id: str, event: str, **values: Any) -> None:
        """Write one entry, at once or, after :meth:`write_behind`, soon."""
        entry = {"at": round(self._clock.unix_s(), 6), "callId": call_id, "event": event, **values}
        self.recent.append(entry)
        if self._path is None or self._closed:
            return
        now_s = self._clock.monotonic_s()
        if self._writer is None:
            self._keep_entry(self._path, entry, now_s, 0)
        elif self.pending >= PENDING_MAX:
            # the disk hangs; what it did not take may not fill the memory
            self._dropped += 1
        else:
            dropped, self._dropped = self._dropped, 0
            self._handed_over += 1
            self._last = self._writer.submit(self._write_pending, self._path, entry, now_s, dropped)

    @property
    def pending(self) -> int:
        """How many entries the thread has not written yet."""
        return self._handed_over - self._done_with

    def write_behind(self) -> None:
        """Write in a thread from now on, so that no call waits for the disk."""
        if self._path is not None and self._writer is None:
            self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="event-log")

    def _write_pending(self, path: Path, entry: dict[str, Any], now_s: float, dropped: int) -> None:
        try:
            self._keep_entry(path, entry, now_s, dropped)
        except Exception:
            logger.exception("an entry of the event log is lost")
        finally:
            self._done_with += 1

    def _keep_entry(self, path: Path, entry: dict[str, Any], now_s: float, dropped: int) -> None:
        self._missing += dropped
        if self._retry_at_s is not None and now_s < self._retry_at_s:
            self._missing += 1
            return
        lost = 1
        try:
            file = self._write(path, entry)
            lost = 0
            if file.tell() >= self._max_bytes:
                self._turn_over(path)
        except OSError as error:
            # a full disk must not end calls
            if self._retry_at_s is None:
                logger.error("the event log cannot be written; entries are missing from now on: %s", error)
            self._give_up_file()
            self._missing += lost
            self._retry_at_s = now_s + RETRY_S

    def _write(self, path: Path, entry: dict[str, Any]) -> TextIO:
        if self._file is None:
            self._file = self._opened(path)
        lines = [entry]
        if self._missing:
            lines.insert(0, {"at": entry["at"], "callId": None, "event": MISSING, "entries": self._missing})
        self._file.write("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
        self._file.flush()
        if self._retry_at_s is not None:
            logger.warning("the event log can be written again; %d entries are missing", self._missing)
            self._missing, self._retry_at_s = 0, None
        return self._file

    def _opened(self, path: Path) -> TextIO:
        """Open the file at its end, on a line of its own: what stands there last may have been cut off."""
        make_private_file(path)
        file = path.open("ab+")
        try:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
                    file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                file.close()
            raise
        return io.TextIOWrapper(file, encoding="utf-8")

    def _turn_over(self, path: Path) -> None:
        self._close_file()
        old = [path.with_name(f"{path.name}.{number}") for number in range(1, self._keep + 1)]
        for older, newer in zip(reversed(old), reversed([path, *old[:-1]]), strict=False):
            if newer.exists():
                newer.replace(older)
        if not old:
            path.unlink()
        self._file = self._opened(path)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _give_up_file(self) -> None:
        """Close it; what it still holds of the entry that failed is not written once more."""
        with contextlib.suppress(OSError):
            self._close_file()

    def close(self) -> None:
        """Write what waits, for a moment, and close the file. Idempotent."""
        self._closed = True
        writer, self._writer = self._writer, None
        if writer is not None:
            last = [] if self._last is None else [self._last]
            waiting = wait(last, timeout=CLOSE_S).not_done
            writer.shutdown(wait=not waiting, cancel_futures=True)
            if waiting:
                logger.error("the event log is not written to its end: the disk does not answer")
                return
        self._retry_at_s = None
        self._close_file()


def read(path: Path) -> list[dict[str, Any]]:
    """Read an event log; lines that were cut off by a kill are left out.

    Raises:
        ValueError: It is no event log of a gateway.
    """
    entries = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or "callId" not in entry or "event" not in entry:
            raise ValueError(f"{path} is no event log of a gateway: {line[:60]}")
        entries.append(entry)
    if lines and not entries:
        raise ValueError(f"{path} is no event log of a gateway: {lines[0][:60]}")
    return entries


@dataclass(slots=True)
class _Seen:
    epoch: int = 0
    open_epoch: int | None = None
    mode: str | None = None
    """None for a call whose beginning is in an older file."""
    target: str = ""
    announced_epoch: int = 0
    ended: bool = False
    gap: bool = False
    """Entries of the call may be missing just before the next."""


@dataclass(slots=True)
class Verdict:
    """What a log shows."""

    calls: int = 0
    transitions: int = 0
    completed: int = 0
    rolled_back: int = 0
    cut_off: int = 0
    """Transitions that a restart of the gateway or the end of the call cut off."""
    missing: int = 0
    """Entries that could not be written; what would follow from them is taken on trust."""
    problems: list[str] = field(default_factory=list)


def check(entries: Iterable[dict[str, Any]]) -> Verdict:
    """Prove from a log that transitions of a call never interleave, epochs only grow, and confirmations follow the news.

    Example:
        ```python
        entries = [
            {"callId": "a", "event": "start", "epoch": 1, "source": "p2p", "target": "sfu"},
            {"callId": "a", "event": "start", "epoch": 2, "source": "p2p", "target": "sfu"},
        ]
        assert check(entries).problems == ["call a: epoch 2 started while 1 was under way"]
        ```
    """
    calls: dict[str, _Seen] = {}
    verdict = Verdict()
    for entry in entries:
        if entry["event"] == MISSING:
            verdict.missing += int(entry["entries"])
            for seen in calls.values():
                seen.gap = True
            continue
        call_id = str(entry["callId"])
        seen = calls.setdefault(call_id, _Seen(gap=bool(verdict.missing)))
        problem = _follow(seen, entry, verdict)
        if problem:
            verdict.problems.append(f"call {call_id}: {problem}")
    verdict.calls = len(calls)
    return verdict


def _follow(seen: _Seen, entry: dict[str, Any], verdict: Verdict) -> str | None:
    event, epoch = entry["event"], entry.get("epoch", 0)
    if seen.ended:
        return f"{event} after its end"
    if seen.gap and event in TRANSITION:
        _bridge(seen, entry)
    match event:
        case "begun":
            seen.mode = entry["mode"]
        case "start":
            verdict.transitions += 1
            was, seen.open_epoch, former = seen.epoch, epoch, seen.open_epoch
            seen.epoch, seen.target = max(was, epoch), entry["target"]
            if former is not None:
                return f"epoch {epoch} started while {former} was under way"
            if epoch <= was:
                return f"epoch {epoch} started after {was}"
            if seen.mode is not None and entry["source"] != seen.mode:
                return f"epoch {epoch} leaves {entry['source']}, but the call was {seen.mode}"
        case "told":
            seen.announced_epoch = epoch
            if epoch != seen.open_epoch:
                return f"epoch {epoch} was announced while {seen.open_epoch} was under way"
        case "confirm":
            if epoch == seen.open_epoch and epoch != seen.announced_epoch and not seen.gap:
                return f"epoch {epoch} was confirmed before it was announced"
        case "complete" | "roll_back":
            running, seen.open_epoch = seen.open_epoch, None
            if event == "complete":
                verdict.completed += 1
                seen.mode = seen.target
            else:
                verdict.rolled_back += 1
            if epoch != running:
                return f"{event} of epoch {epoch} while {running} was under way"
        case "restored":
            if seen.open_epoch is not None:
                verdict.cut_off += 1
            seen.open_epoch = None
            before, seen.epoch, seen.mode = seen.epoch, max(seen.epoch, epoch), entry["mode"]
            if epoch < before:
                return f"restored with epoch {epoch} after {before}"
        case "ended":
            if seen.open_epoch is not None:
                verdict.cut_off += 1
            seen.ended = True
    return None


def _bridge(seen: _Seen, entry: dict[str, Any]) -> None:
    """Take what is missing as it must have been: whatever was under way has ended, or this one has begun."""
    seen.gap = False
    epoch = entry["epoch"]
    if entry["event"] == START:
        seen.open_epoch = seen.mode = None
    elif epoch > seen.epoch:
        seen.epoch = seen.open_epoch = seen.announced_epoch = epoch
        seen.target = entry.get("target", "")
