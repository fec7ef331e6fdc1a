"""Asking a media server for its figures once a tick, without waiting for it.

Bots are collected from by a clock of their own: a server that hangs, or is stopped, must not decide when they are looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from simulator.client.server_figures import ServerFigures
from simulator.samples.recorder import Recorder

Figures = Callable[[], Awaitable[ServerFigures | None]]
"""Asks a server; None when it does not answer, or refuses."""
LAST_ANSWER_S = 1.0
"""How long the last answer is waited for."""


class ServerWatch:
    """Records what a server reports of itself, and a row without figures where it does not answer.

    Use as an async context manager; leaving it ends the request that is under way.
    """

    latest: ServerFigures | None = None
    """The last answer; None when the last request had none."""

    def __init__(self, figures: Figures, recorder: Recorder) -> None:
        self._figures = figures
        self._recorder = recorder
        self._asking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.settle(0.0)

    def ask(self, tick: int) -> None:
        """Ask, unless the last request is still without an answer; returns at once."""
        if self._asking is not None and not self._asking.done():
            self._note(tick, None)
            return
        self._asking = asyncio.create_task(self._ask(tick))

    async def settle(self, patience_s: float = LAST_ANSWER_S) -> None:
        """Wait for the answer that is under way, and give it up after this time. Idempotent."""
        if self._asking is None:
            return
        await asyncio.wait({self._asking}, timeout=patience_s)
        self._asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._asking
        self._asking = None

    async def _ask(self, tick: int) -> None:
        try:
            figures = await self._figures()
        except asyncio.CancelledError:
            self._note(tick, None)
            raise
        self._note(tick, figures)

    def _note(self, tick: int, figures: ServerFigures | None) -> None:
        self.latest = figures
        if figures is None:
            self._recorder.add("server", [(tick, time.time_ns(), None, None, None, None)])
            return
        totals = (figures.cpu_ns, figures.rss_bytes, figures.packets_in, figures.packets_out)
        self._recorder.add("server", [(tick, figures.unix_ns, *totals)])
        self._recorder.add("server_threads", [(tick, figures.unix_ns, *thread) for thread in figures.workers])
