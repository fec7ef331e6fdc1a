"""The client guide: its conversation runs, and what it quotes of the example is the example's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from meeshy_sfu.gateway.wire.messages import EVENTS

from .conftest import Stack

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "client-guide.md").read_text(encoding="utf-8")
CONVERSATION, *EXCERPTS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.S | re.M)
EXAMPLE = "".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "gateway_client").glob("*.py")
)


def unformatted(code: str) -> str:
    """The code without what a formatter decides: spaces, and commas before a closing bracket."""
    return re.sub(r",(?=[)\]}])", "", "".join(code.split()))


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=lambda text: text.split("(")[0].split()[-1])
def test_what_the_guide_quotes_is_code_of_the_example(excerpt: str) -> None:
    assert unformatted(excerpt) in unformatted(EXAMPLE)


def test_the_events_of_the_guide_exist() -> None:
    events = {*EVENTS.client, *EVENTS.server}
    named = set(re.findall(r"`(call:[\w-]+)`", GUIDE))
    assert named <= events, named - events


def test_the_conversation_of_the_guide_runs_in_less_than_a_hundred_lines(stack: Stack) -> None:
    tokens = {name.upper(): stack.token(name) for name in ("ada", "bob", "eve")}
    done = subprocess.run(
        [sys.executable, "-c", CONVERSATION],
        env=stack.environment | tokens | {"GATEWAY_URL": stack.gateway_url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"{name} is in the call, mode p2p, phase p2p" for name in ("ada", "bob")]
    assert "eve is in the call, mode sfu, phase switching_to_sfu" in lines
    for name in ("ada", "bob"):
        assert [line for line in lines if line.startswith(f"{name}:")] == [
            f"{name}: build sfu, keep p2p: participant_joined",
            f"{name}: all are on sfu",
            f"{name}: build p2p, keep sfu: participant_left",
            f"{name}: all are on p2p",
        ]
    assert len(CONVERSATION.splitlines()) < 100
