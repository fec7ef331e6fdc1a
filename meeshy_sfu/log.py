"""Logging: console and rotating file, text or JSON, without secrets and without floods.

Sets the handlers up once per process; what is worth a line is decided where it happens. Ids are fields of a record
(:func:`log_ids`), never part of its message: text has them behind the message as ``room=… participant=…``, JSON as members of
the object.
"""

import contextlib
import copy
import json
import logging
import logging.handlers
import queue
import re
import threading
import time
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from meeshy_sfu.errors import StartError
from meeshy_sfu.private_files import make_private_directory, make_private_file

REPEAT_SECONDS = 60.0
"""An equal warning is written at most once in this time."""
_REPEATS_KEPT = 1000
PENDING_MAX = 10_000
"""Lines that may wait for a disk or a terminal that hangs."""
STOP_S = 1.0
"""How long the end waits for them."""
_IDS = "ids"
_BARE = re.compile(r"[^\s\"=]+")
"""A value that needs no quotes in a line of text."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TOKEN = re.compile(r"eyJ[\w-]{6,}(?:\.[\w-]*)*|(?<=[Bb]earer )(?!<JWT>)\S+")
"""A JWT or the beginning of one; its first two parts begin with eyJ, as all JSON objects in base64 do."""
# these write whole packets, tokens included, at info
_CHATTY = ("engineio", "socketio", "aiohttp", "asyncio", "alembic.runtime.migration")


def log_ids(
    *,
    call: object = None,
    conversation: object = None,
    user: object = None,
    room: object = None,
    participant: object = None,
    transport: object = None,
    producer: object = None,
    consumer: object = None,
    worker: object = None,
    service: object = None,
    server: object = None,
    address: object = None,
    epoch: object = None,
) -> dict[str, dict[str, object]]:
    """Return what `extra` of a logging call must be for these ids to become fields of the line.

    Example:
        ```python
        import logging

        from meeshy_sfu.log import log_ids

        logging.getLogger("example").info("joined", extra=log_ids(room="r1", participant="p1"))
        ```
    """
    return {_IDS: {name: value for name, value in locals().items() if value is not None}}


def ids_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the ids that a record was logged with."""
    found: dict[str, object] = getattr(record, _IDS, {})
    return found


def hide_tokens(text: str) -> str:
    """Return the text with every token, or what is left of one, as ``***``."""
    return _TOKEN.sub("***", text)


class Redactor:
    """Replace secrets in finished lines, wherever they came from.

    Knows the secrets of this process and the shape of every JWT.
    """

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted((re.escape(secret) for secret in secrets if secret), key=len, reverse=True)
        self._known = re.compile("|".join(known)) if known else None

    def clean(self, text: str) -> str:
        """Return the text with every secret as ``***``."""
        if self._known is not None:
            text = self._known.sub("***", text)
        return hide_tokens(text)


class TextFormatter(logging.Formatter):
    """One line a message: UTC time, level, logger, message, ids."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.default_msec_format = "%s.%03dZ"
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"
        self.converter = time.gmtime
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Write the record without secrets."""
        return self._redactor.clean(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write message and ids as one line: they may repeat what a client sent."""
        line = " ".join((record.message, *map(_text_of, ids_of(record).items())))
        record.message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], line)
        return super().formatMessage(record)


def _text_of(field: tuple[str, object]) -> str:
    name, value = field[0], str(field[1])
    return f"{name}={value if _BARE.fullmatch(value) else json.dumps(value, ensure_ascii=False)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, ids, and the exception."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Write the record without secrets."""
        fields: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **ids_of(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self._redactor.clean(json.dumps(fields, ensure_ascii=False, default=str))


class RepeatFilter(logging.Filter):
    """Let an equal warning or error through once a minute, so that a hostile client cannot fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the record."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.getMessage(), repr(ids_of(record)))
        last = self._last.get(key)
        if last is not None and record.created - last < REPEAT_SECONDS:
            return False
        if len(self._last) >= _REPEATS_KEPT:
            self._last.clear()
        self._last[key] = record.created
        return True


class PrivateFileHandler(logging.handlers.RotatingFileHandler):
    """A rotating file that its owner alone can read: lines hold the ids of users."""

    def _open(self) -> TextIOWrapper:
        make_private_file(Path(self.baseFilename))
        return super()._open()


class ThreadedHandler(logging.handlers.QueueHandler):
    """Hand lines to a thread that writes them, so that the event loop never waits for a disk or a full pipe.

    While the writer hangs, at most PENDING_MAX lines wait; what is beyond is counted, and the next line that is taken
    says how many are missing.
    """

    def __init__(self, writers: Iterable[logging.Handler]) -> None:
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(PENDING_MAX)
        super().__init__(self._lines)
        self._writers = tuple(writers)
        self._missing = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Put the arguments into the message now: they may change, and the thread must not see them."""
        prepared = copy.copy(record)
        prepared.msg, prepared.args = record.getMessage(), None
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand over one record, or count it as missing."""
        if self._missing:
            note = f"{self._missing} lines are missing here: they could not be written in time"
            note_record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, note, None, None)
            try:
                self._lines.put_nowait(note_record)
            except queue.Full:
                self._missing += 1
                return
            self._missing = 0
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._missing += 1

    def close(self) -> None:
        """Let the thread write what waits, for STOP_S at most, and close the writers. Idempotent."""
        super().close()
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=STOP_S)
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            return  # it still holds the writers, and ends with the process
        for writer in self._writers:
            writer.close()

    def _write(self) -> None:
        while (record := self._lines.get()) is not None:
            for writer in self._writers:
                writer.handle(record)


def start_logging(
    *,
    level: str,
    json_lines: bool = False,
    file: Path | None = None,
    max_bytes: int = 10_000_000,
    keep: int = 5,
    secrets: Iterable[str] = (),
    console: TextIO | None = None,
    threaded: bool = False,
) -> None:
    """Replace the root logger's handlers.

    Args:
        level: debug, info, warning or error.
        json_lines: JSON objects in place of text.
        file: Also write here, rotated at max_bytes, ``keep`` old files kept.
        max_bytes: Size at which the file is rotated.
        keep: Number of rotated files.
        secrets: Strings that must never be written.
        console: Where the console's lines go; None is standard error.
        threaded: Write in a thread of its own, for processes that must not wait for a disk.

    Raises:
        StartError: The log file cannot be written.
    """
    redactor = Redactor(secrets)
    formatter = JsonFormatter(redactor) if json_lines else TextFormatter(redactor)
    handlers: list[logging.Handler] = [logging.StreamHandler(console)]
    if file is not None:
        try:
            make_private_directory(file.parent)
            handlers.append(PrivateFileHandler(file, maxBytes=max_bytes, backupCount=keep, encoding="utf-8"))
        except OSError as error:
            raise StartError(
                f"cannot write the log {file}: {error.strerror}; "
                "give this user the directory, set MEESHY_STATE_DIR to another, or switch log_to_file off"
            ) from None
    stop_logging()
    root = logging.getLogger()
    root.setLevel(level.upper())
    for handler in handlers:
        handler.setFormatter(formatter)
    for handler in [ThreadedHandler(handlers)] if threaded else handlers:
        handler.addFilter(RepeatFilter())
        root.addHandler(handler)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def stop_logging() -> None:
    """Flush, close and remove the handlers. Idempotent."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if any(isinstance(rule, RepeatFilter) for rule in handler.filters):
            root.removeHandler(handler)
            handler.close()
