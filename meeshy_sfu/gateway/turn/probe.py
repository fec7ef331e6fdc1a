"""Tries a STUN or TURN server the way a client of a call would, and says which step failed and the remedy.

Speaks the protocol through aioice's TURN client; sends a few packets to the server and, through it, to this machine.
How the verdict is shown is up to cli/doctor.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from aioice import stun
from aioice.turn import (
    DEFAULT_ALLOCATION_LIFETIME,
    DEFAULT_CHANNEL_REFRESH_TIME,
    TurnClientProtocol,
    TurnClientTcpProtocol,
    TurnClientUdpProtocol,
)

from meeshy_sfu.gateway.turn.ice_servers import ServerAddress, server_address, turn_credential

LIMIT_S = 15.0
"""Everything about one URL."""
STEP_S = 4.0
"""Resolving, connecting, or an answer; a client has long given up then."""
TRIP_S = 2.0
"""Each way through the relay."""
TRY_EVERY_S = 0.1
USER = "doctor"
FAR_FUTURE_S = 10 * 365 * 86_400

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one attempt."""

    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


class _FailedStep(Exception):
    """A step failed; carries the verdict."""

    def __init__(self, found: str, remedy: str, status: Literal["warn", "fail"] = "fail") -> None:
        super().__init__(found)
        self.verdict = Verdict(status, found, remedy)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What credentials are made from."""

    secret: str
    now_s: float
    ttl_s: int


async def probe(url: str, credentials: Credentials | None, *, peers: tuple[str, ...] = ()) -> Verdict:
    """Try one URL, within :data:`LIMIT_S`: reach it, and for TURN allocate, permit, and send there and back.

    Args:
        url: As clients are sent it.
        credentials: None for a STUN server.
        peers: Addresses of media servers, which clients must reach through the relay.

    Raises:
        IceServerError: The URL is none.
    """
    address = server_address(url)
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _probe(address, credentials, peers)
    except _FailedStep as error:
        return error.verdict
    except TimeoutError:
        return Verdict(
            "fail", f"not done within {LIMIT_S:g} s", "the server answers too slowly; look at its load"
        )


async def _probe(address: ServerAddress, credentials: Credentials | None, peers: tuple[str, ...]) -> Verdict:
    ip = await _resolve(address)
    async with _Client(address, ip) as client:
        if address.scheme.startswith("stun") or credentials is None:
            seen = await client.bind()
            return Verdict("ok", f"sees this machine as {_written(seen)}")
        await client.allocate(credentials)
        await client.permit(peers)
        round_trip_ms = await client.round_trip()
        relay = _written(client.relay)
        if not client.asked_for_credentials:
            raise _FailedStep(
                f"relays ({relay}) without credentials",
                "set use-auth-secret, static-auth-secret and realm in turnserver.conf, and remove no-auth",
                "warn",
            )
        return Verdict(
            "ok", f"allocated {relay} in realm {client.realm}, there and back in {round_trip_ms:.1f} ms"
        )


class _Client:
    """One connection to one server. Use as an async context manager; leaving it releases the relay address."""

    def __init__(self, address: ServerAddress, ip: str) -> None:
        self.relay: tuple[str, int] = ("", 0)
        self._address = address
        self._ip = ip
        self._protocol: TurnClientProtocol
        self._refused: asyncio.Future[OSError] = asyncio.get_running_loop().create_future()

    @property
    def asked_for_credentials(self) -> bool:
        """Whether the server wanted to know who is there."""
        return self._protocol.integrity_key is not None

    @property
    def realm(self) -> str:
        """What the server calls itself."""
        return self._protocol.realm or "(none)"

    async def __aenter__(self) -> _Client:
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def bind(self) -> tuple[str, int]:
        """Ask a STUN server under which address it sees us."""
        request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        try:
            answer, _ = await self._answer(self._protocol.request(request))
        except stun.TransactionFailed as error:
            raise _FailedStep(f"refused: {_reason(error)}", "let it answer without credentials") from error
        # The latter is what servers of before RFC 5389 know.
        seen: tuple[str, int] | None = answer.attributes.get("XOR-MAPPED-ADDRESS") or answer.attributes.get(
            "MAPPED-ADDRESS"
        )
        if seen is None:
            raise _FailedStep(
                "answers without saying how it sees this machine", "see that it is a STUN server"
            )
        return seen

    async def allocate(self, credentials: Credentials) -> None:
        """Get a relay address."""
        try:
            await self._allocate(credentials, credentials.ttl_s)
        except stun.TransactionFailed as error:
            if error.response.error_code in (401, 441):
                await self._explain_refusal(credentials)
            raise _explained(error) from error

    async def permit(self, peers: tuple[str, ...]) -> None:
        """Try whether media servers may be reached through the relay."""
        for peer in peers:
            if ipaddress.ip_address(peer).is_loopback and not ipaddress.ip_address(self._ip).is_loopback:
                continue  # there it would mean that machine itself
            request = stun.Message(
                message_method=stun.Method.CREATE_PERMISSION, message_class=stun.Class.REQUEST
            )
            request.attributes["XOR-PEER-ADDRESS"] = (peer, 0)
            try:
                await self._answer(self._protocol.request_with_retry(request))
            except stun.TransactionFailed as error:
                if error.response.error_code == 443:  # an IPv4 relay for an IPv6 peer: clients need it not
                    continue
                raise _forbidden(error, peer, f"the media server's address {peer}") from error

    async def round_trip(self) -> float:
        """Send a packet to our relay address and back through it; return the milliseconds that took."""
        own, relay = self._protocol.transport.get_extra_info("sockname")[0], self.relay
        mapped = self._protocol.mapped_address or (own, 0)
        if _is_ipv6(relay[0]) != _is_ipv6(own):
            raise _FailedStep(
                f"allocated {_written(relay)}, of another address family than this machine's {own}; nothing was sent",
                "run meeshy doctor where it has such an address",
                "warn",
            )
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET6 if _is_ipv6(own) else socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            try:
                peer.bind((own, 0))
                peer.connect(relay)
            except OSError as error:
                raise _unreachable(relay, self._ip, error.strerror or str(error)) from error
            inbox = self._protocol.receiver = _Inbox()
            token = secrets.token_bytes(16)
            # Binding a channel is also the permission that lets our packets in.
            await self._send(token, (mapped[0], peer.getsockname()[1]), mapped[0])
            began = time.perf_counter()
            origin = await _repeat(
                lambda: loop.sock_sendall(peer, b"out" + token), inbox.wait(b"out" + token)
            )
            if origin is None:
                raise _unreachable(relay, self._ip, "nothing that is sent to it arrives")

            async def back() -> None:
                await self._send(b"back" + token, origin, origin[0])

            if await _repeat(back, _read(peer, b"back" + token)) is None:
                raise _FailedStep(
                    f"what this machine sends to the relay address {_written(relay)} arrives, what is sent from there "
                    f"to {_written(origin)} does not",
                    "let the server send UDP from its relay ports (min-port to max-port of turnserver.conf)",
                )
            return (time.perf_counter() - began) * 1000

    async def _allocate(self, credentials: Credentials, ttl_s: int) -> None:
        made = turn_credential(credentials.secret, USER, now_s=credentials.now_s, ttl_s=ttl_s)
        self._protocol.username, self._protocol.password = made.username, made.credential
        try:
            self.relay = await self._answer(self._protocol.connect())
        except ConnectionError as error:
            raise _FailedStep(f"answers with nonsense: {error}", "see that it is a TURN server") from error

    async def _explain_refusal(self, credentials: Credentials) -> None:
        """Find out whether it is the secret or the time that the server refuses."""
        realm = self.realm
        await self._disconnect()
        await self._connect()
        try:
            await self._allocate(credentials, FAR_FUTURE_S)
        except stun.TransactionFailed:
            raise _FailedStep(
                f"refuses the credentials made from turn_secret (realm {realm})",
                "make turn_secret equal to static-auth-secret in turnserver.conf, and set use-auth-secret there: "
                "a server with users of its own does not know such credentials",
            ) from None
        raise _FailedStep(
            f"takes credentials that hold {credentials.ttl_s} s as expired, longer ones not",
            "set the clocks of this machine and of the TURN server (timedatectl shows them)",
        )

    async def _send(self, data: bytes, to: tuple[str, int], ip: str) -> None:
        try:
            await self._answer(self._protocol.send_data(data, to))
        except stun.TransactionFailed as error:
            raise _forbidden(error, ip, f"this machine, which it sees as {ip}", "warn") from error

    async def _answer(self, asking: Awaitable[T]) -> T:
        """Wait for an answer, or for the error that nothing listens there."""
        task = asyncio.ensure_future(asking)
        either: set[asyncio.Future[Any]] = {task, self._refused}
        try:
            await asyncio.wait(either, timeout=STEP_S, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        except stun.TransactionTimeout:
            pass
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        place = f"{self._address.transport} port {self._address.port} of {self._ip}"
        if self._refused.done():
            raise _FailedStep(
                f"nothing listens on {place} ({self._refused.result().strerror})",
                "start the TURN server there, or correct turn_servers",
            )
        raise _FailedStep(
            f"no answer from {place} within {STEP_S:g} s",
            f"let {self._address.transport} to port {self._address.port} through the firewalls on the way; see that "
            "it is a TURN server that listens there",
        )

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        given: Any = {
            "server": (self._ip, self._address.port),
            "username": None,
            "password": None,
            "lifetime": DEFAULT_ALLOCATION_LIFETIME,
            "channel_refresh_time": DEFAULT_CHANNEL_REFRESH_TIME,
        }
        where = (self._ip, self._address.port)
        if self._address.transport == "udp":
            protocol = _UdpProtocol(self._refused, given)
            try:
                await loop.create_datagram_endpoint(lambda: protocol, remote_addr=where)
            except OSError as error:
                raise _FailedStep(
                    f"cannot send to udp port {where[1]} of {where[0]}: {error.strerror or error}",
                    "correct turn_servers, or the routes and firewall of this machine",
                ) from error
            self._protocol = protocol
            return
        stream = await self._connected_stream(where)
        secure = self._address.scheme.endswith("s")
        try:
            async with asyncio.timeout(STEP_S):
                _, self._protocol = await loop.create_connection(
                    lambda: TurnClientTcpProtocol(**given),
                    sock=stream,
                    ssl=ssl.create_default_context() if secure else None,
                    server_hostname=self._address.host if secure else None,
                )
        except ssl.SSLCertVerificationError as error:
            raise _FailedStep(
                f"its certificate does not hold for {self._address.host}: {error.verify_message}",
                "give coturn the whole chain (cert, pkey) of a certificate with that name, from a CA that browsers know",
            ) from error
        except (TimeoutError, OSError) as error:
            reason = getattr(error, "reason", None) or str(error) or f"no answer within {STEP_S:g} s"
            raise _FailedStep(
                f"no TLS on tcp port {where[1]} of {where[0]}: {reason}",
                "name the port of tls-listening-port, and set cert and pkey in turnserver.conf",
            ) from error

    async def _connected_stream(self, where: tuple[str, int]) -> socket.socket:
        stream = socket.socket(socket.AF_INET6 if _is_ipv6(where[0]) else socket.AF_INET, socket.SOCK_STREAM)
        stream.setblocking(False)
        try:
            async with asyncio.timeout(STEP_S):
                await asyncio.get_running_loop().sock_connect(stream, where)
        except TimeoutError as error:
            stream.close()
            raise _FailedStep(
                f"no connection to tcp port {where[1]} of {where[0]} within {STEP_S:g} s",
                f"let tcp to port {where[1]} through the firewalls on the way",
            ) from error
        except OSError as error:
            stream.close()
            raise _FailedStep(
                f"nothing listens on tcp port {where[1]} of {where[0]} ({error.strerror or error})",
                "start the TURN server there, or correct turn_servers",
            ) from error
        return stream

    async def _disconnect(self) -> None:
        with suppress(TimeoutError, ConnectionError, OSError):
            if self.relay[1]:
                async with asyncio.timeout(1):
                    await self._protocol.delete()
        self._protocol.transport.close()


class _UdpProtocol(TurnClientUdpProtocol):
    """A client over UDP that notices when nothing listens there."""

    def __init__(self, refused: asyncio.Future[OSError], given: Any) -> None:
        super().__init__(**given)
        self._refused = refused

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and not self._refused.done():
            self._refused.set_result(exc)


class _Inbox(asyncio.DatagramProtocol):
    """Takes what comes through the relay."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._arrived.put_nowait((data, (str(addr[0]), int(addr[1]))))

    async def wait(self, wanted: bytes) -> tuple[str, int]:
        """Wait for these bytes; return the address that sent them."""
        while True:
            data, origin = await self._arrived.get()
            if data == wanted:
                return origin


async def _read(peer: socket.socket, wanted: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    while True:
        with suppress(OSError):
            if (data := await loop.sock_recv(peer, 2048)) == wanted:
                return data


async def _repeat(send: Any, arriving: Awaitable[T]) -> T | None:
    """Send until it arrives; None when it does not."""
    waiting = asyncio.ensure_future(arriving)
    try:
        for _ in range(round(TRIP_S / TRY_EVERY_S)):
            with suppress(OSError):  # an ICMP message about the packet before, or a firewall here
                await send()
            await asyncio.wait({waiting}, timeout=TRY_EVERY_S)
            if waiting.done():
                return waiting.result()
        return None
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _resolve(address: ServerAddress) -> str:
    """Find the first IP address; in a thread that is not joined, as resolvers take their time."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str] = loop.create_future()

    def report(ip: str | None, error: Exception | None) -> None:
        if not found.done():
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(str(ip))

    def look_up() -> None:
        ip: str | None = None
        problem: Exception | None = None
        try:
            answers = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
            # Relays are of IPv4 unless asked otherwise, and so are the peers that can be reached through them.
            ip = str(min(answers, key=lambda answer: answer[0] != socket.AF_INET)[4][0])
        except (OSError, UnicodeError) as error:  # the latter for what cannot be a name
            problem = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(report, ip, problem)

    threading.Thread(target=look_up, daemon=True, name="resolve").start()
    remedy = "correct the name in turn_servers, or its DNS record"
    try:
        async with asyncio.timeout(STEP_S):
            return await found
    except TimeoutError as error:
        raise _FailedStep(f"{address.host} was not resolved within {STEP_S:g} s", remedy) from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _FailedStep(f"{address.host} does not resolve: {reason}", remedy) from error


def _explained(error: stun.TransactionFailed) -> _FailedStep:
    found = f"allocates nothing: {_reason(error)}"
    match error.response.error_code:
        case 300:
            return _FailedStep(found, "it sends clients to another server (alternate-server): name that one")
        case 403:
            return _FailedStep(found, "remove what forbids this machine in turnserver.conf (denied-ip, ACLs)")
        case 438:
            return _FailedStep(
                f"takes no nonce, not even a fresh one ({_reason(error)})",
                "lead each client to one server, if several share the address, and raise stale-nonce",
            )
        case 440 | 442:
            return _FailedStep(found, "let it relay UDP over IPv4 (relay-ip; remove no-udp-relay)")
        case 486:
            return _FailedStep(
                f"its quota of allocations is used up ({_reason(error)})",
                "raise user-quota and total-quota in turnserver.conf",
            )
        case 508:
            return _FailedStep(
                f"has no relay port left ({_reason(error)})",
                "widen min-port to max-port in turnserver.conf, or add a server",
            )
        case _:
            return _FailedStep(found, "look into the log of the TURN server")


def _forbidden(
    error: stun.TransactionFailed, ip: str, whom: str, status: Literal["warn", "fail"] = "fail"
) -> _FailedStep:
    if error.response.error_code != 403:
        return _FailedStep(
            f"no permission for {whom}: {_reason(error)}", "look into the log of the TURN server"
        )
    option = "allow-loopback-peers" if ipaddress.ip_address(ip).is_loopback else f"allowed-peer-ip={ip}"
    remedy = f"set {option} in turnserver.conf, or take the address out of denied-peer-ip"
    if status == "warn":
        remedy += "; fine if no client and no media server has such an address, but nothing could be sent"
    return _FailedStep(f"allocates, but forbids to relay to {whom}", remedy, status)


def _unreachable(relay: tuple[str, int], server: str, reason: str) -> _FailedStep:
    remedy = "let UDP through to min-port to max-port of turnserver.conf"
    if relay[0] != server:
        remedy += f"; set external-ip, if {relay[0]} is not where clients reach the server"
    return _FailedStep(
        f"allocates, but its relay address {_written(relay)} is out of reach: {reason}", remedy
    )


def _reason(error: stun.TransactionFailed) -> str:
    code, text = error.response.attributes.get("ERROR-CODE", (0, "no reason given"))
    return f"{code} {text}".strip()


def _is_ipv6(ip: str) -> bool:
    return ":" in ip


def _written(address: tuple[str, int]) -> str:
    return f"[{address[0]}]:{address[1]}" if _is_ipv6(address[0]) else f"{address[0]}:{address[1]}"
