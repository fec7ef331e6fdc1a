"""The pattern `storm`: all participants join one call within the ramp, and stay."""

from __future__ import annotations

import asyncio
import secrets

from simulator.client.caller import Caller
from simulator.errors import first_error
from simulator.runs.call_run import GATEWAY_USES, CallPattern
from simulator.runs.environment import CallEnvironment
from simulator.runs.expect import all_in_call, all_in_mode, all_media_flows
from simulator.scenario import Scenario


class Storm(CallPattern):
    """Many participants who join one call at once."""

    name = "storm"
    description = "All participants join one call within a second, while it changes to the media server."
    uses = frozenset({"participants.count", "ramp", "hold.duration_s", *GATEWAY_USES})

    def describe(self, scenario: Scenario) -> str:
        """Describe in a sentence what a run does."""
        return (
            f"{scenario.participants.count} participants join one call within {scenario.ramp.over_s:g} s, "
            "while it changes from peer to peer to the media server."
        )

    async def run(self, environment: CallEnvironment) -> None:
        """Let all join within the ramp, wait until all media flows, and hold.

        Raises:
            BotError: Media is missing after the ramp's timeout, or the call ended.
        """
        conversation, ramp = f"sim-{secrets.token_hex(4)}", environment.scenario.ramp
        callers = [environment.caller(bot, conversation) for bot in environment.bots]
        first, *others = callers
        call_id = await first.initiate(conversation)
        environment.phase("all join", ramp.over_s)
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
        await all_in_mode("sfu" if len(callers) > 2 else "p2p", callers, patience_s=ramp.timeout_s)
        await all_media_flows(callers, patience_s=ramp.timeout_s)
        environment.phase("hold", environment.scenario.hold.duration_s)
        await asyncio.sleep(environment.scenario.hold.duration_s)
        all_in_call(callers)


PATTERN = Storm()
