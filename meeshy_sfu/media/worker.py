"""Workers: pinned native threads that own sockets and routers, and the pool of them.

Starts, counts, replaces and closes them; which call goes where is decided here too, what a call is in rooms/.
"""

import asyncio
import json
import logging
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from meeshy_sfu import _core
from meeshy_sfu.clock import Clock, SystemClock
from meeshy_sfu.errors import MeeshyError, StartError, UnavailableError, WorkerDiedError
from meeshy_sfu.log import log_ids
from meeshy_sfu.media import ortc
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.channel import Channel, CoreWorker
from meeshy_sfu.media.events import Died, Event, Ready, Reply, StatsTaken
from meeshy_sfu.media.observer import Signal
from meeshy_sfu.media.router import Router
from meeshy_sfu.media.rtp_parameters import DtlsFingerprint, RtpCodecCapability
from meeshy_sfu.media.stats import WorkerStats

READY_TIMEOUT_S = 10.0
SHORT_LIFE_S = 10.0
"""A worker that dies younger than this is replaced with a delay, so that a broken machine is not kept busy."""
TCP_CONNECTIONS_MAX = 4096
"""Of one worker; what the core takes by itself."""
RESTART_DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How workers are started."""

    certificate: Certificate
    """Shown to every client, on every worker."""
    size: int | None = None
    """Number of workers. None (default): one for each core this process may use."""
    base_port: int = 10000
    """UDP and TCP port of the first worker; the others follow. 0: any free port for each (tests)."""
    listen: tuple[str, ...] = ("127.0.0.1",)
    """Addresses to bind, at most one of each IP version."""
    announced: str | None = None
    """Address or host name to offer instead of the bound ones, when behind NAT."""
    pin: bool = True
    """Bind each worker to a core of its own. Turn off where something else does that."""
    gso: bool = True
    """Use UDP segmentation offload where the kernel has it: two to five times less CPU time."""
    window_max_us: int = 2000
    """How long packets may be collected under load. Longer costs latency, shorter CPU time."""
    max_connections: int = TCP_CONNECTIONS_MAX
    """TCP connections of one worker at most, each a descriptor of the process."""
    allow_panic: bool = False
    """Accept the command that breaks a worker. For tests and development."""
    allow_faults: bool = False
    """Accept faults on the way to receivers. For tests of load tests, and development."""

    def core_config(self, index: int) -> str:
        """Return what the native worker of this index is started with."""
        cores = sorted(os.sched_getaffinity(0))
        config = {
            "index": index,
            "listen": list(self.listen),
            "announced": self.announced,
            "port": self.base_port + index if self.base_port else 0,
            "pin_cpu": cores[index % len(cores)] if self.pin else None,
            "allow_panic": self.allow_panic,
            "allow_faults": self.allow_faults,
            "window_max_us": self.window_max_us,
            "gso": self.gso,
        }
        if self.max_connections < TCP_CONNECTIONS_MAX:
            config["max_connections"] = self.max_connections
        return json.dumps(config)


class Worker:
    """Carry routers on one native thread with one port.

    Made by :meth:`start`; owns its routers and the native worker. If it dies, its routers close first, then
    ``died`` is emitted; it cannot be revived, the pool starts another.
    """

    index: int
    fingerprint: DtlsFingerprint
    channel: Channel
    addresses: tuple[str, ...]
    """What clients are offered, as ``udp 192.0.2.1:10000``."""
    stats: WorkerStats
    """The last totals it reported, at most a second old."""
    died: Signal[["Worker", str]]

    def __init__(
        self, core: CoreWorker, *, index: int, fingerprint: DtlsFingerprint, rng: random.Random
    ) -> None:
        self.index = index
        self.fingerprint = fingerprint
        self.addresses = ()
        self.stats = WorkerStats(index=index)
        self.died = Signal()
        self.pid = 0
        self._rng = rng
        self._last_handle = 0
        self._routers: dict[int, Router] = {}
        self._ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.channel = Channel(core, self._on_event)

    @classmethod
    async def start(
        cls, settings: WorkerSettings, index: int, *, rng: random.Random | None = None
    ) -> "Worker":
        """Start one and wait until it is ready.

        Raises:
            PortInUseError: Another process has the port.
            AddressUnavailableError: The machine does not have the address.
            BindPermissionError: The system forbids the port.
            StartError: It did not come up.
        """
        certificate = settings.certificate
        core = _core.Worker(
            settings.core_config(index), certificate.certificate_der, certificate.key_pkcs8_der
        )
        worker = cls(core, index=index, fingerprint=certificate.fingerprint, rng=rng or random.SystemRandom())
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                ready = await worker._ready
        except BaseException as error:
            worker.close()
            if isinstance(error, TimeoutError):
                raise StartError(f"worker {index} was not ready within {READY_TIMEOUT_S:.0f} s") from error
            raise
        worker.addresses = ready.addresses
        worker.pid = ready.pid
        return worker

    @property
    def port(self) -> int:
        """Its UDP and TCP port."""
        return self.channel.port

    @property
    def alive(self) -> bool:
        """Return whether it carries calls."""
        return not self.channel.dead

    @property
    def routers(self) -> Sequence[Router]:
        """The routers it carries."""
        return tuple(self._routers.values())

    async def create_router(self, media_codecs: Iterable[RtpCodecCapability]) -> Router:
        """Open the forwarding table of a call.

        Raises:
            UnsupportedCodecError: A codec is none the media core forwards.
            InvalidRequestError: The codecs contradict each other.
            WorkerDiedError: The worker is dead.
        """
        capabilities = ortc.router_capabilities(media_codecs)
        handle = self.next_handle()
        await self.channel.request(
            {"type": "create_router", "router": handle}, undo={"type": "close_router", "router": handle}
        )
        if not self.alive:
            # its death was read together with the answer: the router would not be notified of it any more
            raise WorkerDiedError(f"worker {self.index} died")
        router = Router(self, handle=handle, rtp_capabilities=capabilities, rng=self._rng)
        self._routers[handle] = router
        return router

    async def fetch_stats(self) -> WorkerStats:
        """Have the totals taken now.

        Raises:
            WorkerDiedError: The worker is dead.
        """
        self.stats = WorkerStats.read(await self.channel.request({"type": "stats"}))
        return self.stats

    async def panic(self, *, transport: tuple[int, int] | None = None) -> None:
        """Have it panic, or the handling of one transport's input; for tests.

        Raises:
            InvalidStateError: It was started without ``allow_panic``.
        """
        try:
            await self.channel.request({"type": "panic", "transport": transport})
        except WorkerDiedError:
            if transport is not None:
                raise

    async def inject_faults(self, seed: int, faults: Sequence[Mapping[str, object]]) -> None:
        """Replace the faults that media on its way to receivers goes through; none end them.

        Raises:
            InvalidStateError: It was started without ``allow_faults``.
            InvalidRequestError: A fault can never act; the message names the field.
        """
        await self.channel.request({"type": "inject_faults", "seed": seed, "faults": list(faults)})

    async def fault_log(self) -> Mapping[str, object]:
        """Return what the faults did since they were injected, as the core lists it."""
        return await self.channel.request({"type": "fault_log"})

    def next_handle(self) -> int:
        """Return a number the core does not know yet; for the objects it carries."""
        self._last_handle += 1
        return self._last_handle

    def forget_router(self, router: Router) -> None:
        """Let go of a closed router; for the router."""
        self._routers.pop(router.handle, None)

    def close(self) -> None:
        """Close its routers, stop the thread and wait for it, a few milliseconds. Idempotent."""
        for router in self.routers:
            router.close("worker closed")
        self.channel.close()

    def _on_event(self, event: Event) -> None:
        match event:
            case Ready():
                if not self._ready.done():
                    self._ready.set_result(event)
            case StatsTaken():
                self.stats = event.stats
            case Died():
                self._on_died(event.message)
            case Reply():
                raise AssertionError("invariant: the channel keeps replies to itself")
            case _:
                if router := self._routers.get(event.router):
                    router.handle_event(event)

    def _on_died(self, message: str) -> None:
        logger.error("died: %s", message, extra=log_ids(worker=self.index))
        if not self._ready.done():
            self._ready.set_exception(StartError(f"worker {self.index} died at start: {message}"))
        for router in self.routers:
            router.end("worker died")
        self.died.emit(self, message)


class WorkerPool:
    """Start workers, spread routers over them in turn, and replace the dead.

    Made by :meth:`start`; owns its workers. Close it, or use it as an asynchronous context manager.

    Example:
        ```python
        settings = WorkerSettings(certificate=Certificate.generate(SystemClock()), size=1, base_port=0)
        async with await WorkerPool.start(settings) as pool:
            async with await pool.create_router(DEFAULT_MEDIA_CODECS) as router:
                transport = await router.create_webrtc_transport()
                assert transport.ice_candidates[0].port == pool.workers[0].port
        ```
    """

    worker_died: Signal[[int, str]]
    """Index and message, after the worker's routers have closed and before it is replaced."""
    deaths: int
    """Workers that died since the start."""

    def __init__(self, settings: WorkerSettings, *, clock: Clock, rng: random.Random) -> None:
        self.settings = settings
        self.worker_died = Signal()
        self.deaths = 0
        self._clock = clock
        self._rng = rng
        self._workers: dict[int, Worker] = {}
        self._started_s: dict[int, float] = {}
        self._turn = 0
        self._closed = False
        self._dead: asyncio.Queue[Worker] = asyncio.Queue()
        self._keeper: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, settings: WorkerSettings, *, clock: Clock | None = None, rng: random.Random | None = None
    ) -> "WorkerPool":
        """Start all workers; either all run or none.

        Raises:
            StartError: One could not be started; the message says why.
        """
        pool = cls(settings, clock=clock or SystemClock(), rng=rng or random.SystemRandom())
        try:
            for index in range(pool.size):
                await pool._start_worker(index)
        except BaseException:
            await pool.close()
            raise
        pool._keeper = asyncio.create_task(pool._keep_alive(), name="worker-keeper")
        return pool

    @property
    def size(self) -> int:
        """How many workers there should be."""
        return self.settings.size or len(os.sched_getaffinity(0))

    @property
    def workers(self) -> Sequence[Worker]:
        """The workers that live, by index."""
        return tuple(self._workers[index] for index in sorted(self._workers))

    @property
    def healthy(self) -> bool:
        """Return whether no worker is missing."""
        return len(self._workers) == self.size and not self._closed

    async def create_router(self, media_codecs: Iterable[RtpCodecCapability]) -> Router:
        """Open the forwarding table of a call on the next worker in turn.

        Raises:
            UnsupportedCodecError: A codec is none the media core forwards.
            InvalidRequestError: The codecs contradict each other.
            UnavailableError: No worker lives just now.
        """
        codecs = tuple(media_codecs)
        for _ in range(self.size + 1):
            worker = self._next_worker()
            try:
                return await worker.create_router(codecs)
            except WorkerDiedError:
                continue
        raise UnavailableError("workers die faster than they are replaced")

    async def panic(self, index: int) -> None:
        """Kill a worker; for tests of pools started with ``allow_panic``.

        Raises:
            InvalidStateError: They were started without.
            UnavailableError: There is no such worker.
        """
        worker = self._workers.get(index)
        if worker is None:
            raise UnavailableError(f"there is no worker {index}")
        await worker.panic()

    def stats(self) -> Mapping[int, WorkerStats]:
        """Return the last totals of each worker, at most a second old."""
        return {worker.index: worker.stats for worker in self.workers}

    async def close(self) -> None:
        """Close all workers and their routers. Idempotent."""
        self._closed = True
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        workers, self._workers = self.workers, {}
        for worker in workers:
            worker.close()
        while not self._dead.empty():
            self._dead.get_nowait().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _next_worker(self) -> Worker:
        workers = [worker for worker in self.workers if worker.alive]
        if not workers:
            raise UnavailableError("no worker lives just now; one is being started, try again")
        # In turn by index, so that the order does not change when one is missing for a while.
        worker = next((item for item in workers if item.index >= self._turn), workers[0])
        self._turn = worker.index + 1
        return worker

    async def _start_worker(self, index: int) -> None:
        worker = await Worker.start(self.settings, index, rng=self._rng)
        worker.died.subscribe(self._on_died)
        self._workers[index] = worker
        self._started_s[index] = self._clock.monotonic_s()
        logger.info(
            "ready, process %d, addresses %s",
            worker.pid,
            ", ".join(worker.addresses),
            extra=log_ids(worker=index),
        )
        if not worker.alive:
            self._on_died(worker, "it died at once")

    def _on_died(self, worker: Worker, message: str) -> None:
        if self._workers.get(worker.index) is not worker:
            return
        del self._workers[worker.index]
        self.deaths += 1
        self._dead.put_nowait(worker)
        self.worker_died.emit(worker.index, message)

    async def _keep_alive(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                dead = await self._dead.get()
                group.create_task(self._replace(dead))

    async def _replace(self, dead: Worker) -> None:
        attempt = 0
        if (
            self._clock.monotonic_s() - self._started_s.get(dead.index, 0.0) < SHORT_LIFE_S
            and self.deaths > 1
        ):
            await asyncio.sleep(RESTART_DELAYS_S[0])
        while True:
            try:
                # The thread has ended already or is about to; its port is free afterwards.
                await asyncio.to_thread(dead.channel.close)
                await self._start_worker(dead.index)
            except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                # Whatever it was, a panic of the native module included, which is no Exception: ended by it, the
                # keeper would replace no worker any more.
                delay_s = RESTART_DELAYS_S[min(attempt, len(RESTART_DELAYS_S) - 1)]
                logger.error(
                    "cannot be replaced, next try in %.1f s: %s: %s",
                    *(delay_s, type(error).__name__, error),
                    extra=log_ids(worker=dead.index),
                    exc_info=None if isinstance(error, MeeshyError | OSError) else error,
                )
                attempt += 1
                await asyncio.sleep(delay_s)
            else:
                return
