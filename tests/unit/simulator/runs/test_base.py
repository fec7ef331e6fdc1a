"""What all runs have in common."""

from __future__ import annotations

import gc

import pytest

from simulator.runs.base import spared_collector


def test_the_collector_is_spared_during_a_run_and_as_before_after_it() -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()

    def run() -> None:
        with spared_collector():
            assert gc.isenabled()
            assert all(now > before for now, before in zip(gc.get_threshold(), thresholds, strict=True))
            assert gc.get_freeze_count() > frozen
            raise RuntimeError("broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        run()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, 0)
