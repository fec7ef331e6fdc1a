"""Phase 1B: where a call lives in the media server, and figures of its changes of mode.

Only adds: columns that are nullable or have a default, indices, one table. Phase 1A rows stay as they are, and a
Phase 1A program can go on writing.
"""

import sqlalchemy as sa
from alembic import op

from meeshy_sfu.db.models import ID_LENGTH, Json, UtcDateTime

revision = "add_sfu_support"
down_revision = "phase_1a"

SESSION_COLUMNS = ("sfu_room_id", "sfu_rtp_capabilities", "last_mode_change", "mode_change_count")
PARTICIPANT_COLUMNS = (
    "sfu_send_transport_id",
    "sfu_recv_transport_id",
    "sfu_audio_producer_id",
    "sfu_video_producer_id",
    "sfu_screen_producer_id",
)
PARTICIPANT_INDICES = ("sfu_send_transport_id", "sfu_audio_producer_id", "sfu_video_producer_id")


def upgrade() -> None:
    """Add columns, indices and call_metrics."""
    op.add_column("call_sessions", sa.Column("sfu_room_id", sa.String(ID_LENGTH)))
    op.add_column("call_sessions", sa.Column("sfu_rtp_capabilities", Json))
    op.add_column("call_sessions", sa.Column("last_mode_change", UtcDateTime()))
    op.add_column(
        "call_sessions", sa.Column("mode_change_count", sa.Integer(), nullable=False, server_default="0")
    )
    op.create_index("ix_call_sessions_sfu_room_id", "call_sessions", ["sfu_room_id"])
    op.create_index("ix_call_sessions_mode_status", "call_sessions", ["mode", "status"])
    for column in PARTICIPANT_COLUMNS:
        op.add_column("call_participants", sa.Column(column, sa.String(ID_LENGTH)))
    for column in PARTICIPANT_INDICES:
        op.create_index(f"ix_call_participants_{column}", "call_participants", [column])
    op.create_table(
        "call_metrics",
        sa.Column("id", sa.String(ID_LENGTH), primary_key=True),
        sa.Column(
            "call_session_id",
            sa.String(ID_LENGTH),
            sa.ForeignKey("call_sessions.id", ondelete="CASCADE", name="fk_call_metrics_call"),
            nullable=False,
        ),
        sa.Column("mode_transitions", Json, nullable=False),
        sa.Column("avg_packet_loss", sa.Float()),
        sa.Column("avg_jitter", sa.Float()),
        sa.Column("avg_rtt", sa.Float()),
        sa.Column("avg_bitrate", sa.Float()),
        sa.Column("quality_samples", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("peak_participants", sa.Integer()),
        sa.Column("total_participants", sa.Integer()),
        sa.Column("reconnections", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("ice_failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("transport_errors", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("total_data_sent", sa.BigInteger()),
        sa.Column("total_data_received", sa.BigInteger()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
    )
    op.create_index("uq_call_metrics_call_session_id", "call_metrics", ["call_session_id"], unique=True)


def downgrade() -> None:
    """Take it all away again; Phase 1A columns and rows are not touched."""
    op.drop_table("call_metrics")
    for column in PARTICIPANT_INDICES:
        op.drop_index(f"ix_call_participants_{column}", "call_participants")
    for column in reversed(PARTICIPANT_COLUMNS):
        op.drop_column("call_participants", column)
    op.drop_index("ix_call_sessions_mode_status", "call_sessions")
    op.drop_index("ix_call_sessions_sfu_room_id", "call_sessions")
    for column in reversed(SESSION_COLUMNS):
        op.drop_column("call_sessions", column)
