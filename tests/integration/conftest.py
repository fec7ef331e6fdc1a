"""For all integration tests: whatever the clients in this process receive is checked against the models of the wire."""

from __future__ import annotations

from tests import wire_check
from tests.wire_check import the_wire_fits

__all__ = ["the_wire_fits"]

wire_check.install()
