"""Outages of the database, as clients see them: the same request may work later.

Distinguishes them from faulty statements and values, which stay internal errors.
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
"""Errors of wrong statements and values; every other error is an outage."""


def database_failure(error: Exception) -> DatabaseUnavailableError | None:
    """Return the error for clients if the database is down, locked, full or broken; None for all other errors."""
    if isinstance(error, OUR_MISTAKES) or not isinstance(error, (DBAPIError, PoolTimeoutError)):
        return None
    # the statement is left out: it holds what clients sent
    logger.error("database unavailable: %s", getattr(error, "orig", None) or error)
    return DatabaseUnavailableError("database unavailable; nothing was changed; retry later")
