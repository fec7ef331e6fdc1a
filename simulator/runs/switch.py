"""The pattern `switch`: a third participant joins a call of two and leaves, again and again.

Each time the call changes to the media server and back to peer to peer.
"""

from __future__ import annotations

import asyncio
import secrets

from simulator.runs.call_run import GATEWAY_USES, CallPattern
from simulator.runs.environment import CallEnvironment
from simulator.runs.expect import PATIENCE_S, all_in_mode, all_media_flows
from simulator.scenario import Scenario

_LAST_S = 1.0
"""At least so much is measured after the last change."""


class Switch(CallPattern):
    """A call of two that a third participant joins and leaves."""

    name = "switch"
    description = (
        "A call of two that a third participant joins and leaves: `transitions` changes of mode each way."
    )
    uses = frozenset({"switching", *GATEWAY_USES})

    def participants(self, scenario: Scenario) -> int:
        """Return how many participants take part: two, and the third who joins and leaves."""
        return 3

    def describe(self, scenario: Scenario) -> str:
        """Describe in a sentence what a run does."""
        how = "prepared in advance" if scenario.switching.prewarm else "set up when it is needed"
        return (
            "Two participants talk peer to peer. A third joins, so the call changes to the media server, and leaves, so "
            f"it changes back: {scenario.switching.transitions} times each way. The path through the server is {how}."
        )

    async def run(self, environment: CallEnvironment) -> None:
        """Let a third participant join and leave as often as the scenario asks.

        Raises:
            BotError: A caller did not reach the mode, or did not receive the media, in time.
        """
        conversation, settings = f"sim-{secrets.token_hex(4)}", environment.scenario.switching
        bots = environment.bots
        pair = (environment.caller(bots[0], conversation), environment.caller(bots[1], conversation))
        environment.phase("two participants call")
        call_id = await pair[0].initiate(conversation)
        await pair[1].join(call_id)
        await all_media_flows(pair)
        for number in range(settings.transitions):
            environment.phase(f"change {number + 1} of {settings.transitions} each way")
            if settings.prewarm:
                for caller in pair:
                    await caller.until_prewarmed(PATIENCE_S)
            await asyncio.sleep(settings.stay_s)
            third = environment.caller(bots[2], conversation)
            await third.join(call_id)
            await all_in_mode("sfu", (*pair, third))
            await all_media_flows((*pair, third))
            await asyncio.sleep(settings.stay_s)
            await environment.dismiss(third)
            await all_in_mode("p2p", pair)
            await all_media_flows(pair)
        # Gaps are measured until after the change.
        await asyncio.sleep(max(_LAST_S, settings.stay_s))


PATTERN = Switch()
