"""Tables of the gateway and the values that leave the repository.

Column names are those of the plan (docs/glossary.md), in snake_case. Phase 1A knows calls that are peer to peer alone; what
Phase 1B added for the media server is marked. The migrations in `migrations/versions` are the authority for a real database,
and a test compares them with this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID_LENGTH = 64
NAME = "username"
"""Key of a participant's name in their device_info."""
Json = JSON().with_variant(JSONB(), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, always UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse times without a zone: they would mean something else on another machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the zone back."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def seconds_between(began: datetime, ended: datetime) -> int:
    """Return whole seconds; none if the clock was set back meanwhile."""
    return max(0, int((ended - began).total_seconds()))


class Base(DeclarativeBase):
    """All tables."""


class CallSession(Base):
    """One call of a conversation."""

    __tablename__ = "call_sessions"
    __table_args__ = (
        # Pages of a conversation, newest first; also of one status.
        Index("ix_call_sessions_conversation_created", "conversation_id", "created_at", "id"),
        Index(
            "ix_call_sessions_conversation_status_created", "conversation_id", "status", "created_at", "id"
        ),
        Index("ix_call_sessions_status", "status"),
        Index("ix_call_sessions_mode", "mode"),
        Index("ix_call_sessions_initiator_id", "initiator_id"),
        Index("ix_call_sessions_sfu_room_id", "sfu_room_id"),
        Index("ix_call_sessions_mode_status", "mode", "status"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    mode: Mapped[str] = mapped_column(String(8))
    status: Mapped[str] = mapped_column(String(16), server_default="initiated")
    type: Mapped[str] = mapped_column(String(8))
    initiator_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    settings: Mapped[Any | None] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration: Mapped[int | None] = mapped_column(Integer)
    end_reason: Mapped[str | None] = mapped_column(String(16))
    ended_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Phase 1B
    sfu_room_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    sfu_rtp_capabilities: Mapped[Any | None] = mapped_column(Json)
    last_mode_change: Mapped[datetime | None] = mapped_column(UtcDateTime)
    mode_change_count: Mapped[int] = mapped_column(Integer, server_default="0")


class CallParticipant(Base):
    """One participant of one call; a rejoin uses the same row again."""

    __tablename__ = "call_participants"
    __table_args__ = (
        CheckConstraint(
            "(user_id IS NULL) <> (anonymous_user_id IS NULL)", name="ck_call_participants_one_identity"
        ),
        Index("ix_call_participants_call_session_id", "call_session_id"),
        Index("ix_call_participants_user_id", "user_id"),
        Index("ix_call_participants_anonymous_user_id", "anonymous_user_id"),
        Index("ix_call_participants_status", "status"),
        Index("ix_call_participants_joined_at", "joined_at"),
        # Partial, so that one guest does not keep out the next: null is not an identity.
        Index(
            "uq_call_participants_call_user",
            "call_session_id",
            "user_id",
            unique=True,
            sqlite_where=text("user_id IS NOT NULL"),
            postgresql_where=text("user_id IS NOT NULL"),
        ),
        Index(
            "uq_call_participants_call_anonymous",
            "call_session_id",
            "anonymous_user_id",
            unique=True,
            sqlite_where=text("anonymous_user_id IS NOT NULL"),
            postgresql_where=text("anonymous_user_id IS NOT NULL"),
        ),
        Index("ix_call_participants_sfu_send_transport_id", "sfu_send_transport_id"),
        Index("ix_call_participants_sfu_audio_producer_id", "sfu_audio_producer_id"),
        Index("ix_call_participants_sfu_video_producer_id", "sfu_video_producer_id"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    call_session_id: Mapped[str] = mapped_column(
        String(ID_LENGTH),
        ForeignKey("call_sessions.id", ondelete="CASCADE", name="fk_call_participants_call"),
    )
    user_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    anonymous_user_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    role: Mapped[str] = mapped_column(String(16), server_default="participant")
    status: Mapped[str] = mapped_column(String(16), server_default="connecting")
    joined_at: Mapped[datetime] = mapped_column(UtcDateTime)
    left_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    audio_enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    video_enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    screen_share_enabled: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    quality_metrics: Mapped[Any | None] = mapped_column(Json)
    # what is known of who joined: their name, as in their token, and whatever Phase 1A put there
    device_info: Mapped[Any | None] = mapped_column(Json)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Phase 1B
    sfu_send_transport_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    sfu_recv_transport_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    sfu_audio_producer_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    sfu_video_producer_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    sfu_screen_producer_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))


class CallMetrics(Base):
    """Figures of one call (Phase 1B): every change of mode, averages, counters."""

    __tablename__ = "call_metrics"
    __table_args__ = (Index("uq_call_metrics_call_session_id", "call_session_id", unique=True),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    call_session_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("call_sessions.id", ondelete="CASCADE", name="fk_call_metrics_call")
    )
    mode_transitions: Mapped[Any] = mapped_column(Json)
    avg_packet_loss: Mapped[float | None] = mapped_column(Float)
    avg_jitter: Mapped[float | None] = mapped_column(Float)
    avg_rtt: Mapped[float | None] = mapped_column(Float)
    avg_bitrate: Mapped[float | None] = mapped_column(Float)
    quality_samples: Mapped[int] = mapped_column(Integer, server_default="0")
    peak_participants: Mapped[int | None] = mapped_column(Integer)
    total_participants: Mapped[int | None] = mapped_column(Integer)
    reconnections: Mapped[int] = mapped_column(Integer, server_default="0")
    ice_failures: Mapped[int] = mapped_column(Integer, server_default="0")
    transport_errors: Mapped[int] = mapped_column(Integer, server_default="0")
    total_data_sent: Mapped[int | None] = mapped_column(BigInteger)
    total_data_received: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GatewayIdentity(Base):
    """Who serves this database, in one row: what its gateway leaves on media servers bears this name."""

    __tablename__ = "gateway_identity"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)


@dataclass(frozen=True, slots=True)
class Participant:
    """A row of call_participants."""

    id: str
    call_session_id: str
    user_id: str | None
    anonymous_user_id: str | None
    role: str
    status: str
    joined_at: datetime
    left_at: datetime | None
    audio_enabled: bool
    video_enabled: bool
    screen_share_enabled: bool
    device_info: Any
    sfu_send_transport_id: str | None
    sfu_recv_transport_id: str | None
    sfu_audio_producer_id: str | None
    sfu_video_producer_id: str | None
    sfu_screen_producer_id: str | None

    @property
    def identity(self) -> str:
        """The user or the anonymous session behind the row."""
        return self.user_id or self.anonymous_user_id or ""

    @property
    def username(self) -> str:
        """As they called themselves when they last joined; else who they are."""
        name = self.device_info.get(NAME) if isinstance(self.device_info, dict) else None
        return name if isinstance(name, str) and name else self.identity


@dataclass(frozen=True, slots=True)
class Call:
    """A row of call_sessions with its participants, oldest first."""

    id: str
    conversation_id: str
    mode: str
    status: str
    type: str
    initiator_id: str
    settings: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration: int | None
    end_reason: str | None
    ended_by: str | None
    sfu_room_id: str | None
    sfu_rtp_capabilities: dict[str, Any] | None
    last_mode_change: datetime | None
    mode_change_count: int
    participants: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class ModeTransition:
    """One transition, as it is kept in call_metrics: a change of mode, another path of the same mode, or a failed one."""

    epoch: int
    source: str
    target: str
    timestamp: datetime
    duration_s: float
    reason: str
    success: bool = True
    """False of one that was rolled back."""

    @property
    def is_change(self) -> bool:
        """Whether the mode is another one afterwards: not after a re-homing, nor after a roll-back."""
        return self.success and self.source != self.target

    def as_json(self) -> dict[str, Any]:
        """The plan's shape (from, to, timestamp in ISO 8601, duration in seconds, reason), the epoch, and success."""
        return {
            "epoch": self.epoch,
            "from": self.source,
            "to": self.target,
            "timestamp": self.timestamp.isoformat(),
            "duration": self.duration_s,
            "reason": self.reason,
            "success": self.success,
        }


TOTAL_MAX = 2**63 - 1
AVERAGES = ("avg_packet_loss", "avg_jitter", "avg_rtt", "avg_bitrate")
TOTALS = ("total_data_sent", "total_data_received")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a call adds up to: averages, sums, counters."""

    avg_packet_loss: float | None = None
    avg_jitter: float | None = None
    avg_rtt: float | None = None
    avg_bitrate: float | None = None
    quality_samples: int = 0
    peak_participants: int | None = None
    total_participants: int | None = None
    reconnections: int = 0
    ice_failures: int = 0
    """Legs that ICE kept from being made, as the participants said who lacked them."""
    transport_errors: int = 0
    total_data_sent: int | None = None
    """Bytes, as the participants reported; None if none did."""
    total_data_received: int | None = None

    def with_participants(self, here: int, in_all: int) -> Figures:
        """Take in how many are in the call now, and how many have ever been."""
        return replace(
            self, peak_participants=max(here, self.peak_participants or 0), total_participants=in_all
        )

    def with_one_more(self, counter: str) -> Figures:
        """Add one to `reconnections`, `ice_failures` or `transport_errors`."""
        return replace(self, **{counter: getattr(self, counter) + 1})

    def with_sample(self, sample: Mapping[str, float]) -> Figures:
        """Take a client's report into the averages (keys of AVERAGES) and sums (keys of TOTALS)."""
        count = self.quality_samples
        values: dict[str, Any] = {}
        if any(name in sample for name in AVERAGES):
            values["quality_samples"] = count + 1
        for name in AVERAGES:
            if name in sample:
                before = getattr(self, name)
                now = sample[name]
                values[name] = now if before is None else before + (now - before) / (count + 1)
        for name in TOTALS:
            if name in sample:
                values[name] = min(TOTAL_MAX, (getattr(self, name) or 0) + int(sample[name]))
        return replace(self, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(Figures):
    """A row of call_metrics."""

    call_session_id: str
    mode_transitions: tuple[dict[str, Any], ...]

    @property
    def figures(self) -> Figures:
        """Everything but the changes of mode."""
        return Figures(**{field.name: getattr(self, field.name) for field in fields(Figures)})
