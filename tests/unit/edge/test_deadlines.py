"""How long connections may take, and how many there may be, without a socket."""

from __future__ import annotations

import logging

import pytest

from meeshy_sfu.edge.deadlines import LIMITS_S, Progress, Stage
from meeshy_sfu.edge.descriptors import MOST_CONNECTIONS, http_connections, media_connections


@pytest.mark.parametrize("stage", LIMITS_S)
def test_a_stage_may_last_as_long_as_its_limit(stage: Stage) -> None:
    progress = Progress(0.0)
    assert not progress.is_late(stage, 1, 100.0)
    assert not progress.is_late(stage, 1, 100.0 + LIMITS_S[stage] - 0.1)
    assert progress.is_late(stage, 1, 100.0 + LIMITS_S[stage])


def test_the_first_request_counts_from_connecting() -> None:
    progress = Progress(0.0)
    assert not progress.is_late(Stage.FIRST_HEAD, 0, 9.9)
    assert progress.is_late(Stage.FIRST_HEAD, 0, 10.0)


def test_each_request_has_its_own_time() -> None:
    progress = Progress(0.0)
    for request in range(1, 20):
        assert not progress.is_late(Stage.BODY, request, request * 5.0)


@pytest.mark.parametrize("stage", [Stage.IDLE, Stage.BUSY])
def test_handlers_and_sockets_may_take_as_long_as_they_like(stage: Stage) -> None:
    progress = Progress(0.0)
    assert not progress.is_late(stage, 1, 0.0)
    assert not progress.is_late(stage, 1, 1e6)


@pytest.mark.parametrize(
    ("configured", "available", "limit"),
    [
        (0, 1024, 480),
        (0, 300, 118),
        (0, 20, 16),
        (0, 1_000_000, MOST_CONNECTIONS),
        (100, 1024, 100),
        (20_000, 65_536, 20_000),
    ],
)
def test_connections_leave_descriptors_for_the_rest(configured: int, available: int, limit: int) -> None:
    assert http_connections(configured, available) == limit


@pytest.mark.parametrize(("available", "workers", "each"), [(1024, 1, 240), (1024, 4, 60), (100, 8, 16)])
def test_media_over_tcp_has_a_quarter_of_the_descriptors(available: int, workers: int, each: int) -> None:
    assert media_connections(available, workers) == each
    if available > 1000:
        assert each * workers + http_connections(0, available) < available * 0.8


def test_more_connections_than_descriptors_are_lowered_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert http_connections(5000, 1024) == 896
    assert "ulimit -n" in caplog.text
