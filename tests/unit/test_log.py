"""Lines carry their ids, never a secret, and do not repeat without end."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
from pathlib import Path

import pytest

from meeshy_sfu.errors import StartError
from meeshy_sfu.log import (
    JsonFormatter,
    Redactor,
    RepeatFilter,
    TextFormatter,
    hide_tokens,
    log_ids,
    start_logging,
    stop_logging,
)

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def record(
    message: str, *arguments: object, level: int = logging.INFO, created: float = 0.0, **ids: object
) -> logging.LogRecord:
    made = logging.LogRecord("meeshy_sfu.test", level, __file__, 1, message, arguments, None)
    vars(made).update(log_ids(**ids))
    made.created, made.msecs = created, 0.0
    return made


def test_text_lines_have_utc_time_level_and_logger() -> None:
    line = TextFormatter(Redactor()).format(record("joined the %s", "call", room="r1"))
    assert line == "1970-01-01T00:00:00.000Z INFO    meeshy_sfu.test: joined the call room=r1"


def test_ids_become_fields_in_json() -> None:
    line = JsonFormatter(Redactor()).format(record("joined", room="r1", participant="p1", worker=0))
    assert json.loads(line) == {
        "time": 0.0,
        "level": "info",
        "logger": "meeshy_sfu.test",
        "message": "joined",
        "room": "r1",
        "participant": "p1",
        "worker": 0,
    }


@pytest.mark.usefixtures("_restored_root")
def test_ids_of_a_logging_call_reach_the_line_through_the_thread_that_writes() -> None:
    console = io.StringIO()
    start_logging(level="info", console=console, threaded=True)
    logging.getLogger("meeshy_sfu.test").warning("died: %s", "killed", extra=log_ids(worker=3, room=None))
    stop_logging()
    assert console.getvalue().endswith("meeshy_sfu.test: died: killed worker=3\n")


@pytest.mark.parametrize("id", ["a b", 'a"b', "a=b", "a\nb", ""])
def test_an_id_of_other_characters_is_quoted_and_makes_no_line_or_field_of_its_own(id: str) -> None:
    line = TextFormatter(Redactor()).format(record("joined", participant=id, worker=1))
    assert line.endswith(f"joined participant={json.dumps(id)} worker=1")
    fields = json.loads(JsonFormatter(Redactor()).format(record("joined", participant=id)))
    assert fields["participant"] == id


def test_what_a_client_says_makes_no_line_of_its_own() -> None:
    said = "no\r\n2026-01-01T00:00:00.000Z ERROR   meeshy_sfu: forged\x1b[2J\u2028"
    line = TextFormatter(Redactor()).format(record("failed: %s", said, participant=said))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "no\\r\\n2026" in line


def test_what_a_client_says_does_not_change_ids_in_json() -> None:
    line = JsonFormatter(Redactor()).format(record("failed: %s", "call=x room=y", call="c", participant="p"))
    fields = json.loads(line)
    assert (fields["call"], fields["participant"]) == ("c", "p")
    assert "room" not in fields


def test_json_lines_tell_the_exception() -> None:
    try:
        raise ValueError(f"with {TOKEN}")
    except ValueError as error:
        failed = record("failed")
        failed.exc_info = (ValueError, error, error.__traceback__)
    fields = json.loads(JsonFormatter(Redactor()).format(failed))
    assert "ValueError: with ***" in fields["exception"]


@pytest.mark.parametrize("make", [TextFormatter, JsonFormatter])
@pytest.mark.parametrize(
    "text", [f"token {TOKEN}", "Authorization: Bearer opaque-thing", "secret s3cr3t-of-ours here"]
)
def test_secrets_are_never_written(make, text: str) -> None:
    line = make(Redactor(["s3cr3t-of-ours"])).format(record("%s", text))
    assert "***" in line
    for secret in (TOKEN, "opaque-thing", "s3cr3t-of-ours"):
        assert secret not in line


def test_an_equal_warning_is_written_once_a_minute() -> None:
    rule = RepeatFilter()
    assert rule.filter(record("bad %s", 1, level=logging.WARNING, created=0.0))
    assert not rule.filter(record("bad %s", 1, level=logging.WARNING, created=59.0))
    assert rule.filter(record("bad %s", 2, level=logging.WARNING, created=59.0))
    assert rule.filter(record("bad %s", 1, level=logging.WARNING, created=61.0))
    assert rule.filter(record("bad %s", 1, level=logging.WARNING, created=62.0, room="r1"))
    assert not rule.filter(record("bad %s", 1, level=logging.WARNING, created=63.0, room="r1"))


def test_information_may_repeat() -> None:
    rule = RepeatFilter()
    assert rule.filter(record("same"))
    assert rule.filter(record("same"))


@pytest.fixture
def _restored_root():
    root = logging.getLogger()
    before = root.level
    yield
    stop_logging()
    root.setLevel(before)
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_restored_root")
def test_lines_go_to_console_and_a_rotated_file(tmp_path: Path) -> None:
    console = io.StringIO()
    file = tmp_path / "logs" / "media.log"
    start_logging(level="info", file=file, max_bytes=2000, keep=2, console=console)
    for number in range(100):
        logging.getLogger("meeshy_sfu.test").info("line %d at %f", number, time.time())
    assert "line 99" in console.getvalue()
    assert "line 99" in file.read_text(encoding="utf-8")
    assert sorted(path.name for path in file.parent.iterdir()) == ["media.log", "media.log.1", "media.log.2"]


@pytest.mark.usefixtures("_restored_root")
class Hanging(io.StringIO):
    """A disk or pipe that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.released.wait(20)
        return super().write(text)


def test_nobody_waits_for_a_log_that_hangs_and_what_is_missing_is_said(monkeypatch) -> None:
    monkeypatch.setattr("meeshy_sfu.log.PENDING_MAX", 10)
    console = Hanging()
    start_logging(level="info", console=console, threaded=True)
    log = logging.getLogger("meeshy_sfu.test")
    for number in range(50):
        log.info("line %d", number)
    assert console.getvalue() == "", "all of this was written while the disk hung"
    console.released.set()
    deadline = time.monotonic() + 10
    while "line 9" not in console.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    log.info("again")
    stop_logging()
    text = console.getvalue()
    assert "line 0" in text
    assert "line 49" not in text
    # The thread may say so twice, as it goes on while the last of the 50 come in.
    missing = [int(number) for number in re.findall(r"(\d+) lines are missing here", text)]
    assert missing
    assert sum(missing) + text.count(": line ") == 50
    assert text.rstrip().endswith("again")


def test_a_threaded_log_writes_all_lines_in_order_and_their_exceptions() -> None:
    console = io.StringIO()
    start_logging(level="info", console=console, threaded=True, json_lines=True, secrets=["s3cret"])
    log = logging.getLogger("meeshy_sfu.test")
    for number in range(100):
        log.info("s3cret", extra=log_ids(call=number))
    try:
        raise ValueError("on purpose")
    except ValueError:
        log.exception("failed")
    stop_logging()
    lines = [json.loads(line) for line in console.getvalue().splitlines()]
    assert [line["call"] for line in lines[:100]] == list(range(100))
    assert "s3cret" not in console.getvalue()
    assert "ValueError: on purpose" in lines[100]["exception"]


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the directory should be", encoding="utf-8")
    with pytest.raises(StartError, match="MEESHY_STATE_DIR"):
        start_logging(level="info", file=tmp_path / "logs" / "media.log")


@pytest.mark.parametrize("cut", [10, 25, 40, 80])
def test_what_is_left_of_a_token_is_hidden_as_well(cut: int) -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"[:cut]
    for text in (
        f"got '{token}...'",
        f"/path/{token}",
        f"?token={token}&x=1",
        f"bearer {token}",
        f"b{token!r}",
    ):
        hidden = hide_tokens(text)
        assert "***" in hidden
        assert token not in hidden
    assert hide_tokens("room=r1 keyJoin eyJ") == "room=r1 keyJoin eyJ"
