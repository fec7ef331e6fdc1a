"""Lists of a conversation's calls by cursor: indices in the order in which pages are read.

Only indices: programs of earlier versions can go on reading and writing.
"""

from alembic import op

revision = "call_pages"
down_revision = "add_sfu_support"


def upgrade() -> None:
    """Order calls within conversation and status.

    The index of the conversation alone is the beginning of both. That of the time alone no query needs, and PostgreSQL
    would take it for a large conversation, to pass by all newer calls of the others.
    """
    op.create_index(
        "ix_call_sessions_conversation_created", "call_sessions", ["conversation_id", "created_at", "id"]
    )
    op.create_index(
        "ix_call_sessions_conversation_status_created",
        "call_sessions",
        ["conversation_id", "status", "created_at", "id"],
    )
    op.drop_index("ix_call_sessions_conversation_id", "call_sessions")
    op.drop_index("ix_call_sessions_created_at", "call_sessions")


def downgrade() -> None:
    """Back to the indices of the conversation and the time alone."""
    op.create_index("ix_call_sessions_created_at", "call_sessions", ["created_at"])
    op.create_index("ix_call_sessions_conversation_id", "call_sessions", ["conversation_id"])
    op.drop_index("ix_call_sessions_conversation_status_created", "call_sessions")
    op.drop_index("ix_call_sessions_conversation_created", "call_sessions")
