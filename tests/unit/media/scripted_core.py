"""A stand-in for the native worker that answers every command at once: no port, no thread.

Keeps what exists by handle, as the native one does, so that tests can see what was left behind.
"""

import contextlib
import json
import os
import random
from collections.abc import Callable
from typing import Any

from meeshy_sfu.errors import CapacityError, WorkerDiedError
from meeshy_sfu.media.rtp_parameters import DtlsFingerprint
from meeshy_sfu.media.worker import Worker

FINGERPRINT = DtlsFingerprint("sha-256", ":".join(["AB"] * 32))


class ScriptedCore:
    """Say yes to everything that makes sense; `refuse`, `silent` and `answers` change that for single commands."""

    def __init__(self) -> None:
        self.port = 10000
        self.commands: list[dict[str, Any]] = []
        self.routers: set[int] = set()
        self.transports: dict[int, int] = {}
        self.producers: dict[int, int] = {}
        self.consumers: dict[int, int] = {}
        self.refuse: dict[str, tuple[str, str]] = {}
        self.silent: set[str] = set()
        self.answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self.full = False
        self.closed = False
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._events: list[str] = []

    @property
    def event_fd(self) -> int:
        return self._fd

    def request(self, request_json: str) -> None:
        if self.closed:
            raise WorkerDiedError("closed")
        if self.full:
            raise CapacityError("full")
        request = json.loads(request_json)
        command = request["command"]
        self.commands.append(command)
        name = command["type"]
        if name in self.silent:
            return
        if name in self.refuse:
            code, message = self.refuse[name]
            self.emit("reply", id=request["id"], error={"code": code, "message": message})
            return
        answer = self._carry_out(name, command)
        if name in self.answers:
            answer = self.answers[name](command)
        self.emit("reply", id=request["id"], ok=answer)

    def events(self, max: int = 4096) -> list[str]:
        taken, self._events = self._events[:max], self._events[max:]
        if not self._events:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._fd)
        return taken

    def alive(self) -> bool:
        return not self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)

    def emit(self, event_type: str, **values: Any) -> None:
        self._events.append(json.dumps({"type": event_type, **values}))
        os.eventfd_write(self._fd, 1)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [command for command in self.commands if command["type"] == name]

    @property
    def object_count(self) -> int:
        return len(self.routers) + len(self.transports) + len(self.producers) + len(self.consumers)

    def _carry_out(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        match name:
            case "create_router":
                self.routers.add(command["router"])
            case "close_router":
                self.routers.discard(command["router"])
                for transport in [
                    key for key, router in self.transports.items() if router == command["router"]
                ]:
                    self._close_transport(transport)
            case "create_transport":
                self.transports[command["transport"]] = command["router"]
                return {
                    "ice_parameters": {"username_fragment": "u" * 32, "password": "p" * 32, "ice_lite": True},
                    "ice_candidates": [
                        {
                            "foundation": "udpcandidate",
                            "priority": 1076302079,
                            "address": "127.0.0.1",
                            "port": 10000,
                            "protocol": "udp",
                            "type": "host",
                            "tcp_type": None,
                        }
                    ],
                }
            case "close_transport":
                self._close_transport(command["transport"])
            case "restart_ice":
                return {"username_fragment": "fresh", "password": "q" * 32, "ice_lite": True}
            case "produce":
                self.producers[command["producer"]] = command["transport"]
            case "close_producer":
                self._close_producer(command["producer"])
            case "consume":
                return {
                    "results": [self._consume(command["transport"], item) for item in command["consumers"]]
                }
            case "close_consumers":
                for consumer in command["consumers"]:
                    self.consumers.pop(consumer, None)
            case "dump":
                return self._dump()
            case "stats":
                return {"routers": len(self.routers), "packets_out": 7, "a_later_counter": 1}
        return {}

    def _consume(self, transport: int, item: dict[str, Any]) -> dict[str, Any]:
        if item["producer"] not in self.producers:
            return {"consumer": item["consumer"], "error": {"code": "not_found", "message": "no producer"}}
        self.consumers[item["consumer"]] = transport
        self._producer_of = {**getattr(self, "_producer_of", {}), item["consumer"]: item["producer"]}
        return {"consumer": item["consumer"], "ok": True}

    def _close_transport(self, transport: int) -> None:
        self.transports.pop(transport, None)
        for producer in [key for key, owner in self.producers.items() if owner == transport]:
            self._close_producer(producer)
        for consumer in [key for key, owner in self.consumers.items() if owner == transport]:
            del self.consumers[consumer]

    def _close_producer(self, producer: int) -> None:
        self.producers.pop(producer, None)
        producer_of = getattr(self, "_producer_of", {})
        for consumer in [key for key in self.consumers if producer_of.get(key) == producer]:
            del self.consumers[consumer]

    def _dump(self) -> dict[str, Any]:
        return {
            "router": 1,
            "transports": [{"transport": handle, "stats": {"bytes": 1}} for handle in self.transports],
            "producers": [{"producer": handle, "stats": {"packets": 2}} for handle in self.producers],
            "consumers": [{"consumer": handle, "stats": {"packets": 3}} for handle in self.consumers],
        }


def make_worker(core: ScriptedCore, *, index: int = 0) -> Worker:
    return Worker(core, index=index, fingerprint=FINGERPRINT, rng=random.Random(1))
