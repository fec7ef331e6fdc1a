"""What the pages on clients need: both services, as `meeshy serve` starts them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MEDIA = re.compile(r"^Meeshy media server .*\n  REST and Socket.IO +(\S+)$", re.M)
GATEWAY = re.compile(r"^Meeshy call gateway .*\n  REST and Socket.IO +(\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Stack:
    """Both services in development mode."""

    gateway_url: str
    media_url: str
    environment: dict[str, str]

    def token(self, user: str) -> str:
        """Return a user's token for the conversation demo, as a newcomer makes it."""
        command = [
            sys.executable,
            "-m",
            "meeshy_sfu",
            "token",
            "--user",
            user,
            "--conversation",
            "demo:GROUP",
        ]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=20, check=True
        )
        return done.stdout.strip()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """`meeshy serve` on free ports."""
    environment = {name: value for name, value in os.environ.items() if "JWT_SECRET" not in name}
    environment |= {"MEESHY_PORT": "0", "MEESHY_GATEWAY_PORT": "0", "MEESHY_RTC_MIN_PORT": "0"}
    environment |= {"MEESHY_STATE_DIR": str(tmp_path / "state")}
    said = tmp_path / "serve.log"
    with (
        said.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "meeshy_sfu", "serve"],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + 20
            while (ready := GATEWAY.search(said.read_text(encoding="utf-8"))) is None:
                assert process.poll() is None, said.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, said.read_text(encoding="utf-8")
                time.sleep(0.05)
            media = MEDIA.search(said.read_text(encoding="utf-8"))
            assert media is not None
            yield Stack(ready[1], media[1], environment)
        finally:
            process.terminate()
