"""What happens in the scenarios `switch` and `storm`: who joins and leaves when, and what must then be so.

Plays only; the people are in client/caller.py, running and collecting in runs/environment.py. Whatever is waited for in vain ends
the play with an error that names it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from simulator.client.participant import first_error
from simulator.errors import BotError

if TYPE_CHECKING:
    from simulator.client.caller import Caller
    from simulator.runs.environment import CallEnvironment

PATIENCE_S = 15.0
"""Longer than a switch may take before the gateway decides without those who are missing."""


async def switch(environment: CallEnvironment) -> None:
    """Let a third person join a call of two and leave again, as often as the scenario asks.

    Raises:
        BotError: Somebody did not get where they should be.
    """
    conversation, settings = f"sim-{secrets.token_hex(4)}", environment.scenario.switching
    bots = environment.bots
    first, second = environment.caller(bots[0], conversation), environment.caller(bots[1], conversation)
    pair = (first, second)
    environment.phase("two people call")
    call_id = await first.initiate(conversation)
    await second.join(call_id)
    await _see_each_other(pair)
    for number in range(settings.transitions):
        environment.phase(f"change {number + 1} of {settings.transitions} each way", None)
        if settings.prewarm:
            for caller in pair:
                await caller.until_prewarmed(PATIENCE_S)
        await asyncio.sleep(settings.stay_s)
        third = environment.caller(bots[2], conversation)
        await third.join(call_id)
        await _all_in("sfu", (*pair, third))
        await _see_each_other((*pair, third))
        await asyncio.sleep(settings.stay_s)
        await environment.dismiss(third)
        await _all_in("p2p", pair)
        await _see_each_other(pair)
    # A change is over when what came after it could be seen.
    await asyncio.sleep(max(1.0, settings.stay_s))


async def storm(environment: CallEnvironment) -> None:
    """Let everybody join one call within the ramp, and stay.

    Raises:
        BotError: Somebody does not see everybody else in time.
    """
    conversation, ramp = f"sim-{secrets.token_hex(4)}", environment.scenario.ramp
    callers = [environment.caller(bot, conversation) for bot in environment.bots]
    first, *others = callers
    call_id = await first.initiate(conversation)
    environment.phase("everybody joins", ramp.over_s)
    gap_s = ramp.over_s / max(1, len(others) - 1)

    async def join(place: int, caller: Caller) -> None:
        await asyncio.sleep(place * gap_s)
        await caller.join(call_id)

    try:
        async with asyncio.TaskGroup() as joining:
            for place, caller in enumerate(others):
                joining.create_task(join(place, caller))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors
    await _all_in("sfu" if len(callers) > 2 else "p2p", callers, patience_s=ramp.timeout_s)
    await _see_each_other(callers, patience_s=ramp.timeout_s)
    environment.phase("hold", environment.scenario.hold.duration_s)
    await asyncio.sleep(environment.scenario.hold.duration_s)
    for caller in callers:
        if caller.record.ended is not None:
            raise BotError(f"participant {caller.bot.number}: the call ended: {caller.record.ended}")


async def _all_in(
    mode: str, callers: tuple[Caller, ...] | list[Caller], *, patience_s: float = PATIENCE_S
) -> None:
    for caller in callers:
        await caller.until_in(mode, patience_s)


async def _see_each_other(
    callers: tuple[Caller, ...] | list[Caller], *, patience_s: float = PATIENCE_S
) -> None:
    numbers = {caller.bot.number for caller in callers}
    for caller in callers:
        await caller.sees(numbers - {caller.bot.number}, patience_s)
