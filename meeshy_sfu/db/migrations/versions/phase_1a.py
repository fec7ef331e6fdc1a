"""The schema of Phase 1A: calls and participants, peer to peer only."""

import sqlalchemy as sa
from alembic import op

from meeshy_sfu.db.models import ID_LENGTH, Json, UtcDateTime

revision = "phase_1a"
down_revision = None


def upgrade() -> None:
    """Make both tables and their indices."""
    op.create_table(
        "call_sessions",
        sa.Column("id", sa.String(ID_LENGTH), primary_key=True),
        sa.Column("conversation_id", sa.String(ID_LENGTH), nullable=False),
        sa.Column("mode", sa.String(8), nullable=False),
        sa.Column("status", sa.String(16), nullable=False, server_default="initiated"),
        sa.Column("type", sa.String(8), nullable=False),
        sa.Column("initiator_id", sa.String(ID_LENGTH), nullable=False),
        sa.Column("settings", Json),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime()),
        sa.Column("ended_at", UtcDateTime()),
        sa.Column("duration", sa.Integer()),
        sa.Column("end_reason", sa.String(16)),
        sa.Column("ended_by", sa.String(ID_LENGTH)),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
    )
    for column in ("conversation_id", "status", "created_at", "mode", "initiator_id"):
        op.create_index(f"ix_call_sessions_{column}", "call_sessions", [column])
    op.create_table(
        "call_participants",
        sa.Column("id", sa.String(ID_LENGTH), primary_key=True),
        sa.Column(
            "call_session_id",
            sa.String(ID_LENGTH),
            sa.ForeignKey("call_sessions.id", ondelete="CASCADE", name="fk_call_participants_call"),
            nullable=False,
        ),
        sa.Column("user_id", sa.String(ID_LENGTH)),
        sa.Column("anonymous_user_id", sa.String(ID_LENGTH)),
        sa.Column("role", sa.String(16), nullable=False, server_default="participant"),
        sa.Column("status", sa.String(16), nullable=False, server_default="connecting"),
        sa.Column("joined_at", UtcDateTime(), nullable=False),
        sa.Column("left_at", UtcDateTime()),
        sa.Column("audio_enabled", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("video_enabled", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("screen_share_enabled", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("quality_metrics", Json),
        sa.Column("device_info", Json),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "(user_id IS NULL) <> (anonymous_user_id IS NULL)", name="ck_call_participants_one_identity"
        ),
    )
    for column in ("call_session_id", "user_id", "anonymous_user_id", "status", "joined_at"):
        op.create_index(f"ix_call_participants_{column}", "call_participants", [column])
    for name, column in (("user", "user_id"), ("anonymous", "anonymous_user_id")):
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"uq_call_participants_call_{name}",
            "call_participants",
            ["call_session_id", column],
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )


def downgrade() -> None:
    """Back to an empty database."""
    op.drop_table("call_participants")
    op.drop_table("call_sessions")
