"""What a call adds up to."""

from __future__ import annotations

import pytest

from meeshy_sfu.db.models import TOTAL_MAX, Figures


def test_quality_reports_become_averages() -> None:
    figures = Figures()
    for loss in (0.0, 0.1, 0.2):
        figures = figures.with_sample({"avg_packet_loss": loss, "avg_rtt": 20.0})
    assert figures.avg_packet_loss == pytest.approx(0.1)
    assert (figures.avg_rtt, figures.avg_jitter, figures.quality_samples) == (20.0, None, 3)


def test_bytes_add_up_and_leave_averages_alone() -> None:
    figures = Figures().with_sample({"avg_rtt": 10.0})
    figures = figures.with_sample({"total_data_sent": 3, "total_data_received": 4})
    figures = figures.with_sample({"avg_rtt": 20.0, "total_data_sent": TOTAL_MAX - 1})
    assert figures.avg_rtt == 15.0
    assert (figures.total_data_sent, figures.total_data_received) == (TOTAL_MAX, 4)


def test_the_peak_stays_when_participants_leave_and_counters_count() -> None:
    figures = Figures().with_participants(3, 3).with_participants(2, 4).with_one_more("ice_failures")
    assert (figures.peak_participants, figures.total_participants, figures.ice_failures) == (3, 4, 1)
