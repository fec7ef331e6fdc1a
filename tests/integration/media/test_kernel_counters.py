"""What the metrics say of packets, bytes and CPU time is what the kernel counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.child import bound_command

ROOT = Path(__file__).resolve().parents[3]
CLOSE = 0.02
LARGEST = 1500 - 28
"""Payload bytes of a datagram, at most."""
UNSHARE = ("unshare", "--user", "--map-root-user", "--net")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)


@pytest.fixture(scope="module")
def counted(clip: Path) -> dict[str, Any]:
    """What a call between two network namespaces was counted as by both."""
    tried = run(*UNSHARE, "ip", "link", "add", "one", "type", "veth")
    if tried.returncode != 0:
        reason = f"no network namespace with interfaces can be made: {tried.stderr.strip()}"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    # a parent that stays in the server's namespace, by which the interface is moved there
    call = f"{sys.executable} -m tests.integration.media.counted_call {clip}; exit $?"
    done = run(*bound_command([*UNSHARE, "sh", "-c", call]))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of_worker(counted: dict[str, Any], name: str) -> float:
    return float(counted["shown"][f'meeshy_worker_{name}_total{{worker="0"}}'])


def overflowed(counted: dict[str, Any]) -> float:
    """Datagrams that the interface took, and that found the socket's buffer full, as the worker counts them."""
    full = 'meeshy_worker_drops_total{reason="receive_buffer_full",worker="0"}'
    return float(counted["shown"].get(full, 0))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("direction", ["in", "out"])
def test_packets_and_bytes_are_those_that_the_interface_counted(
    counted: dict[str, Any], direction: str
) -> None:
    packets = counted["kernel"][f"packets_{direction}"]
    payload = counted["kernel"][f"bytes_{direction}"] - packets * counted["headers"]
    assert packets > 5_000, "a call that is worth counting"
    lost = overflowed(counted) if direction == "in" else 0
    assert of_worker(counted, f"packets_{direction}") + lost == pytest.approx(packets, rel=CLOSE)
    # of those that were lost only the number is known: their bytes are between none and a whole datagram each
    least, most = payload - lost * LARGEST, payload
    assert least * (1 - CLOSE) <= of_worker(counted, f"bytes_{direction}") <= most * (1 + CLOSE)


@pytest.mark.timeout(120)
def test_the_cpu_time_of_worker_and_process_is_that_of_the_scheduler(counted: dict[str, Any]) -> None:
    cpu = counted["cpu"]
    assert cpu["worker_before"] * (1 - CLOSE) <= cpu["worker"] <= cpu["worker_after"] * (1 + CLOSE)
    # in hundredths of a second, read a moment earlier
    assert cpu["process"] == pytest.approx(cpu["process_kernel"], rel=CLOSE, abs=0.03)
    assert cpu["process"] > cpu["worker"]


@pytest.mark.timeout(120)
def test_every_forwarded_packet_is_sent_and_its_delay_is_below_the_window_and_a_bit(
    counted: dict[str, Any],
) -> None:
    """Half of the delays are, that is: neighbours on the same cores may delay any single one."""
    assert of_worker(counted, "forwarded") <= of_worker(counted, "packets_out")
    for kind in ("audio", "video"):
        name = "meeshy_worker_forwarding_delay_seconds"
        labels = f'kind="{kind}",worker="0"'
        number = counted["shown"][f"{name}_count{{{labels}}}"]
        quick = counted["shown"][f'{name}_bucket{{kind="{kind}",le="0.01",worker="0"}}']
        assert number > 500
        assert quick > number / 2
