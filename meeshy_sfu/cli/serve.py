"""``meeshy serve``: the stack under a supervisor, or one service of it in this process.

Reads settings and starts; what the services do is in server/ and gateway/.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import as_environment, with_settings
from meeshy_sfu.cli.supervisor import Service, ServiceFailedError, Supervisor, SupervisorLink
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.errors import StartError
from meeshy_sfu.free_ports import free_ports
from meeshy_sfu.lock_file import hold_state
from meeshy_sfu.log import start_logging, stop_logging

BOTS_END_S = 1.0
"""How long bots may take to leave; nothing is lost when they are killed."""
PID_DIRECTORY = "run"
"""Below the state directory: `media.pid` and `gateway.pid` while `meeshy serve` runs."""

app = typer.Typer(help="Start the media server, the gateway, or both under a supervisor.")


@app.callback(invoke_without_command=True)
@with_settings()
def serve(context: typer.Context, *, settings: Settings) -> None:
    """Run all services as child processes, restarted when they die; `serve media` and `serve gateway` run one here."""
    # a second one would take the first one's pid files and logs
    state = hold_state(settings.state_dir, "serve")
    _start_logging(settings, "supervisor")
    # both have to agree on it, also where it is made for development
    signing_secret(settings)
    if settings.port == 0 and not settings.media_server_urls:
        # the gateway has to know where the media server will be
        settings = settings.model_copy(update={"port": _free_port(settings.host)})
    if settings.gateway_port == 0:
        # clients come back to where the gateway was before it died
        settings = settings.model_copy(update={"gateway_port": _free_port(settings.host)})
    services = [
        Service(
            name,
            ("serve", name),
            as_environment(settings),
            shutdown_timeout_s=settings.shutdown_timeout_s + 0.5,
        )
        for name in ("media", "gateway")
    ]
    if settings.bots:
        services.append(Service("bots", ("serve", "bots"), as_environment(settings), BOTS_END_S, vital=False))
    try:
        uvloop.run(_supervise(services, settings))
    except ServiceFailedError as error:
        console.notice(f"error: {error.message}")
        raise typer.Exit(error.exit_code if error.exit_code > 0 else console.EXIT_ERROR) from None
    finally:
        stop_logging()
        state.close()


@app.command()
@with_settings()
def media(
    *,
    settings: Settings,
    port_file: Annotated[
        Path | None,
        typer.Option("--port-file", help="Write the URL here once the server takes calls; for tools."),
    ] = None,
) -> None:
    """Run the media server in this process: REST, Socket.IO and the media workers."""
    # imported only here, so that `meeshy doctor` can say that the media core is missing
    from meeshy_sfu.server.app import run_media_server  # noqa: PLC0415
    from meeshy_sfu.server.banner import banner  # noqa: PLC0415

    link = _link(settings)
    _start_logging(settings, "media")

    def ready(url: str, addresses: Sequence[str]) -> None:
        _tell_ready(banner(settings, url, addresses, SystemClock()), url, port_file, link)

    try:
        uvloop.run(run_media_server(settings, on_ready=ready))
    finally:
        stop_logging()


@app.command()
@with_settings()
def gateway(
    *,
    settings: Settings,
    port_file: Annotated[
        Path | None,
        typer.Option("--port-file", help="Write the URL here once the gateway takes calls; for tools."),
    ] = None,
) -> None:
    """Run the call gateway in this process: REST, Socket.IO and the database."""
    # imported only here, so that `meeshy serve media` needs no database
    from meeshy_sfu.gateway.app import run_gateway  # noqa: PLC0415
    from meeshy_sfu.gateway.banner import banner  # noqa: PLC0415

    link = _link(settings)
    _start_logging(settings, "gateway")

    def ready(url: str) -> None:
        _tell_ready(banner(settings, url, SystemClock()), url, port_file, link)

    try:
        uvloop.run(run_gateway(settings, on_ready=ready))
    finally:
        stop_logging()


@app.command()
@with_settings()
def bots(*, settings: Settings) -> None:
    """Run the bots of `meeshy serve --bots N` in this process, beside a gateway that runs already."""
    from meeshy_sfu.cli.simulate import errors_shown  # noqa: PLC0415

    link = _link(settings)
    _start_logging(settings, "bots")
    try:
        with errors_shown(as_json=False):
            uvloop.run(_run_bots(settings, link))
    finally:
        stop_logging()
    # nothing is left to be done, and taking down all that the simulator loads takes longer than all the rest
    os._exit(console.EXIT_PASS)


async def _run_bots(settings: Settings, link: SupervisorLink | None) -> None:
    # imported only here, so that no other command needs the simulator's extra
    from meeshy_sfu.gateway.banner import DEMO_CONVERSATION  # noqa: PLC0415
    from simulator.bots.clip import CACHE  # noqa: PLC0415
    from simulator.runs.demo_bots import DemoBots, Place  # noqa: PLC0415

    place = Place(
        settings.gateway_url,
        signing_secret(settings),
        DEMO_CONVERSATION.id,
        bind=settings.media_ips[0],
        cache=settings.state_dir / CACHE,
    )
    running = asyncio.ensure_future(
        DemoBots(place, settings.bots).run(on_ready=lambda: None if link is None else link.ready())
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _free_port(host: str) -> int:
    try:
        return free_ports(1, host)[0]
    except StartError:
        # the service says what is wrong with the address
        return 0


def _link(settings: Settings) -> SupervisorLink | None:
    link = SupervisorLink.from_environment(os.environ)
    if link is not None:
        link.watch(exit_after_s=settings.shutdown_timeout_s + 1.0)
    return link


def _tell_ready(lines: Sequence[str], url: str, port_file: Path | None, link: SupervisorLink | None) -> None:
    if link is not None:
        link.ready()
    if port_file is not None:
        scratch = port_file.with_name(f".{port_file.name}.{os.getpid()}")
        scratch.write_text(url + "\n", encoding="ascii")
        scratch.replace(port_file)
    console.line("\n".join(lines))


async def _supervise(services: list[Service], settings: Settings) -> None:
    supervisor = Supervisor(
        services, standby=settings.standby, pid_directory=settings.state_dir / PID_DIRECTORY
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()


def _start_logging(settings: Settings, name: str) -> None:
    secrets = [
        secret.get_secret_value()
        for secret in (
            settings.jwt_secret,
            settings.metrics_token,
            settings.turn_secret,
            settings.database_url,
        )
        if secret is not None
    ]
    start_logging(
        level=settings.log_level,
        json_lines=settings.log_format == "json",
        file=settings.state_dir / "logs" / f"{name}.log" if settings.log_to_file else None,
        max_bytes=settings.log_max_bytes,
        keep=settings.log_keep,
        secrets=secrets,
        threaded=True,
    )
