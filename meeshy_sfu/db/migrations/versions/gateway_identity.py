"""Who serves this database: rooms on media servers bear this name, so that they are found again.

A table of its own: programs of earlier versions can go on reading and writing.
"""

import sqlalchemy as sa
from alembic import op

from meeshy_sfu.db.models import ID_LENGTH

revision = "gateway_identity"
down_revision = "call_pages"


def upgrade() -> None:
    """Add the table; the gateway fills it."""
    op.create_table(
        "gateway_identity",
        sa.Column("id", sa.String(ID_LENGTH), primary_key=True),
    )


def downgrade() -> None:
    """Forget the name: rooms that bear it are found by their calls alone."""
    op.drop_table("gateway_identity")
