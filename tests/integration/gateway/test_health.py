"""What /health says of a database that is not ours any more, and of disks that are full."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text

from meeshy_sfu.edge.disk_probe import DiskProbe
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.server.app import MediaServer
from tests.integration.db.conftest import database_url, postgres_server  # noqa: F401
from tests.integration.gateway.conftest import settings_for
from tests.integration.gateway.test_outages import no_space

FOREIGN = {
    "newer": ["UPDATE alembic_version SET version_num = 'from_the_future'"],
    "older": ["UPDATE alembic_version SET version_num = 'phase_1a'"],
    "without revision": ["DELETE FROM alembic_version"],
    "without version table": ["DROP TABLE alembic_version"],
    "without a table": ["DROP TABLE call_metrics"],
    "without a column": [
        "DROP INDEX ix_call_sessions_sfu_room_id",
        "ALTER TABLE call_sessions DROP COLUMN sfu_room_id",
    ],
}


async def health(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with http.get(f"{url}/health") as answer:
        return answer.status, (await answer.json())["status"]


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_schema_that_is_not_ours_makes_health_503(
    tmp_path: Path,
    http: aiohttp.ClientSession,
    database_url: str,  # noqa: F811
    statements: list[str],
) -> None:
    flags = {"media_server_urls": ["http://127.0.0.1:9"], "database_url": database_url}
    async with await Gateway.start(settings_for(tmp_path, **flags)) as gateway:
        assert await health(http, gateway.url) == (200, "ok")
        async with gateway._engine.begin() as db:
            for statement in statements:
                await db.execute(text(statement))
        assert await health(http, gateway.url) == (503, "failing")
        async with http.get(f"{gateway.url}/ready") as answer:
            assert answer.status == 503


async def test_a_database_without_space_makes_health_503_until_it_has_some(
    gateway: Gateway, http: aiohttp.ClientSession
) -> None:
    async with no_space(gateway):
        assert await health(http, gateway.url) == (503, "failing")
    assert await health(http, gateway.url) == (200, "ok")


async def test_many_requests_at_once_are_all_answered(
    gateway: Gateway, media: MediaServer, http: aiohttp.ClientSession
) -> None:
    for _ in range(5):
        asked = [health(http, server.url) for server in (gateway, media) for _ in range(40)]
        assert set(await asyncio.gather(*asked)) == {(200, "ok")}


async def test_a_request_while_a_check_ends_takes_no_other_request_its_answer(tmp_path: Path) -> None:
    probe = DiskProbe(tmp_path, "media")
    first = asyncio.create_task(probe.serves())
    await asyncio.sleep(0)
    assert probe._running is not None

    def begin_another(_: object) -> None:
        probe._running = asyncio.create_task(asyncio.to_thread(probe._write))

    probe._running.add_done_callback(begin_another)
    assert await first
    assert await probe.serves()


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A file system of one megabyte at `path`."""
    path.mkdir(parents=True, exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


async def test_a_full_disk_makes_health_503_on_both_services(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    state = tmp_path / "small"
    with small_disk(state):
        media = await MediaServer.start(settings_for(tmp_path, development=True, state_dir=state))
        flags = {"media_server_urls": [media.url], "state_dir": state}
        async with media, await Gateway.start(settings_for(tmp_path, **flags)) as gateway:
            for url in (media.url, gateway.url):
                assert await health(http, url) == (200, "ok")
            filler = state / "filler"
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(bytes(2**20))
            for url in (media.url, gateway.url):
                assert await health(http, url) == (503, "failing")
            filler.unlink()
            for url in (media.url, gateway.url):
                assert await health(http, url) == (200, "ok")
            assert not list(state.glob("**/*.probe"))


async def test_a_directory_that_cannot_be_made_makes_health_503(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    probe = DiskProbe(tmp_path / "file" / "state", "media")
    assert not await probe.serves()
    assert not await probe.serves()
    assert caplog.text.count("cannot be written to: Not a directory") == 1
