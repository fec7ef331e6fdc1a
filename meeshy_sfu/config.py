"""Settings of the servers: one table of names, values, units, costs, and where each may come from.

Reads and checks them; what a setting does is up to the part that takes it.

A setting called ``rtc_min_port`` is the flag ``--rtc-min-port``, the variable ``MEESHY_RTC_MIN_PORT`` (some
also have a bare name, here ``RTC_MIN_PORT``) and the key ``rtc_min_port`` in a TOML file. A flag beats the
environment, that beats ``.env``, that beats the TOML file, that beats the default. Unknown keys are refused.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args, get_origin

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from meeshy_sfu.addresses import media_ips, require_address, require_family, require_network, require_told
from meeshy_sfu.config_faults import ENV_PREFIX, explain, nearest
from meeshy_sfu.dotenv import read_dotenv
from meeshy_sfu.errors import ConfigError
from meeshy_sfu.secret_length import SECRET_BYTES_MIN, secret_problem

CONFIG_FILE_VARIABLE = "MEESHY_CONFIG"
"""Names the TOML file when ``--config`` does not."""
OTHER_VARIABLES = ("MEESHY_CONFIG", "MEESHY_SUPERVISOR_FD", "MEESHY_TOKEN")
"""Variables with our prefix that are no settings of the media server."""
OTHER_PREFIXES = ("MEESHY_SIMULATE_", "MEESHY_TEST_")
"""Variables of the other programs; each checks its own."""


def setting(
    default: object,
    group: str,
    does: str,
    cost: str,
    when: str,
    *,
    unit: str = "",
    bare: str = "",
    **limits: Any,
) -> Any:
    """Describe one setting: its default, cost and reason to change it."""
    extra = {"group": group, "cost": cost, "when": when, "unit": unit, "bare": bare}
    return Field(default=default, description=does, json_schema_extra=cast(Any, extra), **limits)


def _split(value: object) -> object:
    """Take ``a, b`` for a list, as the environment has no lists."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]

HTTP, SECRETS, FILES, MEDIA, CALLS, WEB, TURN, CAPS, RATES = (
    "HTTP and Socket.IO",
    "Tokens and secrets",
    "Files and logs",
    "Media",
    "Calls (gateway)",
    "Web client (gateway)",
    "STUN and TURN (gateway)",
    "Caps",
    "Rate limits",
)


class Settings(BaseSettings):
    """All settings of media server and gateway, read once and frozen.

    Example:
        ```python
        from meeshy_sfu.config import load_settings

        settings = load_settings(flags={"port": 0}, environ={"MEESHY_WORKERS": "2"})
        assert (settings.port, settings.workers, settings.is_development) == (0, 2, True)
        ```
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=ENV_PREFIX)

    # fmt: off
    host: str = setting(
        "127.0.0.1", HTTP, "Address the REST and Socket.IO server listens on; :: is IPv6 alone.",
        "Any address but loopback is reachable by others.",
        "To 0.0.0.0 or :: in production, with jwt_secret.")
    port: int = setting(
        3001, HTTP, "TCP port of the REST and Socket.IO server; 0 takes a free one.", "None.",
        "When something else holds it.", bare="PORT", ge=0, le=65535)
    cors_origins: Names = setting(
        (), HTTP,
        "Origins whose pages may call this server; * allows all. Development mode adds loopback origins.",
        "Pages of an allowed origin act with their users' tokens.",
        "When the web client has another origin.", bare="FRONTEND_URL")
    tls_cert: Path | None = setting(
        None, HTTP, "PEM file with the certificate and its chain; switches HTTPS and WSS on.",
        "A TLS handshake per connection.",
        "When no proxy in front ends TLS; incomplete chains fail on phones.")
    tls_key: Path | None = setting(
        None, HTTP, "PEM file with the key of tls_cert.", "None.", "Together with tls_cert.")
    trusted_proxies: Names = setting(
        (), HTTP,
        "Addresses or networks whose X-Forwarded-For headers count, read from the right; others' are ignored.",
        "A listed host can claim any client address.",
        "Behind a reverse proxy, else all clients share one limit.")
    shutdown_timeout_s: float = setting(
        4.0, HTTP, "How long closing rooms and connections may take after Ctrl-C or SIGTERM.",
        "The process is gone at the latest then.", "Below what your service manager waits.", unit="seconds",
        gt=0, le=60)
    standby: bool = setting(
        True, HTTP,
        "Keep one loaded process in reserve under `meeshy serve`, to take the place of a service that dies.",
        "About 100 MB of memory and no CPU; in return a dead service is back some seconds sooner.",
        "Off where memory is scarcer than a quick recovery.")
    keepalive_s: float = setting(
        20.0, HTTP, "How long a connection may wait for its next request.",
        "A descriptor and some memory each.", "Above the keep-alive of a proxy in front, which closes first then.",
        unit="seconds", gt=0, le=300)
    disconnect_grace_s: float = setting(
        10.0, HTTP,
        "How long a participant whose socket broke off is kept; a clean disconnect leaves at once.",
        "The other participants see a frozen picture meanwhile.", "Up for phones that change networks.", unit="seconds",
        ge=0, le=3600)

    development: bool = setting(
        False, SECRETS, "Development mode: loopback only, a token is printed, loopback origins are allowed, "
        "workers can be made to panic. On by itself while jwt_secret is not set.", "Not for production.",
        "To keep these comforts with a secret of your own.")
    jwt_secret: SecretStr | None = setting(
        None, SECRETS, "Secret of the HS256 tokens, shared with whoever issues them; at least 32 bytes.",
        "Who knows it can enter every call.", "Always in production.", bare="JWT_SECRET")
    metrics_token: SecretStr | None = setting(
        None, SECRETS,
        "Bearer token that opens /metrics and /api/stats to other hosts; this machine, asked at localhost and "
        "through no proxy, needs none, and tokens with the role service always do.", "Shows load, not contents.",
        "When Prometheus runs elsewhere.")
    token_leeway_s: float = setting(
        5.0, SECRETS, "Difference between the issuer's clock and ours that is forgiven.",
        "Tokens live that much longer.", "When clocks are worse than NTP.", unit="seconds", ge=0, le=300)
    token_grace_s: float = setting(
        30.0, SECRETS,
        "How long a participant whose token expired in mid-call may stay to present a new one.",
        "A revoked participant stays that long.", "To the time your client needs to renew.", unit="seconds", ge=0,
        le=86400)
    max_token_lifetime_s: float = setting(
        31_536_000.0, SECRETS, "Farthest expiry of a token that is accepted, from now.",
        "What is stolen opens calls for as long.", "To the longest that your issuer signs for.", unit="seconds",
        ge=1, le=1_000_000_000)
    require_token_audience: bool = setting(
        False, SECRETS,
        "Refuse tokens without the claim aud: meeshy-gateway of users, meeshy-media of participants and services.",
        "Issuers that do not set it are locked out.", "On once yours does.")
    token_lifetime_s: int = setting(
        3600, SECRETS, "Lifetime of tokens made by `meeshy token` and printed in development mode.",
        "Longer ones are harder to revoke.", "For long test calls.", unit="seconds", ge=1, le=31536000)

    state_dir: Path = setting(
        Path(".meeshy"), FILES,
        "Directory for certificates, logs, events, runs, the embedded database and the development secret; "
        "for this user alone (0700, files 0600).",
        "A few megabytes; logs are capped.", "To a lasting place in production, so that certificates stay.")
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", FILES, "Least severe message that is logged.", "debug writes a line per request.",
        "To debug while looking for a fault.", bare="LOG_LEVEL")
    log_format: Literal["text", "json"] = setting(
        "text", FILES, "Readable lines, or one JSON object a line.", "None.", "To json for log collectors.")
    log_to_file: bool = setting(
        True, FILES, "Also log to state_dir/logs/.", "Disk, capped by the next two.", "Off in containers.")
    log_max_bytes: int = setting(
        10_000_000, FILES, "Size at which the log file is rotated.", "Disk.", "Rarely.", unit="bytes",
        ge=10_000, le=10_000_000_000)
    log_keep: int = setting(
        5, FILES, "Rotated log files that are kept.", "Disk: log_max_bytes each.", "Rarely.", unit="files",
        ge=0, le=1000)

    workers: int = setting(
        0, MEDIA, "Media workers, a pinned thread and a UDP port each; 0 is one per core.",
        "A core each under full load.", "Below the cores when other programs share the machine.", ge=0,
        le=256)
    rtc_listen_ips: Names = setting(
        (), MEDIA, "Addresses the workers listen on for media, at most one of each family (:: alone stands for both "
        "families); empty means the address of host.", "None.",
        "For a media network of its own, or IPv4 and IPv6 at once.")
    announced_ip: str | None = setting(
        None, MEDIA, "Address, of a family that is listened on, or name told to clients in place of the one listened on.",
        "Wrong values leave calls without media.", "Behind NAT, in containers.", bare="ANNOUNCED_IP")
    rtc_min_port: int = setting(
        10000, MEDIA,
        "Port of the first worker, UDP and TCP; worker n takes the n-th after it. 0 takes free ones.",
        "None.", "When the firewall opens others.", bare="RTC_MIN_PORT", ge=0, le=65535)
    rtc_max_port: int = setting(
        10100, MEDIA, "Last port a worker may take.", "None.", "To the range the firewall opens.",
        bare="RTC_MAX_PORT", ge=0, le=65535)
    udp: bool = setting(True, MEDIA, "Offer UDP to clients.", "None.", "Off only to test TCP.")
    tcp: bool = setting(
        True, MEDIA, "Offer TCP (passive, RFC 6544) to clients that cannot use UDP.",
        "A listening socket per worker.", "Off when the port is not open for TCP.")
    max_incoming_bps: int = setting(
        0, MEDIA, "Most that one transport is asked to send; 0 leaves it to the estimate.",
        "Lower means worse pictures.", "To protect a narrow uplink.", unit="bits per second", ge=0,
        le=1_000_000_000)
    send_window_max_us: int = setting(
        2000, MEDIA, "Longest time packets are gathered into one send under load.",
        "Delay under load, against CPU.", "To 0 for least delay on an idle machine.", unit="microseconds",
        ge=0, le=20_000)
    padding: bool = setting(
        False, MEDIA, "Pad packets by up to 64 bytes so that more of them share one send.",
        "About 3 % more bytes, for less CPU.", "On when CPU is scarcer than bandwidth.")
    gso: bool = setting(
        True, MEDIA, "Use UDP segmentation offload where the kernel has it.",
        "None; without it sending costs several times the CPU.", "Off when a network driver mistreats it.")

    gateway_port: int = setting(
        4000, CALLS, "TCP port of the gateway's REST and Socket.IO; 0 takes a free one.", "None.",
        "When something else holds it.", bare="GATEWAY_PORT", ge=0, le=65535)
    media_server_urls: Names = setting(
        (), CALLS, "Media servers the gateway makes rooms on; empty means the one of this host and port.",
        "None.", "When media servers run elsewhere, or there are several.", bare="MEDIA_SERVER_URL")
    media_server_public_urls: Names = setting(
        (), CALLS, "The same servers as clients reach them, in the same order; empty means the same URLs, and "
        "announced_ip in place of this host.",
        "Wrong values leave group calls without media.", "Behind proxies and in containers.",
        bare="MEDIA_SERVER_PUBLIC_URL")
    database_url: SecretStr | None = setting(
        None, CALLS, "sqlite:///path/to/file.db or postgresql://user:password@host/name; "
        "not set means meeshy.db in state_dir.", "A file, or connections to a server.",
        "To PostgreSQL in production.", bare="DATABASE_URL")
    prewarm: bool = setting(
        True, CALLS, "Prepare the SFU leg while two participants still talk peer to peer.",
        "A room and four idle transports per call of two; in return the switch is faster, and a blocked path is "
        "known before it is needed.", "Off to spare the media server.")
    switch_deadline_s: float = setting(
        10.0, CALLS, "How long a change between peer to peer and SFU may take before it is decided without those "
        "who are missing.", "The old and the new path flow side by side meanwhile.", "Rarely.", unit="seconds",
        gt=0, le=120)
    p2p_hysteresis_s: float = setting(
        0.0, CALLS, "How long two participants must have been alone before their call goes back to peer to peer.",
        "The media server carries them that much longer.", "Up where participants come and go.", unit="seconds", ge=0,
        le=3600)
    ring_timeout_s: float = setting(
        60.0, CALLS, "When a call that was not answered ends.", "None.", "To what your clients show.",
        unit="seconds", gt=0, le=3600)
    reconnect_grace_s: float = setting(
        60.0, CALLS, "How long a participant whose socket broke off stays in the call.",
        "The other participants wait for one who may be gone.", "With disconnect_grace_s.", unit="seconds", ge=0,
        le=3600)
    media_down_s: float = setting(
        1.0, CALLS, "How long a media server may be unreachable before its calls are made again on another.",
        "Shorter moves calls for a hiccup of the network.", "Up when gateway and media servers are far apart.",
        unit="seconds", ge=0, le=60)
    media_token_lifetime_s: int = setting(
        3600, CALLS, "Lifetime of the tokens clients get for the media server; renewed at half of it.",
        "Longer ones are harder to revoke.", "Rarely.", unit="seconds", ge=60, le=86400)

    serve_web: bool = setting(
        True, WEB, "Serve the web client on the gateway's port.", "Some megabytes of memory.",
        "Off where another server has the page, or clients are all of your own making.")
    web_dir: Path | None = setting(
        None, WEB, "Directory with a built web client; not set means the one of this installation (`make web`). Read at the "
        "start, never again.", "Its files are public.", "For a page of your own.")
    invites: bool = setting(
        False, WEB, "Let guests in by an invite of `meeshy token --invite`, without an account. Always on in development mode.",
        "Who has the link enters the calls of its conversation.", "On for calls with guests.")
    invite_lifetime_s: int = setting(
        86_400, WEB, "How long an invite lets new guests in.", "A link that leaks opens calls for as long.",
        "To the time between invitation and call.", unit="seconds", ge=60, le=31_536_000)
    guest_token_lifetime_s: int = setting(
        900, WEB, "Lifetime of a guest's token; the page renews it at half of it.",
        "A copied token is good for that long.",
        "Rarely.", unit="seconds", ge=60, le=86_400)
    guest_session_s: int = setting(
        43_200, WEB, "How long a guest may renew the token, counted from the first one; then an invite is needed again.",
        "A guest stays that long, also after the invite has expired.", "Above the longest call.", unit="seconds",
        ge=60, le=31_536_000)

    bots: int = setting(
        0, WEB, "Bots under `meeshy serve` that join the calls begun in the conversation of the printed link, and leave "
        "when only they are left. In development mode only.", "A process, and about a percent of a core each.",
        "To see a group call alone.", unit="bots", ge=0, le=49)

    turn_servers: Names = setting(
        (), TURN, "Servers told to clients: host:port or turn: and turns: URIs with credentials, stun: URIs without.",
        "None.", "When clients are behind NAT.", bare="TURN_SERVERS")
    turn_secret: SecretStr | None = setting(
        None, TURN, "Secret shared with the TURN servers (static-auth-secret of coturn); without it none are told.",
        "Who knows it can relay through them.", "With turn_servers.", bare="TURN_SECRET")
    turn_credential_ttl_s: int = setting(
        86_400, TURN, "How long the credentials of a client hold.", "Longer ones are of more use to thieves.",
        "Above the longest call.", unit="seconds", bare="TURN_CREDENTIAL_TTL", ge=60, le=2_592_000)

    max_rooms: int = setting(
        10, CAPS, "Calls at once on one media server; the gateway asks the next one beyond it.",
        "CPU and memory by participants: with the default caps, 500 of them.", "Up where calls are small, by `meeshy simulate`.",
        unit="rooms", ge=1, le=100_000)
    empty_room_s: float = setting(
        300.0, CAPS, "How long a room that no participant has joined is kept.", "Counts against max_rooms.",
        "Up when participants are slow to join.", unit="seconds", ge=1, le=86400)
    max_participants_per_room: int = setting(
        50, CAPS, "Participants in one call.", "Streams grow with the square of it.", "By `meeshy simulate`.",
        unit="participants", ge=1, le=10_000)
    max_transports_per_room: int = setting(
        200, CAPS, "Transports in one call; two per participant are usual.", "About 20 kB each.",
        "With max_participants_per_room.", unit="transports", ge=1, le=100_000)
    max_transports_per_participant: int = setting(
        8, CAPS, "Transports of one participant; the rest is room to reconnect.", "As above.", "Rarely.",
        unit="transports", ge=1, le=1000)
    max_producers_per_room: int = setting(
        200, CAPS, "Producers in one call.", "Up to 0.8 MB each for video.", "With max_participants_per_room.",
        unit="producers", ge=1, le=100_000)
    max_producers_per_participant: int = setting(
        8, CAPS, "Producers of one participant.", "As above.", "For clients with many cameras.", unit="producers",
        ge=1, le=1000)
    max_consumers_per_participant: int = setting(
        500, CAPS, "Consumers of one participant.", "About 1 kB each.", "With max_participants_per_room.",
        unit="consumers", ge=1, le=100_000)
    max_body_bytes: int = setting(
        262_144, CAPS, "Largest request body.", "Memory per request.",
        "Rarely; a browser's capabilities take 20 kB.", unit="bytes", ge=1024, le=16_777_216)
    max_event_bytes: int = setting(
        65_536, CAPS, "Largest Socket.IO message from a client.", "Memory per socket.", "Rarely.",
        unit="bytes", ge=1024, le=4_194_304)
    max_json_depth: int = setting(
        32, CAPS, "Deepest nesting of a body or event.", "None.", "Rarely.", unit="levels", ge=4, le=200)
    max_connections: int = setting(
        0, CAPS, "Connections in all, HTTP and Socket.IO. Beyond it the address with the most that have shown no token "
        "loses its oldest. 0 is half of the descriptors the process may open (ulimit -n), at most 8192.",
        "A descriptor and about 30 kB each.", "Down where memory is scarce.", unit="connections", ge=0, le=1_000_000)
    max_connections_per_address: int = setting(
        512, CAPS, "Connections from one address, HTTP and Socket.IO; IPv6 counts by /64. Beyond it the oldest that has "
        "shown no token is closed, then the oldest of whoever has the most. Not of trusted_proxies and services.",
        "An address can hold that many descriptors.", "Up behind a NAT with many clients or for load tests.",
        unit="connections", ge=1, le=1_000_000)
    max_queued_events: int = setting(
        1000, CAPS, "Events that wait for a slow client, or of one for their handling, before it is cut off.",
        "Memory per slow client.",
        "Rarely.", unit="events", ge=10, le=1_000_000)
    max_sdp_bytes: int = setting(
        50_000, CAPS, "Largest session description the gateway relays.", "Memory per event.", "Rarely.",
        unit="bytes", ge=1000, le=1_000_000)
    max_candidate_bytes: int = setting(
        1024, CAPS, "Largest ICE candidate the gateway relays.", "None.", "Rarely.", unit="bytes", ge=100,
        le=10_000)

    rate_window_s: float = setting(
        60.0, RATES, "Length of the window all limits below count in.", "None.", "Rarely.", unit="seconds",
        gt=0, le=3600)
    rate_create: int = setting(
        10, RATES, "Creating a room, per call id.", "None.", "0 lifts a limit.", unit="requests per window",
        ge=0, le=10_000_000)
    rate_transports: int = setting(
        50, RATES, "Creating a transport, per participant; a join creates two.",
        "Each costs the worker sockets' work.", "For clients that rejoin often.", unit="requests per window",
        ge=0, le=10_000_000)
    rate_connect: int = setting(
        50, RATES, "Connecting or restarting a transport, per participant.", "A DTLS handshake each.",
        "With rate_transports.", unit="requests per window", ge=0, le=10_000_000)
    rate_consume: int = setting(
        100, RATES, "Consuming, per participant; a batch counts once.", "None.",
        "For full calls of clients that consume one by one: 98 each at 50 participants.",
        unit="requests per window", ge=0, le=10_000_000)
    rate_other: int = setting(
        200, RATES, "All other requests, and refused ones, per address; IPv6 counts by /64.", "None.",
        "Up when many clients share an address, and for load tests.", unit="requests per window", ge=0, le=10_000_000)
    rate_events: int = setting(
        600, RATES, "Socket.IO packets per connection; all count but answers to pings.", "None.",
        "For chatty clients.", unit="packets per window", ge=0, le=10_000_000)
    rate_calls: int = setting(
        100, RATES, "Gateway: requests per address in 15 minutes.", "None.",
        "Up when many clients share an address, and for load tests.", unit="requests per 15 minutes", ge=0, le=10_000_000)
    rate_page: int = setting(
        3000, RATES, "Gateway: files of the web client and its configuration, per address; a page load takes about ten.",
        "They come from memory.", "Up when hundreds of users share an address.", unit="requests per window", ge=0,
        le=10_000_000)
    rate_guests: int = setting(
        300, RATES, "Gateway: guests let in by an invite, per address, and renewals, per guest.", "A signature each.",
        "Up when many guests share an address.", unit="requests per window", ge=0, le=10_000_000)
    rate_initiate: int = setting(
        5, RATES, "Gateway: calls begun, per user.", "Each rings others.", "For load tests.",
        unit="events per window", ge=0, le=10_000_000)
    rate_join: int = setting(
        20, RATES, "Gateway: joins and rejoins, per user.", "A row and messages to all in the call.",
        "For load tests.", unit="events per window", ge=0, le=10_000_000)
    rate_leave: int = setting(
        20, RATES, "Gateway: leaves and ends, per user.", "As above.", "With rate_join.",
        unit="events per window", ge=0, le=10_000_000)
    rate_toggle: int = setting(
        50, RATES, "Gateway: media switched on and off, per user.", "A message to all in the call.", "Rarely.",
        unit="events per window", ge=0, le=10_000_000)
    rate_quality: int = setting(
        60, RATES, "Gateway: quality reports, per user; they count against nothing else.",
        "Each may be a write of the database.", "With shorter intervals between reports.",
        unit="reports per window", ge=0, le=10_000_000)
    rate_signals: int = setting(
        100, RATES, "Gateway: signals relayed in 10 seconds, per user.", "None.",
        "For clients with very many candidates.", unit="signals per 10 seconds", ge=0, le=10_000_000)
    # fmt: on

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing but what load_settings hands in, so that two loads of the same input are equal."""
        return (init_settings,)

    @field_validator("host", "rtc_listen_ips")
    @classmethod
    def _is_address(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for address in (value,) if isinstance(value, str) else value:
            require_address(address)
        return value

    @field_validator("announced_ip")
    @classmethod
    def _is_told_to_clients(cls, value: str | None) -> str | None:
        if value is not None:
            require_told(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _is_network(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            require_network(network)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _is_origin(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+/?", origin):
                raise ValueError(f"{origin!r} is no origin; write it like https://app.example.org")
        return tuple(origin.rstrip("/") for origin in value)

    @field_validator("media_server_urls", "media_server_public_urls")
    @classmethod
    def _is_url(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not re.fullmatch(r"https?://[^/\s]+(/[^\s]*)?", url):
                raise ValueError(f"{url!r} is no URL; write it like https://media.example.org")
        return tuple(url.rstrip("/") for url in value)

    @field_validator("jwt_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        problem = None if value is None else secret_problem(value.get_secret_value())
        if problem is not None:
            raise ValueError(problem)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.is_development and not self.is_loopback:
            reason = "in development mode" if self.development else "without jwt_secret"
            raise ValueError(
                f"refusing to listen on {', '.join(self.addresses)} {reason}: whoever reaches it could "
                f"enter every call; set JWT_SECRET to at least {SECRET_BYTES_MIN} bytes"
                f"{' and development to false' if self.development else ''}, or listen on 127.0.0.1"
            )
        if self.bots and not self.is_development:
            raise ValueError("bots are for development mode; leave bots out, or set development to true")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together; set both or none")
        if self.rtc_min_port > self.rtc_max_port:
            raise ValueError(f"rtc_min_port {self.rtc_min_port} is above rtc_max_port {self.rtc_max_port}")
        if self.rtc_min_port and self.workers > self.rtc_max_port - self.rtc_min_port + 1:
            raise ValueError(
                f"{self.workers} workers do not fit into the ports {self.rtc_min_port} to "
                f"{self.rtc_max_port}; each takes one: raise rtc_max_port or lower workers"
            )
        if self.media_server_public_urls and len(self.media_server_public_urls) != len(self.media_urls):
            raise ValueError(
                f"media_server_public_urls has {len(self.media_server_public_urls)} entries and there are "
                f"{len(self.media_urls)} media servers; give one for each, in the same order"
            )
        if self.max_token_lifetime_s < max(self.token_lifetime_s, self.media_token_lifetime_s):
            raise ValueError(
                f"max_token_lifetime_s {self.max_token_lifetime_s:.0f} is below token_lifetime_s or media_token_lifetime_s, "
                "so tokens of our own would be refused; raise it or lower those"
            )
        if self.announced_ip is not None:
            require_family(self.announced_ip, self.media_ips)
        if not (self.udp or self.tcp):
            raise ValueError("udp and tcp are both off, so no client could send media; switch one on")
        return self

    @property
    def takes_invites(self) -> bool:
        """Whether guests are let in by an invite."""
        return self.invites or self.is_development

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address something listens on."""
        return tuple(dict.fromkeys((self.host, *self.media_ips)))

    @property
    def media_urls(self) -> tuple[str, ...]:
        """The media servers, as the gateway reaches them."""
        own = f"{'https' if self.tls_cert else 'http'}://{self._own_host}:{self.port}"
        return self.media_server_urls or (own,)

    @property
    def _own_host(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - read, not listened on

    @property
    def gateway_url(self) -> str:
        """The gateway, as this machine reaches it."""
        return f"{'https' if self.tls_cert else 'http'}://{self._own_host}:{self.gateway_port}"

    @property
    def public_media_urls(self) -> Mapping[str, str]:
        """What clients are told for each of them: as configured, or this host by its announced address."""
        public = self.media_server_public_urls or self.media_urls
        if not (self.media_server_urls or self.media_server_public_urls) and self.announced_ip is not None:
            name = f"[{self.announced_ip}]" if ":" in self.announced_ip else self.announced_ip
            public = (f"{'https' if self.tls_cert else 'http'}://{name}:{self.port}",)
        return dict(zip(self.media_urls, public, strict=True))

    @property
    def media_ips(self) -> tuple[str, ...]:
        """The addresses the workers listen on; they take no names, and a socket of theirs has one family."""
        return media_ips(self.rtc_listen_ips or (self.host,))

    def worker_count(self, cores: int) -> int:
        """Compute the number of workers on a machine of so many cores: at most one per port."""
        if self.rtc_min_port == 0:
            return self.workers or cores
        return min(self.workers or cores, self.rtc_max_port - self.rtc_min_port + 1)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return all(name == "localhost" or ipaddress.ip_address(name).is_loopback for name in self.addresses)

    @property
    def is_development(self) -> bool:
        """Whether the comforts of development mode are on."""
        return self.development or self.jwt_secret is None


@dataclass(frozen=True, slots=True)
class SettingNames:
    """One row of the table: a setting under all its names, with its documentation."""

    key: str
    flag: str
    variables: tuple[str, ...]
    group: str
    does: str
    unit: str
    cost: str
    when: str
    default: object
    kind: object
    secret: bool

    @property
    def variable(self) -> str:
        """The variable with our prefix."""
        return self.variables[0]


def table() -> Iterator[SettingNames]:
    """List every setting in the order of the docs; flags, variables, samples and docs all come from here."""
    for key, field in Settings.model_fields.items():
        extra = cast(dict[str, str], field.json_schema_extra)
        bare = (extra["bare"],) if extra["bare"] else ()
        yield SettingNames(
            key=key,
            flag="--" + key.replace("_", "-"),
            variables=(ENV_PREFIX + key.upper(), *bare),
            group=extra["group"],
            does=field.description or "",
            unit=extra["unit"],
            cost=extra["cost"],
            when=extra["when"],
            default=field.default,
            kind=_plain_kind(field),
            secret=SecretStr in (field.annotation, *get_args(field.annotation)),
        )


def _plain_kind(field: FieldInfo) -> object:
    """Reduce an annotation to what a flag can hold: bool, int, float, str, list of str, or a choice."""
    kind = field.annotation
    choices = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is Literal:
        return kind
    if get_origin(kind) is tuple:
        return list[str]
    if choices:
        kind = choices[0]
    return str if kind in (Path, SecretStr) else kind


def load_settings(
    *,
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
    directory: Path | None = None,
) -> Settings:
    """Merge flags, environment, ``.env`` and a TOML file; check all of it.

    Args:
        flags: Values by key; None means not given.
        environ: The environment; nothing is read behind the caller's back.
        config_file: The TOML file; else the one MEESHY_CONFIG names; else none.
        directory: Where ``.env`` is looked for; None looks nowhere.

    Raises:
        ConfigError: A key is unknown or a value wrong; the message says which, whence and what to do.
    """
    environ = environ or {}
    path = config_file or (Path(environ[CONFIG_FILE_VARIABLE]) if environ.get(CONFIG_FILE_VARIABLE) else None)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}

    def take(found: Mapping[str, tuple[object, str]]) -> None:
        for key, (value, origin) in found.items():
            values[key], origins[key] = value, origin

    if path is not None:
        take(_from_toml(path))
    if directory is not None and (directory / ".env").is_file():
        take(_from_variables(read_dotenv(directory / ".env"), f"in {directory / '.env'}"))
    take(_from_variables(environ, "in the environment"))
    take(
        {
            key: (value, f"flag --{key.replace('_', '-')}")
            for key, value in (flags or {}).items()
            if value is not None
        }
    )
    try:
        return Settings(**cast(Any, values))
    except ValidationError as error:
        secrets = {row.key for row in table() if row.secret}
        raise ConfigError(explain(error, origins, fields=Settings.model_fields, secrets=secrets)) from None


def _from_toml(path: Path) -> dict[str, tuple[object, str]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; check --config or {CONFIG_FILE_VARIABLE}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from None
    known = [row.key for row in table()]
    for key in content:
        if key not in known:
            raise ConfigError(f"unknown key {key!r} in {path}{nearest(key, known)}")
    return {key: (value, f"{key} in {path}") for key, value in content.items()}


def _from_variables(variables: Mapping[str, str], place: str) -> dict[str, tuple[object, str]]:
    """Pick our variables; refuse unknown ones with our prefix, and slips of our bare names."""
    rows = list(table())
    known = [name for row in rows for name in row.variables]
    for name in variables:
        ours = (
            name.startswith(ENV_PREFIX)
            and not name.startswith(OTHER_PREFIXES)
            and name not in OTHER_VARIABLES
        )
        bare_slip = (
            place != "in the environment"
            and name not in known
            and bool(
                difflib.get_close_matches(name, [n for n in known if not n.startswith(ENV_PREFIX)], 1, 0.85)
            )
        )
        if (ours and name not in known) or bare_slip:
            raise ConfigError(
                f"unknown variable {name} {place}{nearest(name, [*known, *OTHER_VARIABLES[:1]])}"
            )
    found: dict[str, tuple[object, str]] = {}
    for row in rows:
        for name in reversed(row.variables):
            # an empty variable is how one is unset; it never means the empty string here
            if variables.get(name):
                found[row.key] = (variables[name], f"{name} {place}")
    return found
