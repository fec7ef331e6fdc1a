"""Outages of the database, as clients are told of them: the same request may work later.

Tells them from mistakes of ours, which stay internal errors.
"""

from __future__ import annotations

import logging

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from meeshy_sfu.errors import DatabaseUnavailableError

logger = logging.getLogger(__name__)

OUR_MISTAKES = (IntegrityError, ProgrammingError, DataError, NotSupportedError)
"""What a database says of wrong statements and values; everything else is the state it is in."""


def database_failure(error: Exception) -> DatabaseUnavailableError | None:
    """Give what clients are told if the database is down, locked, full or broken; None for all other errors."""
    if isinstance(error, OUR_MISTAKES) or not isinstance(error, (DBAPIError, PoolTimeoutError)):
        return None
    # the statement is left out: it holds what people sent
    logger.error("the database does not serve: %s", getattr(error, "orig", None) or error)
    return DatabaseUnavailableError(
        "the database does not serve just now; nothing has happened, try again later"
    )
