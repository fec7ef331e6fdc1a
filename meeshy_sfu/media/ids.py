"""Identifiers of media objects: opaque on the wire, never used twice.

The numbers the native core uses for the same objects are handles and stay inside media/.
"""

import uuid
from typing import NewType

RouterId = NewType("RouterId", str)
TransportId = NewType("TransportId", str)
ProducerId = NewType("ProducerId", str)
ConsumerId = NewType("ConsumerId", str)


def new_id() -> str:
    """Make an identifier that was never used before."""
    return str(uuid.uuid4())
