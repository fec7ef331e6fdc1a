"""One call of the pattern `calls`, and what its participants do in it: join, leave, talk in turns, switch their camera.

When they do it, and how many calls there are, is decided in runs/calls.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from simulator.client.caller import Caller
from simulator.client.legs import CallBot
from simulator.runs.environment import CallEnvironment
from simulator.runs.expect import all_in_call, all_media_flows
from simulator.samples.schema import KINDS, Kind
from simulator.scenario import Action


@dataclass(eq=False)
class Member:
    """A participant of a call, in it or not."""

    bot: CallBot
    sends: bool
    """Or only receives."""
    caller: Caller | None = None
    muted_since_ns: dict[Kind, int] = field(default_factory=dict)
    rests: bool = False
    """Is silent while others talk."""


class SteadyCall:
    """One call. The first who joins begins it."""

    def __init__(self, environment: CallEnvironment, conversation: str, rolls: random.Random) -> None:
        self.members: list[Member] = []
        self._environment = environment
        self._conversation = conversation
        self._random = rolls
        self._call_id: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def callers(self) -> list[Caller]:
        """Those who are in the call."""
        return [member.caller for member in self.members if member.caller is not None]

    def draw(self) -> float:
        """Return the next random number of this call, from 0 to 1."""
        return self._random.random()

    async def add(self, bot: CallBot, sends: bool, microphone: bool, camera: bool) -> Member:
        """Take a participant up, who joins later; what is off when it joins is so from the beginning."""
        member = Member(bot, sends)
        self.members.append(member)
        if not sends:
            self._environment.exceptions[bot.number] = ()
            for kind in KINDS:
                await bot.mute(kind, muted=True)
                self._environment.muted(bot, kind, 0)
            return member
        for kind, on in (("audio", microphone), ("video", camera)):
            if not on and kind in self._environment.scenario.media.kinds:
                await self._mute(member, kind, muted=True)
        return member

    async def join(self, member: Member) -> None:
        """Let a participant join; the first begins the call.

        Raises:
            SignalingError: The gateway refused.
        """
        caller = self._environment.caller(member.bot, self._conversation)
        member.caller = caller
        if member is self.members[0] and not self._call_id.done():
            self._call_id.set_result(await caller.initiate(self._conversation))
        else:
            await caller.join(await self._call_id)
        for kind in member.muted_since_ns:
            await caller.toggle(kind, enabled=False)

    async def leave(self, member: Member, *, vanish: bool = False) -> None:
        """Let a participant leave, or vanish without a word."""
        caller, member.caller = member.caller, None
        if caller is not None:
            await self._environment.dismiss(caller, vanish=vanish)

    async def shrink(self, size: int) -> list[CallBot]:
        """Let those leave who are too many; returns their bots."""
        left = self.members[size:]
        await asyncio.gather(*(self.leave(member) for member in left))
        for member in left:
            await self._reset(member)
        del self.members[size:]
        return [member.bot for member in left]

    async def end(self) -> list[CallBot]:
        """Let all leave; returns their bots."""
        return await self.shrink(0)

    async def check(self, patience_s: float) -> None:
        """Look whether the call is alive and all its media flows.

        Raises:
            BotError: It is not.
        """
        for member in self.members:
            for kind in list(member.muted_since_ns):
                await self._mute(member, kind, muted=False)
        all_in_call(self.callers)
        await all_media_flows(self.callers, patience_s=patience_s)

    async def talk(self, talkers: int, spurt_s: float) -> None:
        """Let so many talk at a time, in turns, until cancelled; nothing is said of it to the gateway."""
        silent = [m for m in self.members if m.sends and "audio" not in m.muted_since_ns]
        self._random.shuffle(silent)
        talking = [silent.pop() for _ in range(min(talkers, len(silent)))]
        for member in silent:
            await self._rest(member, resting=True)
        while silent:
            await asyncio.sleep(self._random.expovariate(1 / spurt_s))
            begins = silent.pop(self._random.randrange(len(silent)))
            ends = talking.pop(self._random.randrange(len(talking)))
            await self._rest(begins, resting=False)
            await self._rest(ends, resting=True)
            talking.append(begins)
            silent.append(ends)

    async def _rest(self, member: Member, *, resting: bool) -> None:
        """Let a participant be silent, or talk again; silent, it sends comfort frames (`media.dtx`), or nothing."""
        if self._environment.scenario.media.dtx:
            member.rests = resting
            await member.bot.hush(resting)
        else:
            await self._mute(member, "audio", muted=resting)

    async def act(self, action: Action) -> None:
        """Let a participant do something.

        Raises:
            SimulatorError: It could not.
        """
        member = self.members[action.participant - 1]
        match action.do:
            case "leave":
                await self.leave(member)
            case "join":
                if member.caller is None:
                    await self.join(member)
            case "kill-client":
                self._environment.fault("client")
                await self.leave(member, vanish=True)
            case "partition":
                self._environment.fault("partition")
                await member.bot.impair(lost=True)
                try:
                    await asyncio.sleep(action.for_s)
                finally:
                    await member.bot.impair(lost=False)
            case "mute" | "unmute":
                await self._switch(member, "audio", on=action.do == "unmute")
            case "camera-off" | "camera-on":
                await self._switch(member, "video", on=action.do == "camera-on")

    async def _switch(self, member: Member, kind: Kind, *, on: bool) -> None:
        await self._mute(member, kind, muted=not on)
        if member.caller is not None:
            await member.caller.toggle(kind, enabled=on)

    async def _mute(self, member: Member, kind: Kind, *, muted: bool) -> None:
        """Send nothing of a kind, or send it again, and record since when."""
        if muted == (kind in member.muted_since_ns) or not member.sends:
            return
        silent = self._environment.silent.setdefault(member.bot.number, set())
        (silent.add if muted else silent.discard)(kind)
        # Noted as silence: from after it stopped to before it may send again, so that nothing it sends lies inside.
        ended_ns = time.time_ns()
        await member.bot.mute(kind, muted=muted)
        for caller in self.callers:
            caller.look()
        if muted:
            member.muted_since_ns[kind] = time.time_ns()
        else:
            self._environment.muted(member.bot, kind, member.muted_since_ns.pop(kind), ended_ns)

    async def _reset(self, member: Member) -> None:
        """Make a participant one who sends all again, for another call."""
        if member.rests:
            await self._rest(member, resting=False)
        for kind in list(member.muted_since_ns):
            await self._mute(member, kind, muted=False)
        if not member.sends:
            self._environment.exceptions.pop(member.bot.number, None)
            for kind in KINDS:
                await member.bot.mute(kind, muted=False)
