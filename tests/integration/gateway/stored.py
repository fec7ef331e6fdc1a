"""What the gateway has stored, once it has written what happened: rows come a moment after the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.integration.hearing import DEADLINE_S

if TYPE_CHECKING:
    from meeshy_sfu.db.models import Call, Metrics
    from meeshy_sfu.gateway.app import Gateway


async def stored_call(gateway: Gateway, call_id: str) -> Call:
    """The rows of a call and its participants."""
    async with asyncio.timeout(DEADLINE_S):
        await gateway.late.written()
    row = await gateway.repository.get_call(call_id)
    assert row is not None
    return row


async def stored_metrics(gateway: Gateway, call_id: str) -> Metrics:
    """The figures of a call and its changes of mode."""
    async with asyncio.timeout(DEADLINE_S):
        await gateway.late.written()
    metrics = await gateway.repository.get_metrics(call_id)
    assert metrics is not None
    return metrics
