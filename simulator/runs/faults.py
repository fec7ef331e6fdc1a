"""Faults that a pattern injects: killed workers and services, services that stand still or restart.

Each is recorded when it begins, so that its gaps count as recovery; which is injected when, the patterns decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator

from simulator.client.media_server import Rest
from simulator.runs.environment import CallEnvironment
from simulator.scenario import Service
from simulator.stack.full import SupervisedService

PATIENCE_S = 20.0
FAULTS = ("client", "worker", "media", "gateway")
"""All but the first are injected into services of the run's own alone."""


class FaultInjector:
    """Kills clients, workers and services, one at a time; :attr:`gateway_is_up` holds requests back while the gateway is down."""

    def __init__(self, environment: CallEnvironment, seed: int) -> None:
        self._environment = environment
        self._random = random.Random(seed)
        self._one_at_a_time = asyncio.Lock()
        self.gateway_is_up = asyncio.Event()
        self.gateway_is_up.set()
        self._kinds = FAULTS if environment is None or environment.own_stack is not None else FAULTS[:1]
        self._due = list(self._kinds)

    def next(self) -> str:
        """Choose the next fault at random: each once before any twice."""
        if not self._due:
            self._due = list(self._kinds)
        return self._due.pop(self._random.randrange(len(self._due)))

    async def inject(self, what: str) -> None:
        """Kill a worker, the media server or the gateway, and wait until the service runs again."""
        async with self._one_at_a_time:
            self._environment.fault(what)
            await self._kill(what)
            # The recovery from one fault is over before the next, so that each is measured by itself.
            await asyncio.sleep(PATIENCE_S / 2)

    async def stop(self, service: Service, duration_s: float) -> None:
        """Let a service stand still for a while."""
        self._environment.fault(f"stopped {service}")
        with self._gateway_down(service):
            await self._service(service).stop_for(duration_s)

    async def restart(self, service: Service) -> None:
        """Let a service end in order and start again."""
        self._environment.fault(f"restarted {service}")
        with self._gateway_down(service):
            await self._service(service).end()
            await self._service(service).start()

    async def kill(self, what: str) -> None:
        """Kill a worker, the media server or the gateway at once; returns when the service runs again."""
        self._environment.fault(what)
        await self._kill(what)

    def _service(self, service: Service) -> SupervisedService:
        stack = self._environment.stack
        return stack.media if service == "media" else stack.gateway

    @contextlib.contextmanager
    def _gateway_down(self, what: str) -> Iterator[None]:
        """Hold requests to the gateway back while it is down."""
        if what == "gateway":
            self.gateway_is_up.clear()
        try:
            yield
        finally:
            self.gateway_is_up.set()

    async def _kill(self, what: str) -> None:
        stack = self._environment.stack
        match what:
            case "worker":
                async with Rest(stack.media.url) as rest:
                    token = stack.credentials.for_service()
                    workers = (await rest.request("GET", "/api/stats", token)).get("workers") or [{}]
                    index = self._random.randrange(len(workers))
                    await rest.request("POST", f"/api/dev/workers/{index}/panic", token, {})
            case "media":
                await stack.media.kill()
                await stack.media.start()
            case "gateway":
                with self._gateway_down("gateway"):
                    await stack.gateway.kill()
                    await stack.gateway.start()
