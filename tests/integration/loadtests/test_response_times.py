"""locust's own figures: to the millisecond, as its screen and CSV show them. In another process, which locust patches."""

import subprocess
import sys

from tests.integration.loadtests.conftest import ROOT

TRUE = """
from loadtests.response_times import show_true_values
show_true_values()
from locust.stats import RequestStats
stats = RequestStats()
for ms in (0.4, 104.2, 147.0, 2043.0, 58760.0):
    stats.log_request("MEDIA", "latency", ms, 0)
entry = stats.get("latency", "MEDIA")
print(sorted(entry.response_times))
print([entry.get_response_time_percentile(p) for p in (0.2, 0.4, 0.6, 1.0)])
"""


def test_response_times_are_not_rounded_to_two_digits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRUE], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines() == ["[0, 104, 147, 2043, 58760]", "[104, 147, 2043, 58760]"]
