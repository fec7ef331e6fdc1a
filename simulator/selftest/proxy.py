"""A UDP proxy between all bots and the server, in a process of its own, that applies the faults of a network.

Decisions are made in datagrams.py; this moves datagrams and notes what happened to each. Commands come on standard input, one
JSON object a line, and each is answered by a line: ``{"arm": [faults], "seed": 1}`` and ``{"disarm": "FILE"}``, which
writes the log. Without faults it passes everything on.
"""

from __future__ import annotations

import heapq
import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from simulator.selftest.datagrams import Direction, Schedule, from_plain, read_header

LOG_COLUMNS = ("at_ns", "direction", "leg", "media", "ssrc", "sequence", "timestamp", "fault", "sent_ns")
"""Of the log: one row for each RTP and RTCP datagram since the faults were armed; `sent_ns` 0: never passed on."""
_DATAGRAM = 2048
_AT_ONCE = 64
_BUFFER = 4 << 20
_SO_RCVBUFFORCE = 33

Address = tuple[str, int]
Row = list[object]


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    """A datagram that is passed on later."""

    due_ns: int
    order: int
    by: socket.socket = field(compare=False)
    to: Address | None = field(compare=False)
    """None: by a connected socket."""
    datagram: bytes = field(compare=False)
    row: Row | None = field(compare=False)
    """Where the log says when it was passed on."""

    def send(self) -> None:
        """Pass it on, and write down when."""
        try:
            if self.to is None:
                self.by.send(self.datagram)
            else:
                self.by.sendto(self.datagram, self.to)
        except (BlockingIOError, ConnectionRefusedError):
            # As on a network: what there is no room for, or nobody to receive, is lost.
            return
        if self.row is not None:
            self.row[-1] = time.time_ns()


class Proxy:
    """Passes datagrams on between clients at `front` and the server at `back`; one socket to the server per client."""

    def __init__(self, front: Address, back: Address) -> None:
        self._back = back
        self._front = _socket(front)
        self._legs: dict[Address, tuple[int, socket.socket]] = {}
        self._clients: dict[int, tuple[int, Address, socket.socket]] = {}
        self._schedule: Schedule | None = None
        self._log: list[Row] = []
        self._held: list[_Held] = []
        self._order = 0
        self._commands = b""

    def run(self) -> None:
        """Pass on until standard input ends."""
        standard = sys.stdin.fileno()
        while True:
            wait_s = max(0.0, (self._held[0].due_ns - time.time_ns()) / 1e9) if self._held else None
            sockets = [self._front.fileno(), *self._clients]
            ready, _, _ = select.select([standard, *sockets], [], [], wait_s)
            for number in ready:
                if number == standard:
                    if not self._take_commands(standard):
                        return
                elif number == self._front.fileno():
                    self._from_clients()
                else:
                    self._from_server(number)
            self._release(time.time_ns())

    def _from_clients(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram, client = self._front.recvfrom(_DATAGRAM)
            except (BlockingIOError, ConnectionRefusedError):
                return
            leg, server = self._legs.get(client) or self._open(client)
            self._pass("up", leg, datagram, server, None)

    def _from_server(self, number: int) -> None:
        leg, client, server = self._clients[number]
        for _ in range(_AT_ONCE):
            try:
                datagram = server.recv(_DATAGRAM)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._pass("down", leg, datagram, self._front, client)

    def _open(self, client: Address) -> tuple[int, socket.socket]:
        server = _socket((self._back[0], 0))
        server.connect(self._back)
        leg = len(self._legs)
        self._legs[client] = (leg, server)
        self._clients[server.fileno()] = (leg, client, server)
        return self._legs[client]

    def _pass(
        self, direction: Direction, leg: int, datagram: bytes, by: socket.socket, to: Address | None
    ) -> None:
        if self._schedule is None:
            _Held(0, 0, by, to, datagram, None).send()
            return
        now_ns, header = time.time_ns(), read_header(datagram)
        fate = self._schedule.fate(direction, leg, header, now_ns)
        row: Row | None = None
        if header.media != "other":
            fault = -1 if fate.fault is None else fate.fault
            row = [
                now_ns,
                direction,
                leg,
                header.media,
                header.ssrc,
                header.sequence,
                header.timestamp,
                fault,
                0,
            ]
            self._log.append(row)
        if fate.damaged:
            datagram = datagram[:-1] + bytes([datagram[-1] ^ 0xFF])
        for due_ns in fate.due_ns:
            self._order += 1
            held = _Held(due_ns, self._order, by, to, datagram, row)
            if due_ns <= now_ns:
                held.send()
            else:
                heapq.heappush(self._held, held)

    def _release(self, now_ns: int) -> None:
        while self._held and self._held[0].due_ns <= now_ns:
            heapq.heappop(self._held).send()

    def _take_commands(self, standard: int) -> bool:
        text = os.read(standard, 65536)
        if not text:
            return False
        *lines, self._commands = (self._commands + text).split(b"\n")
        for line in lines:
            self._command(json.loads(line))
        return True

    def _command(self, command: dict[str, object]) -> None:
        if "arm" in command:
            faults = [from_plain(values) for values in command["arm"]]  # type: ignore[attr-defined]
            self._log = []
            self._schedule = Schedule(faults, int(str(command["seed"])), time.time_ns())
        else:
            self._schedule = None
            log = {"columns": LOG_COLUMNS, "rows": self._log}
            Path(str(command["disarm"])).write_text(json.dumps(log), encoding="utf-8")
        _say("done")


def _socket(address: Address) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    made.bind(address)
    return made


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run with FRONT_IP BACK_IP PORT as arguments: the port is the same on both sides."""
    front, back, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    proxy = Proxy((front, port), (back, port))
    _say("ready")
    proxy.run()


if __name__ == "__main__":
    main()
