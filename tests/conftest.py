"""What all tests share: Ctrl-C reaches their children, and tests that take long without saying why are named at the end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

LONG_S = 10.0


def pytest_configure() -> None:
    """Let children of tests be interrupted: a shell that starts the tests with `&` lets them inherit that SIGINT is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Note on the report whether the test is marked slow: with several processes, only reports reach the first one."""
    report = yield
    report.user_properties.append(("slow", item.get_closest_marker("slow") is not None))
    return report


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """List the tests that took longer than LONG_S and are not marked slow; a busy machine names more of them."""
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, ())]
    long = sorted(
        (
            (r.duration, r.nodeid)
            for r in reports
            if r.when == "call" and r.duration > LONG_S and ("slow", False) in r.user_properties
        ),
        reverse=True,
    )
    if long:
        terminalreporter.section(f"over {LONG_S:.0f} s and not marked slow(reason=...)")
        for seconds, name in long:
            terminalreporter.line(f"{seconds:6.1f} s  {name}")
