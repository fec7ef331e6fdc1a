"""The native core: a worker of the media server, and a pool of load-test participants.

Everything here is JSON in and JSON out and never waits for the network. Media passes through without ever
touching Python. Only ``meeshy_sfu.media`` and ``simulator.bots.native`` import this module.
"""

from typing import Final, final

__all__ = ["BUILD_PROFILE", "BotPool", "Worker", "worker_metrics"]

BUILD_PROFILE: Final[str]
"""``release`` or ``debug``. Measurements of a debug build say nothing."""

def worker_metrics() -> str:
    """Return what operators see of a worker; the values are in ``metrics`` of its totals.

    A list of ``name``, ``kind`` (``counter``, ``gauge`` or ``histogram``), ``labels``, ``help`` and ``bounds``.
    """

@final
class Worker:
    """One pinned thread that owns a UDP port, the same TCP port, and routers.

    Started by the constructor; :meth:`close` ends it. Useless in a forked child, where every method raises
    ForkError.
    """

    def __new__(cls, config_json: str, certificate_der: bytes, key_pkcs8_der: bytes) -> Worker:
        """Bind the sockets and start the thread.

        Args:
            config_json: ``index``, ``listen`` (addresses), ``announced`` (or null), ``port`` (0: any free),
                ``pin_cpu`` (or null), ``allow_panic``, ``allow_faults``, ``window_max_us``, ``gso``, and perhaps
                ``max_connections`` (most TCP connections; absent: 4096).
            certificate_der: Shown in DTLS, ECDSA P-256.
            key_pkcs8_der: Its private key.

        Raises:
            PortInUseError: Another process listens on the port.
            AddressUnavailableError: No interface of this machine has the address.
            BindPermissionError: The process lacks the right to bind the port.
            CertificateError: The certificate or key cannot be used.
            ConfigError: The configuration is malformed.
            StartError: The system refused something else.
        """

    @property
    def event_fd(self) -> int:
        """A descriptor that is readable while there are events; it belongs to the worker."""

    @property
    def port(self) -> int:
        """The port it has."""

    def request(self, request_json: str) -> None:
        """Queue ``{"id": …, "command": {"type": …, …}}``; the answer comes as an event. Never waits.

        Raises:
            WorkerDiedError: The worker is dead or closed.
            InvalidRequestError: The request is malformed.
        """

    def events(self, max: int = 4096) -> list[str]:
        """Take the oldest events from the queue, JSON each. Never waits."""

    def alive(self) -> bool:
        """Return whether the thread runs."""

    def close(self) -> None:
        """End the thread and wait for it, with the GIL released. Idempotent."""

@final
class BotPool:
    """Load-test participants in native threads.

    Each bot has a send and a recv transport with a socket each, real ICE, DTLS, SRTP and RTCP. Parameters that
    also travel to a media server are camelCase, the others snake_case. No call waits for the network;
    ``rows``, ``sender_rows``, ``bot_rows``, ``health`` and ``stop`` wait for the threads' next tick, with the GIL released.

    All methods raise ConflictError for a pool that was stopped, NotFoundError for a bot that does not exist,
    InvalidRequestError for arguments that make no sense, and ForkError in a forked child.
    """

    def __new__(cls, config_json: str) -> BotPool:
        """Load the clip and start the threads.

        Args:
            config_json: ``threads``, ``tick_us``, ``send_tick_us``, ``clip_path``, ``rcvbuf``, ``seed``,
                ``first_bot``, ``sample_capacity``, ``gro``; all but ``clip_path`` may be left out.

        Raises:
            ConfigError: The configuration or the clip cannot be used.
            StartError: The system refused a thread or descriptor.
        """

    @staticmethod
    def row_dtype() -> list[tuple[str, str]]:
        """Return the numpy fields of one row of :meth:`rows`."""

    @staticmethod
    def sender_row_dtype() -> list[tuple[str, str]]:
        """Return the numpy fields of one row of :meth:`sender_rows`."""

    @staticmethod
    def sample_dtype() -> list[tuple[str, str]]:
        """Return the numpy fields of one sample of :meth:`samples`."""

    @staticmethod
    def sent_dtype() -> list[tuple[str, str]]:
        """Return the numpy fields of one frame of :meth:`sent`."""

    @staticmethod
    def pause_dtype() -> list[tuple[str, str]]:
        """Return the numpy fields of one pause of :meth:`pauses`."""

    @staticmethod
    def bot_row_dtype() -> list[tuple[str, str]]:
        """Return the numpy fields of one row of :meth:`bot_rows`."""

    @property
    def event_fd(self) -> int:
        """A descriptor that is readable while there are events; it belongs to the pool."""

    def spawn(self, count: int, options_json: str) -> list[int]:
        """Create bots with keys and sockets and return their numbers; nothing is sent yet.

        Args:
            count: How many.
            options_json: ``bind``, ``send_role``, ``recv_role``, ``layer``, ``stamp``, ``nack``,
                ``transport_cc``, ``pli``, ``audio_stamp_every``, ``dtx``; each may be left out. ``participant`` makes
                the bot a leg of that participant: all its legs send the same frames under that number, and each
                track is shown from one leg at a time. ``peer`` (``controlling`` or ``controlled``) gives it one transport towards
                a peer, called ``recv``; ``audio`` and ``video`` are rtpParameters whose numbers it sends with.
        """

    def local(self, bot: int) -> str:
        """Return both transports' parameters for the server: ``{"send": {"dtls", "ice", "address", "port"}, "recv": …}``."""

    def connect(self, bot: int, which: str, params_json: str) -> None:
        """Start ICE and DTLS of the ``send`` or ``recv`` transport.

        Args:
            bot: Its number.
            which: ``send`` or ``recv``.
            params_json: ``iceParameters``, ``iceCandidates`` and ``dtlsParameters`` of the server.
        """

    def produce(self, bot: int, kind: str) -> str:
        """Return the rtpParameters for a produce request of this kind; always the same for one bot."""

    def start_sending(self, bot: int, kind: str) -> None:
        """Start sending ``audio`` or ``video``, once the transport is connected."""

    def stop_sending(self, bot: int, kind: str) -> None:
        """Stop sending ``audio`` or ``video``."""

    def hush(self, bot: int, hushed: bool) -> None:
        """Make a bot that was spawned with ``dtx`` silent, on all legs of its participant, or let it talk again."""

    def consume(self, bot: int, consumers_json: str) -> None:
        """Announce streams that the server will send.

        Args:
            bot: Its number.
            consumers_json: ``[{"tag", "sender", "kind", "rtpParameters"}]``; a tag in use is replaced, sender
                is the bot whose media is expected, or -1.
        """

    def unconsume(self, bot: int, tags: list[int]) -> None:
        """Forget streams; their rows stay."""

    def prefer(self, bot: int) -> None:
        """Show a participant's tracks from this leg as soon as they can be decoded there; the last preferred wins.

        The event ``entered`` reports a track that changes legs; each sample of a leg has bit 3 (frame shown) or 4
        (not shown, because another leg brought it) of its flags set.
        """

    def impair(self, bot: int, up_json: str, down_json: str) -> None:
        """Put emulated links between a bot and the network.

        Args:
            bot: Its number.
            up_json: ``loss``, ``delay_ms``, ``jitter_ms``, ``reorder``, ``rate_bps``, ``queue_ms``, ``seed``
                towards the server; each may be left out.
            down_json: The same from the server.
        """

    def close_bot(self, bot: int) -> None:
        """Send BYE and close_notify, and close both sockets. Idempotent."""

    def events(self, max: int = 4096) -> list[str]:
        """Take the oldest events from the queue, JSON each. Never waits."""

    def rows(self) -> bytes:
        """List one row per consumer ever announced; layout as :meth:`row_dtype`."""

    def sender_rows(self) -> bytes:
        """List one row per stream ever started; layout as :meth:`sender_row_dtype`."""

    def samples(self, max: int = 1048576) -> bytes:
        """Take the oldest latency samples; layout as :meth:`sample_dtype`."""

    def sent(self, max: int = 1048576) -> bytes:
        """Take the oldest stamped frames that were sent; layout as :meth:`sent_dtype`."""

    def pauses(self, max: int = 1048576) -> bytes:
        """Take the oldest pauses of received streams that are over; layout as :meth:`pause_dtype`."""

    def bot_rows(self) -> bytes:
        """List one row per bot ever spawned; layout as :meth:`bot_row_dtype`."""

    def health(self) -> str:
        """Return the generator's view of itself, as JSON."""

    def stop(self) -> None:
        """Close all bots and join the threads. Idempotent; what was measured stays readable."""
