"""``meeshy doctor``: looks at this machine and says what would keep calls from working, and the remedy.

Only looks: opens and closes sockets, asks the TURN servers that are configured, changes nothing.
"""

import asyncio
import contextlib
import importlib
import importlib.metadata
import importlib.util
import ipaddress
import os
import platform
import re
import resource
import secrets
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from meeshy_sfu import __version__
from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.cli.ports import listed_ports
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.token_signing import sign_invite
from meeshy_sfu.errors import ConfigError
from meeshy_sfu.private_files import OTHERS

SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
WANTED_BUFFER_BYTES = 4_000_000
WANTED_FILES = 4096
WANTED_DISK_BYTES = 100_000_000
"""Enough for rotated logs, a database and a few runs."""
SLOW_CLOCK_NS = 1000
CHECK_LINK_S = 3600.0
"""How long the link of `--client` can be opened."""
_ORIGIN = re.compile(r"https?://[^/\s#?]+/?")
RENEW_S = 14 * 86_400
"""A certificate that ends sooner should have been renewed by now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    status: Literal["ok", "note", "warn", "fail"]
    found: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


@with_settings()
def doctor(
    *,
    settings: Settings,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    client: Annotated[
        bool,
        typer.Option(
            "--client", help="Print a link to a page that checks the way of its browser; check nothing here."
        ),
    ] = False,
    origin: Annotated[
        str | None,
        typer.Option(
            "--origin", help="With --client: where browsers reach the gateway, as https://calls.example.org."
        ),
    ] = None,
) -> None:
    """Check versions, kernel, sockets, ports, clock, TURN and optional parts; exit with 1 if one must change."""
    if origin is not None and not (client and _ORIGIN.fullmatch(origin)):
        raise typer.BadParameter("--origin goes with --client and is like https://calls.example.org")
    if client:
        _print_client_link(settings, origin)
        return
    findings = [finding for check in CHECKS for finding in check(settings)]
    if json:
        console.data([asdict(finding) for finding in findings])
    else:
        console.table(
            "meeshy doctor",
            ("topic", "", "found", "remedy"),
            [(f.topic, f.status, f.found, f.remedy) for f in findings],
        )
    if any(finding.status == "fail" for finding in findings):
        raise typer.Exit(console.EXIT_ERROR)


def _print_client_link(settings: Settings, origin: str | None) -> None:
    """Print the link to the page of checks, with an invite to a conversation that no call of users is in."""
    # imported only here, as doctor also runs where the gateway's parts are missing
    from meeshy_sfu.gateway.banner import link  # noqa: PLC0415

    if not settings.takes_invites:
        raise ConfigError("the page of checks is opened by an invite, and invites is off; set it to true")
    invite = sign_invite(
        secret=signing_secret(settings),
        now_s=SystemClock().unix_s(),
        lifetime_s=min(CHECK_LINK_S, settings.max_token_lifetime_s),
        conversation_id=f"check-{secrets.token_hex(8)}",
        kind="GROUP",
    )
    console.line(link((origin or settings.gateway_url).rstrip("/"), invite, "/check"))


def versions(settings: Settings) -> Iterator[Finding]:
    """Look at our own parts."""
    yield Finding("meeshy", "ok", f"{__version__}, Python {platform.python_version()}, {sys.platform}")
    try:
        profile = str(importlib.import_module("meeshy_sfu._core").BUILD_PROFILE)
    except ImportError as error:
        yield Finding("media core", "fail", f"not importable: {error}", "build it: make setup, or uv sync")
    else:
        slow = profile not in {"release", "dist"}
        yield Finding(
            "media core",
            "warn" if slow else "ok",
            f"{profile} build",
            "measure nothing with it; build with uv sync --reinstall-package meeshy-sfu" if slow else "",
        )
    yield Finding("kernel", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    cores = len(os.sched_getaffinity(0))
    yield Finding("cores", "ok", f"{cores}, so {settings.worker_count(cores)} media workers")


def kernel_sending(settings: Settings) -> Iterator[Finding]:
    """Look at what the kernel can do for UDP."""
    for name, option, effect in (
        ("UDP GSO", UDP_SEGMENT, "sending costs several times the CPU"),
        ("UDP GRO", UDP_GRO, "receiving costs more CPU"),
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.setsockopt(SOL_UDP, option, 1 if option == UDP_GRO else 1200)
            except OSError as error:
                remedy = "use Linux 5.0 or later; calls work without"
                yield Finding(name, "warn", f"refused ({error.strerror}); {effect}", remedy)
            else:
                yield Finding(name, "ok", "supported")


def socket_buffers(settings: Settings) -> Iterator[Finding]:
    """Look at how large a socket buffer may be."""
    for name, option, key in (
        ("receive buffer", socket.SO_RCVBUF, "rmem_max"),
        ("send buffer", socket.SO_SNDBUF, "wmem_max"),
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, option, WANTED_BUFFER_BYTES)
            # the kernel doubles what it grants, for its own book-keeping
            granted = probe.getsockopt(socket.SOL_SOCKET, option) // 2
        enough = granted >= WANTED_BUFFER_BYTES
        remedy = "" if enough else f"bursts may be lost: sysctl -w net.core.{key}={WANTED_BUFFER_BYTES}"
        yield Finding(name, "ok" if enough else "warn", f"{granted} bytes", remedy)


def open_files(settings: Settings) -> Iterator[Finding]:
    """Look at the limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    status: Literal["ok", "warn"] = "ok" if soft >= WANTED_FILES else "warn"
    remedy = "" if status == "ok" else f"every client takes one: ulimit -n {WANTED_FILES}"
    yield Finding("open files", status, f"{soft} of at most {hard}", remedy)


def free_ports(settings: Settings) -> Iterator[Finding]:
    """Look whether the ports of this configuration can be had."""
    taken = []
    rows = listed_ports(settings)
    for protocol, port, address, purpose in rows:
        if not port.isdigit():
            continue
        problem = _cannot_bind(protocol, int(port), address)
        if problem:
            taken.append(f"{protocol}/{port} on {address} ({purpose}): {problem}")
    if taken:
        remedy = "stop what holds them (ss -lntup shows it), or change port, gateway_port, rtc_min_port, host, rtc_listen_ips"
        yield Finding("ports", "fail", "; ".join(taken), remedy)
    else:
        yield Finding("ports", "ok", f"{len(rows)} free")


def _cannot_bind(protocol: str, port: int, address: str) -> str | None:
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    try:
        family, _, _, _, target = socket.getaddrinfo(address, port, type=kind)[0]
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        return error.strerror or str(error)
    return None


def clock(settings: Settings) -> Iterator[Finding]:
    """Look at how fast and how good the clock is."""
    began = time.perf_counter_ns()
    for _ in range(10_000):
        time.monotonic_ns()
    cost_ns = (time.perf_counter_ns() - began) // 10_000
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    name = source.read_text(encoding="ascii").strip() if source.is_file() else "unknown source"
    slow = cost_ns > SLOW_CLOCK_NS
    remedy = (
        "every packet reads it: boot with clocksource=tsc if the machine has a stable one" if slow else ""
    )
    yield Finding("clock", "warn" if slow else "ok", f"{name}, {cost_ns} ns a reading", remedy)


def state_directory(settings: Settings) -> Iterator[Finding]:
    """Look whether certificates and logs can be written."""
    directory = settings.state_dir.absolute()
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    try:
        # tried, because permissions do not tell of read-only and special file systems
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        found = f"cannot write {existing}: {error.strerror}"
        yield Finding("state directory", "fail", found, "set MEESHY_STATE_DIR to a writable one")
        return
    if free < WANTED_DISK_BYTES:
        found = f"{free // 1_000_000} MB are left for {directory}"
        yield Finding("state directory", "warn", found, "make room, or set MEESHY_STATE_DIR to another disk")
    elif directory.exists() and directory.stat().st_mode & OTHERS:
        found = f"{directory} can be entered by other users of this machine"
        yield Finding("state directory", "warn", found, f"chmod 700 {directory}")
    else:
        yield Finding("state directory", "ok", str(directory))


def tls(settings: Settings) -> Iterator[Finding]:
    """Look at the certificate for HTTPS."""
    if settings.tls_cert is None or settings.tls_key is None:
        if not settings.is_loopback and not settings.trusted_proxies:
            remedy = "browsers give cameras to HTTPS pages only: set tls_cert and tls_key, or use a proxy"
            yield Finding("TLS", "note", "off", remedy)
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
        chain = settings.tls_cert.read_text(encoding="ascii").count("BEGIN CERTIFICATE")
    except (OSError, ssl.SSLError, UnicodeDecodeError) as error:
        yield Finding("TLS", "fail", f"cannot use {settings.tls_cert}: {error}", "check tls_cert and tls_key")
        return
    remedy = (
        "" if chain > 1 else "if a CA issued it, append its intermediate: phones refuse incomplete chains"
    )
    yield Finding(
        "TLS", "ok" if chain > 1 else "note", f"{chain} certificate(s) in {settings.tls_cert}", remedy
    )
    yield _validity(settings.tls_cert)


def _validity(path: Path) -> Finding:
    # imported only here: it takes longer to load than the other commands take in all
    from cryptography import x509  # noqa: PLC0415

    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    now_s = time.time()
    topic, found = "TLS validity", f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    if now_s < begin.timestamp():
        return Finding(topic, "fail", found, "not valid yet, so clients refuse it: set this machine's clock")
    if now_s >= end.timestamp():
        return Finding(topic, "fail", found, "expired, so clients refuse it: renew it and start again")
    if end.timestamp() - now_s < RENEW_S:
        return Finding(topic, "warn", found, "ends soon: renew it and start again")
    return Finding(topic, "ok", found)


def turn(settings: Settings) -> Iterator[Finding]:
    """Try each STUN and TURN server as a client would, all at once."""
    if not settings.turn_servers:
        if not settings.is_loopback:
            remedy = "clients behind strict firewalls cannot call without: set turn_servers and turn_secret"
            yield Finding("TURN", "note", "no server configured", remedy)
        return
    # imported only here: its STUN library takes longer to load than the other commands take in all
    from meeshy_sfu.gateway.turn.ice_servers import IceServerError, parse_server  # noqa: PLC0415
    from meeshy_sfu.gateway.turn.probe import Credentials, Verdict, probe  # noqa: PLC0415

    urls: list[str] = []
    for entry in settings.turn_servers:
        try:
            urls += parse_server(entry)
        except IceServerError as error:
            yield Finding("TURN", "fail", str(error), "correct turn_servers")
    credentials = None
    if settings.turn_secret is not None:
        secret = settings.turn_secret.get_secret_value()
        credentials = Credentials(secret, time.time(), settings.turn_credential_ttl_s)
    elif any(url.startswith("turn") for url in urls):
        remedy = "set MEESHY_TURN_SECRET to the static-auth-secret of the servers"
        yield Finding("TURN", "fail", "without turn_secret no client is sent a TURN server", remedy)
        urls = [url for url in urls if url.startswith("stun")]

    async def ask() -> list[Verdict]:
        peers = _media_addresses(settings)
        return await asyncio.gather(*(probe(url, credentials, peers=peers) for url in urls))

    for url, verdict in zip(urls, asyncio.run(ask()), strict=True):
        yield Finding(url, verdict.status, verdict.found, verdict.remedy)


def _media_addresses(settings: Settings) -> tuple[str, ...]:
    """List the addresses clients reach our own media server at, which a TURN server must not forbid."""
    if settings.media_server_urls:
        return ()  # on other machines; their addresses are not known here
    told = (settings.announced_ip,) if settings.announced_ip else settings.media_ips
    addresses = []
    for name in told:
        with contextlib.suppress(ValueError):  # a name, which only clients resolve
            addresses.append(ipaddress.ip_address(name))
    return tuple(str(address) for address in addresses if not address.is_unspecified)


def optional_parts(settings: Settings) -> Iterator[Finding]:
    """Look for what only some commands need."""
    for module, distribution, purpose, remedy in (
        ("aiortc", "aiortc", "bots that decode", "pip install 'meeshy-sfu[sim]'"),
        ("pandas", "pandas", "reports", "pip install 'meeshy-sfu[sim]'"),
    ):
        if importlib.util.find_spec(module) is None:
            yield Finding(module, "note", f"not installed ({purpose})", remedy)
        else:
            yield Finding(module, "ok", importlib.metadata.version(distribution))
    for program, purpose, remedy in (
        ("chromium", "tests with a browser", "apt install chromium"),
        ("node", "tests with a browser", "apt install nodejs npm"),
    ):
        path = shutil.which(program)
        yield (
            Finding(program, "ok", path)
            if path
            else Finding(program, "note", f"not installed ({purpose})", remedy)
        )


CHECKS: tuple[Check, ...] = (
    versions,
    kernel_sending,
    socket_buffers,
    open_files,
    free_ports,
    clock,
    state_directory,
    tls,
    turn,
    optional_parts,
)
