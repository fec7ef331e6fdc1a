"""Alembic's entry: runs on the connection that `schema` hands in, inside its transaction."""

from alembic import context

from meeshy_sfu.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
