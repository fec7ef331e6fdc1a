"""For all integration tests: whatever the clients in this process receive is checked against the models of the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import wire_check

wire_check.install()


@pytest.fixture(autouse=True)
def _the_wire_fits() -> Iterator[None]:
    """Fail a test during which something came that no model would write."""
    wire_check.violations.clear()
    yield
    assert not wire_check.violations, "\n".join(wire_check.violations[:5])
