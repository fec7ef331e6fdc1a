"""``meeshy ports``: says which ports to open in a firewall, by name and purpose."""

import os

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.config import Settings


@with_settings(
    [
        "host",
        "port",
        "gateway_port",
        "workers",
        "rtc_listen_ips",
        "announced_ip",
        "rtc_min_port",
        "rtc_max_port",
        "udp",
        "tcp",
    ]
)
def ports(*, settings: Settings) -> None:
    """List the ports this configuration listens on, one per line: protocol, port, address, purpose."""
    for protocol, port, address, purpose in listed_ports(settings):
        console.line(f"{protocol}\t{port}\t{address}\t{purpose}")


def listed_ports(settings: Settings) -> list[tuple[str, str, str, str]]:
    """List every port that is listened on."""
    scheme = "https, wss" if settings.tls_cert else "http, ws"
    rows = [
        ("tcp", _shown(settings.port), settings.host, f"media server: REST and Socket.IO ({scheme})"),
        ("tcp", _shown(settings.gateway_port), settings.host, f"gateway: REST and Socket.IO ({scheme})"),
    ]
    count = settings.worker_count(len(os.sched_getaffinity(0)))
    for index in range(count):
        port = _shown(settings.rtc_min_port and settings.rtc_min_port + index)
        for address in settings.media_ips:
            for protocol, on in (("udp", settings.udp), ("tcp", settings.tcp)):
                if on:
                    rows.append((protocol, port, address, f"media, worker {index}"))
    return rows


def _shown(port: int) -> str:
    return str(port) if port else "any free"
