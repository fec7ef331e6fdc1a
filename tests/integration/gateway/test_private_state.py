"""What a running stack leaves in its state directory is for its owner alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeshy_sfu.free_ports import free_ports
from tests.integration.server.processes import meeshy


@pytest.fixture
def an_open_umask() -> Iterator[None]:
    former = os.umask(0)
    yield
    os.umask(former)


@pytest.mark.usefixtures("an_open_umask")
async def test_the_state_directory_of_running_services_is_private(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True)  # as an older version left it
    (state / "logs" / "gateway.log").touch()
    variables = {"JWT_SECRET": "", "PORT": str(free_ports(1)[0]), "MEESHY_STANDBY": "false"}
    async with meeshy(state, "serve", **variables) as running:
        await running.wait_for("Meeshy call gateway")
        await running.wait_for("Meeshy media server")
        await running.service("gateway")
        found = [state, *state.rglob("*")]
        modes = {path: path.lstat().st_mode & 0o777 for path in found if path.exists()}
    for path, mode in modes.items():
        assert mode == (0o700 if path in (state, *{one.parent for one in found}) else 0o600), (
            f"{path} {mode:o}"
        )
    names = {path.name for path in modes}
    assert {"development-secret", "dtls-key.pem", "meeshy.db", "meeshy.db-wal", "meeshy.db-shm"} <= names
    assert {"gateway.log", "media.log", "gateway.jsonl", "gateway.pid", "media.pid"} <= names
