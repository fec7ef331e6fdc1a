"""Remove from media servers what is condemned (condemned.py), repeatedly, until each server has confirmed it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from meeshy_sfu.errors import MeeshyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from meeshy_sfu.clock import Clock
    from meeshy_sfu.gateway.jobs import Jobs
    from meeshy_sfu.gateway.media.condemned import Condemned
    from meeshy_sfu.gateway.media.media_client import MediaServerClient

logger = logging.getLogger(__name__)


class Removal:
    """Work through the list of one gateway."""

    def __init__(
        self, media: MediaServerClient, clock: Clock, jobs: Jobs, place_freed: Callable[[], None]
    ) -> None:
        self._media = media
        self._clock = clock
        self._jobs = jobs
        self._place_freed = place_freed

    def try_due(self) -> None:
        """Try what is due; to be called regularly, and when something is condemned."""
        for what in self._media.condemned.begin_due(now_s=self._clock.monotonic_s()):
            self._jobs.start(
                self._try(what), f"removal of {what.participant_id or 'the room'} of call {what.call_id}"
            )

    async def _try(self, what: Condemned) -> None:
        try:
            freed = await self._media.remove(what)
        except MeeshyError as error:
            logger.debug("not removed yet: %s", error, extra=what.log_ids())
            return
        logger.debug("removed", extra=what.log_ids())
        if freed:
            self._place_freed()
