"""The page on troubleshooting quotes messages as the program has them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [
    line for block in re.findall(r"^```text\n(.*?)^```", PAGE, re.S | re.M) for line in block.splitlines()
]
IN_PYTHON = re.compile(r"\"\s*\n\s*f?\"")
IN_RUST = re.compile(r"\\\n\s*")


@cache
def source() -> str:
    """All that can be printed: strings that go over several lines in one piece, values in braces as on the page."""
    files = [
        *(ROOT / "meeshy_sfu").rglob("*.py"),
        *(ROOT / "simulator").rglob("*.py"),
        ROOT / ".ci" / "setup",
    ]
    files += [*(ROOT / "crates").glob("*/src/**/*.rs"), *(ROOT / "tests").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path != Path(__file__))
    return IN_RUST.sub("", IN_PYTHON.sub("", text))


@pytest.mark.parametrize("message", MESSAGES)
def test_every_message_is_one_the_program_has(message: str) -> None:
    parts = [part.strip() for part in re.split("…|; ", message)]
    missing = [part for part in parts if len(part) > 2 and part not in source()]
    assert not missing, f"no source says {missing}; if it is worded anew, word docs/troubleshooting.md so too"


def test_the_page_quotes_messages_of_every_part() -> None:
    assert len(MESSAGES) > 30


def test_every_symptom_of_the_list_is_a_heading() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    listed = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert set(listed) == anchors
