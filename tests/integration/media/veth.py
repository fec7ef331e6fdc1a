"""Two network namespaces with a pair of interfaces between them, and what the kernel counts there.

Run as root of a user namespace (`unshare --user --map-root-user --net`). Threads and sockets stay in the namespace that
their maker was in.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

NEWNET = 0x4000_0000
SIOCETHTOOL = 0x8946
GET_STRINGS, GET_SET_INFO, SET_FEATURES = 0x1B, 0x37, 0x3B
FEATURES = 4
NAME_BYTES = 32
HEADERS = 14 + 20 + 8
"""Of Ethernet, IPv4 and UDP, which an interface counts with each datagram."""
SERVER, CLIENTS = "10.99.0.1", "10.99.0.2"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets and bytes that an interface received and sent."""

    bytes_in: int
    packets_in: int
    bytes_out: int
    packets_out: int


class Namespaces:
    """The namespace of the server, where the process begins, and one for its clients."""

    def __init__(self) -> None:
        self._server = os.open("/proc/self/ns/net", os.O_RDONLY)
        _check(_libc.unshare(NEWNET))
        self._clients = os.open("/proc/self/ns/net", os.O_RDONLY)
        # its child is in the clients' namespace, its parent still in the server's
        _ip("link", "add", "clients", "type", "veth", "peer", "name", "server", "netns", str(os.getppid()))
        self._set_up("clients", CLIENTS)
        self.enter_server()
        self._set_up("server", SERVER)

    def enter_server(self) -> None:
        """Make what follows in the server's namespace."""
        _check(_libc.setns(self._server, NEWNET))

    def enter_clients(self) -> None:
        """Make what follows in the clients' namespace."""
        _check(_libc.setns(self._clients, NEWNET))

    def counted(self) -> Counted:
        """Read what the server's interface has counted."""
        self.enter_server()
        text = Path(f"/proc/self/task/{os.getpid()}/net/dev").read_text(encoding="ascii")
        line = next(line for line in text.splitlines() if line.strip().startswith("server:"))
        values = [int(value) for value in line.split(":")[1].split()]
        return Counted(values[0], values[1], values[8], values[9])

    def _set_up(self, name: str, address: str) -> None:
        # no datagrams of its own: neither neighbours nor routers are looked for
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1", encoding="ascii")
        _cut_trains(name)
        _ip("address", "add", f"{address}/24", "dev", name)
        _ip("link", "set", name, "up")


def _cut_trains(interface: str) -> None:
    """Have trains cut into datagrams before the interface counts them, as a network card has them cut."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:

        def ask(request: bytes) -> bytes:
            buffer = ctypes.create_string_buffer(request, len(request))
            pointer = struct.pack("16sP", interface.encode(), ctypes.addressof(buffer)).ljust(40, b"\0")
            fcntl.ioctl(asked, SIOCETHTOOL, pointer)
            return buffer.raw

        (number,) = struct.unpack_from("I", ask(struct.pack("IIQI", GET_SET_INFO, 0, 1 << FEATURES, 0)), 16)
        strings = ask(struct.pack("III", GET_STRINGS, FEATURES, number) + bytes(NAME_BYTES * number))[12:]
        names = [
            strings[at : at + NAME_BYTES].split(b"\0")[0].decode()
            for at in range(0, NAME_BYTES * number, NAME_BYTES)
        ]
        at = names.index("tx-udp-segmentation")
        blocks = [[0, 0] for _ in range((number + 31) // 32)]
        blocks[at // 32][0] = 1 << at % 32
        values = [value for block in blocks for value in block]
        ask(struct.pack(f"II{len(values)}I", SET_FEATURES, len(blocks), *values))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
