"""A short run of every target; `make fuzz-python` is the long one."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.inputs import from_hypothesis
from tests.fuzz.targets import TARGETS

INPUTS = int(os.environ.get("MEESHY_TEST_FUZZ_INPUTS", "400"))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(30 + INPUTS // 20)
def test_no_input_ends_in_an_error_that_is_not_ours(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=INPUTS, deadline=None, suppress_health_check=list(HealthCheck))
    @given(from_hypothesis(target.make))
    def hold(value: Any) -> None:
        target.run(value)

    hold()
