"""Bodies and answers of the development routes for faults, in camelCase; rest_faults.py has the routes."""

from typing import Annotated, Any, Literal

from pydantic import Field

from meeshy_sfu.edge.wire import Message, Whole, WireModel

FaultKind = Literal[
    "withhold",
    "tear_frames",
    "only_key_frames",
    "withhold_key_frames",
    "swap",
    "echo",
    "other_kind",
    "repeat",
    "unasked_ssrc",
    "payload_type",
    "damage_stamp",
    "damage_payload",
    "renumber",
    "shift_timestamp",
    "jitter_timestamp",
    "freeze_timestamp",
    "ignore_pause",
]
_Count = Annotated[Whole, Field(ge=0, lt=2**32)]
_MAX_FAULTS = 16


class Fault(WireModel):
    """One fault: what it does, to which packets, in which part of the time."""

    kind: FaultKind
    """What is done to a packet: not sent, with the numbers behind it closed up (`withhold`; `tear_frames`: all of a video
    frame but its last packet; `only_key_frames`: all video but key frames; `withhold_key_frames`: those alone); sent with the
    last payload of another participant (`swap`), of the receiver itself (`echo`) or of the sender's other kind of media
    (`other_kind`); sent again under the next number (`repeat`) or under an SSRC nobody asked for (`unasked_ssrc`); sent with
    `amount` as payload type (`payload_type`); with one byte of its stamp or payload inverted (`damage_stamp`,
    `damage_payload`); after `amount` numbers that are left out (`renumber`); with `amount` added to its RTP timestamp
    (`shift_timestamp`), with 0 to `amount` (`jitter_timestamp`), or with the timestamp of the first one
    (`freeze_timestamp`). `ignore_pause` is about producers instead: they go on being forwarded when they are paused,
    although the request succeeds; it takes no media, share or receivers, and is not in the log."""
    media: Literal["audio", "video"] | None = None
    """Only this kind of media."""
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of packets that are chosen."""
    by_frame: bool = False
    """Choose whole frames."""
    receivers: _Count | None = None
    """Only the first so many receivers, in the order in which they were sent something."""
    from_ms: _Count = 0
    """Milliseconds after the injection at which it begins."""
    for_ms: _Count | None = None
    """Milliseconds it lasts; for good when left out."""
    period_ms: Annotated[Whole, Field(ge=1, lt=2**32)] | None = None
    """It acts in the first `onMs` of each period of so many milliseconds; all the time when left out."""
    on_ms: _Count = 0
    """See `periodMs`."""
    amount: _Count = 0
    """Numbers left out, ticks added, or the payload type, by kind."""

    def core_fields(self) -> dict[str, Any]:
        """Return it as the core reads it, but for the payload types."""
        return self.model_dump(exclude={"media"})


class FaultsRequest(WireModel):
    """Faults in the order in which they are applied; none end those there are."""

    seed: Annotated[Whole, Field(ge=0, lt=2**53)] = 1
    """Start of the choice of packets: the same one chooses the same."""
    faults: Annotated[list[Fault], Field(max_length=_MAX_FAULTS)] = Field(default_factory=list)


class FaultAct(Message):
    """One packet that a fault was applied to."""

    fault: int
    """Place of the fault in the request."""
    unix_us: int
    receiver: int
    """Number of the receiver, in the order in which they were sent something."""
    ssrc: int
    """Towards the receiver."""
    timestamp: int
    """RTP timestamp: the same for all packets of a frame."""
    stamped: bool
    """Whether the packet ends with a stamp of a bot of the simulator."""


class FaultReach(Message):
    """Packets that one fault could have been applied to."""

    packets: int
    stamped: int
    """Those that end with a stamp of a bot of the simulator."""


class FaultLogData(Message):
    """What the faults of a worker did since they were injected."""

    since_unix_us: int
    acts: list[FaultAct]
    """In order, the first 200,000."""
    not_listed: int
    """Packets beyond those."""
    reach: list[FaultReach]
    """One entry for each fault."""
