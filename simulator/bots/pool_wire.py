"""What the native pool takes and reports as JSON: types alone, field by field as crates/sfu-bot has them.

The pool refuses a key it does not know. crates/sfu-bot/interface.json has a sample of each; a unit test compares.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from simulator.client.media_server import Direction, Json
from simulator.samples.schema import Kind

IceRole = Literal["controlling", "controlled"]
DtlsRole = Literal["auto", "client", "server"]


class PoolConfig(TypedDict, total=False):
    """How a pool is built; everything but the clip has a default there."""

    threads: int
    tick_us: int
    send_tick_us: int
    clip_path: str
    rcvbuf: int
    seed: int
    first_bot: int
    sample_capacity: int
    gro: bool
    clock_shift_ms: int


class SpawnOptions(TypedDict, total=False):
    """How the bots of one ``spawn`` behave."""

    bind: str
    send_role: DtlsRole
    recv_role: DtlsRole
    layer: int
    stamp: bool
    nack: bool
    transport_cc: bool
    pli: bool
    audio_stamp_every: int
    dtx: bool
    participant: int
    peer: IceRole
    audio: Json
    video: Json


class LinkProfile(TypedDict, total=False):
    """An emulated link in one direction."""

    loss: float
    delay_ms: float
    jitter_ms: float
    reorder: bool
    rate_bps: int
    queue_ms: float
    seed: int


class ConnectParameters(TypedDict):
    """The other side of one transport, as a media server or a peer writes it."""

    iceParameters: Json
    iceCandidates: list[Json]
    dtlsParameters: Json


class ConsumeRequest(TypedDict):
    """One stream to be received."""

    tag: int
    sender: int
    kind: Kind
    rtpParameters: Json


class LocalTransport(TypedDict):
    """Our side of one transport."""

    dtls: Json
    ice: Json
    address: str
    port: int


class LocalParameters(TypedDict):
    """Our side of both transports; to a peer there is one, and it is both."""

    send: LocalTransport
    recv: LocalTransport


class ThreadHealth(TypedDict):
    """What a thread of the pool has measured of itself."""

    alive: bool
    cpu_ns: int
    wall_ns: int
    ticks: int
    lag_mean_us: float
    lag_p99_us: float
    lag_max_us: float
    lag_recent_us: float
    stalled_us: float
    busy_max_us: float
    packets_sent: int
    late_sends: int
    late_max_us: float
    datagrams: int
    rtp_packets: int
    auth_failures: int
    unknown_ssrc: int
    send_refused: int


class Health(TypedDict):
    """What the pool has measured of itself."""

    threads: list[ThreadHealth]
    socket_drops: int
    samples_dropped: int
    events_dropped: int
    bots: int


class _Event(TypedDict):
    bot: int
    unix_ns: int


class IceEvent(_Event):
    """The ICE state of a transport changed."""

    type: Literal["ice"]
    which: Direction
    state: str


class IceRestartedEvent(_Event):
    """The other side uses the credentials of an ICE restart."""

    type: Literal["ice_restarted"]
    which: Direction


class DtlsEvent(_Event):
    """The DTLS state of a transport changed."""

    type: Literal["dtls"]
    which: Direction
    state: str
    srtp_profile: str | None


class FirstPacketEvent(_Event):
    """The first packet of a stream came."""

    type: Literal["first_packet"]
    tag: int
    sender: int
    kind: Kind


class FirstFrameEvent(_Event):
    """The first frame of a video stream that can be decoded was complete."""

    type: Literal["first_frame"]
    tag: int
    sender: int


class EnteredEvent(_Event):
    """A sender's track is shown from this leg from now on."""

    type: Literal["entered"]
    tag: int
    sender: int
    kind: Kind


class PliEvent(_Event):
    """The other side asked for a key frame."""

    type: Literal["pli"]


class FreezeEvent(_Event):
    """No packet was received for more than half a second."""

    type: Literal["freeze"]
    tag: int
    sender: int
    kind: Kind


class ThawEvent(_Event):
    """A frozen stream flows again."""

    type: Literal["thaw"]
    tag: int
    gap_ms: int


class ClosedEvent(_Event):
    """A transport ended, by the other side or by failure."""

    type: Literal["closed"]
    which: Direction
    reason: str


class ErrorEvent(_Event):
    """A command could not be carried out."""

    type: Literal["error"]
    message: str


PoolEvent = (
    IceEvent
    | IceRestartedEvent
    | DtlsEvent
    | FirstPacketEvent
    | FirstFrameEvent
    | EnteredEvent
    | PliEvent
    | FreezeEvent
    | ThawEvent
    | ClosedEvent
    | ErrorEvent
)


def details(event: PoolEvent) -> dict[str, Any]:
    """List what an event says beyond its type, its time and its bot."""
    return {name: value for name, value in event.items() if name not in ("type", "unix_ns", "bot")}
