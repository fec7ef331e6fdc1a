"""A service as a process: it listens, runs until it is stopped, and is certain to end then."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, Self, TypeVar

from aiohttp import web, web_response

from meeshy_sfu.config import Settings
from meeshy_sfu.edge.connections import Acceptor
from meeshy_sfu.edge.descriptors import raise_limit
from meeshy_sfu.edge.http_protocol import Runner
from meeshy_sfu.edge.loop_lag import LoopLag
from meeshy_sfu.edge.metrics import EdgeMetrics
from meeshy_sfu.errors import (
    AddressUnavailableError,
    BindPermissionError,
    CertificateError,
    PortInUseError,
    StartError,
)

FORCED_EXIT_S = 0.7
"""How long after shutdown_timeout_s the process ends by force; with the default, within 5 s in all."""
SECOND_SIGNAL_EXIT = 130
BACKLOG = 512
"""Connections that wait to be accepted."""

# aiohttp names itself, Python and both versions in every answer, also in those to requests it cannot read,
# which no hook of an application sees
vars(web_response)["SERVER_SOFTWARE"] = "meeshy"

logger = logging.getLogger(__name__)


class Service(Protocol):
    """What runs until it is closed."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def close(self) -> None:
        """End in order. Idempotent."""


ServiceT = TypeVar("ServiceT", bound=Service)


async def run_until_stopped(
    start: Callable[[], Awaitable[ServiceT]], settings: Settings, *, on_ready: Callable[[ServiceT], None]
) -> None:
    """Start a service and run it until SIGINT, SIGTERM or SIGHUP; a second one ends the process at once.

    Raises:
        StartError: It could not start.
    """
    stop = asyncio.Event()
    raise_limit()
    with _signals(stop):
        async with await start() as service:
            _spare_collector()
            on_ready(service)
            await stop.wait()
            logger.info("shutting down; a second signal ends at once")
            _exit_by_force_after(settings.shutdown_timeout_s + FORCED_EXIT_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.shutdown_timeout_s):
                    await service.close()
    logger.info("stopped")


class Listener:
    """The HTTP side of a service on one port."""

    def __init__(self, settings: Settings, metrics: EdgeMetrics) -> None:
        self._settings = settings
        self._runner: Runner | None = None
        self._sockets: list[socket.socket] = []
        self._acceptor = Acceptor(settings, metrics)
        self._lag = LoopLag(metrics.loop_lag.observe)

    def reserve(self, port: int, *, setting: str = "port") -> None:
        """Take the port; whoever connects waits for :meth:`open`. For what must not be done twice at once.

        Args:
            port: Where to listen; 0 takes a free one.
            setting: The one the port comes from, for the remedy.

        Raises:
            StartError: The port cannot be listened on; the message says why and what to do.
        """
        host = self._settings.host
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, kind, protocol, _, address in dict.fromkeys(found):
                one = socket.socket(family, kind, protocol)
                self._sockets.append(one)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                one.bind(address)
                one.listen(BACKLOG)
        except OSError as error:
            self._release()
            raise _listen_error(error, host, port, setting) from error

    async def open(self, app: web.Application, port: int, tls: ssl.SSLContext | None) -> str:
        """Answer, and give the URL; with port 0 it names the port that was given.

        Raises:
            StartError: The port was not reserved and cannot be listened on.
        """
        if not self._sockets:
            self.reserve(port)
        self._runner = runner = Runner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=0.5,
            keepalive_timeout=self._settings.keepalive_s,
        )
        await runner.setup()
        if runner.server is None:
            raise StartError("the HTTP server was closed before it had started")
        self._acceptor.start(runner.server, self._sockets, tls)
        host = self._settings.host
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if tls else 'http'}://{shown}:{self._sockets[0].getsockname()[1]}"
        logger.info("listening on %s", url)
        self._lag.start()
        return url

    async def close(self) -> None:
        """Stop listening and end connections. Idempotent."""
        self._lag.close()
        await self._acceptor.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        self._release()

    def _release(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets.clear()


def _spare_collector() -> None:
    """Keep the garbage collector off what lives as long as the process, and rarer on the rest.

    A join storm makes many objects that stay; looking through them again and again was a fifth of its CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(SECOND_SIGNAL_EXIT)
        stop.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _exit_by_force_after(seconds: float) -> None:
    """End the process even if the event loop hangs; a thread, because only that is certain to run."""
    timer = threading.Timer(seconds, os._exit, args=(1,))
    timer.daemon = True
    timer.start()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS set-up, or None for plain HTTP.

    Raises:
        CertificateError: The files cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or error.args[-1]
        raise CertificateError(
            f"cannot use tls_cert {settings.tls_cert} with tls_key {settings.tls_key}: {reason}; "
            "both must be readable PEM files that belong together"
        ) from None
    return context


def _listen_error(error: OSError, host: str, port: int, setting: str) -> StartError:
    where = f"port {port} on {host}"
    match error.errno:
        case errno.EADDRINUSE:
            return PortInUseError(
                f"{where} is taken; stop what holds it (ss -lntp shows it) or set another with "
                f"--{setting.replace('_', '-')} or MEESHY_{setting.upper()}"
            )
        case errno.EACCES | errno.EPERM:
            return BindPermissionError(
                f"not allowed to listen on {where}; take one from 1024 up, "
                "or give the service CAP_NET_BIND_SERVICE"
            )
        case errno.EADDRNOTAVAIL:
            return AddressUnavailableError(
                f"{host} is no address of this machine (ip addr shows them); set another with --host"
            )
        case _:
            return StartError(f"cannot listen on {where}: {error.strerror or error}")
