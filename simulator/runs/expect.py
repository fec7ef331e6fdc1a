"""What patterns of the gateway wait for: all callers in a mode, all media flowing.

Each wait has a deadline and ends with an error that names the participant and what it missed.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.client.caller import Caller
from simulator.errors import NotServedError

PATIENCE_S = 15.0
"""Longer than a change of mode may take before the gateway completes it without those who have not confirmed."""


async def all_in_mode(mode: str, callers: Sequence[Caller], *, patience_s: float = PATIENCE_S) -> None:
    """Wait until each caller is in this mode with no change going on.

    Raises:
        NotServedError: A caller is not there in time, or its call has ended.
    """
    for caller in callers:
        await caller.until_in(mode, patience_s)


async def all_media_flows(callers: Sequence[Caller], *, patience_s: float = PATIENCE_S) -> None:
    """Wait until each caller receives all media of all others.

    Raises:
        NotServedError: A stream is missing after this time.
    """
    numbers = {caller.bot.number for caller in callers}
    for caller in callers:
        await caller.until_receiving(numbers - {caller.bot.number}, patience_s)


def all_in_call(callers: Sequence[Caller]) -> None:
    """Check that the call has ended for no caller.

    Raises:
        NotServedError: It has for one.
    """
    for caller in callers:
        if caller.record.ended is not None:
            raise NotServedError(f"participant {caller.bot.number}: the call ended: {caller.record.ended}")
