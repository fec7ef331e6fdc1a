"""What a panic of a worker writes to standard error holds up nobody."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import asyncio, logging, os
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.worker import WorkerPool, WorkerSettings

logging.disable()
_, full = os.pipe()
os.set_blocking(full, False)
try:
    while True:
        os.write(full, bytes(4096))
except BlockingIOError:
    os.set_blocking(full, True)
os.dup2(full, 2)

async def main():
    certificate = Certificate.generate(SystemClock())
    settings = WorkerSettings(certificate=certificate, size=1, base_port=0, allow_panic=True)
    async with await WorkerPool.start(settings) as pool:
        async with asyncio.timeout(5):
            await pool.panic(0)
            while not pool.deaths:  # the request may fail a moment before the pool takes note
                await asyncio.sleep(0.01)
        print(pool.deaths, flush=True)
    os._exit(0)

asyncio.run(main())
"""


def test_the_death_of_a_worker_is_told_even_if_nobody_reads_what_it_said() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        timeout=25,
        env={"RUST_BACKTRACE": "1"},
    )
    assert done.stdout == "1\n"
