"""The rate limits of the gateway, out of its settings. How requests are counted is in edge/limits.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meeshy_sfu.edge.limits import Quota

if TYPE_CHECKING:
    from meeshy_sfu.config import Settings

CALLS_WINDOW_S = 900.0
SIGNALS_WINDOW_S = 10.0


@dataclass(frozen=True, slots=True)
class Quotas:
    """All limits of the gateway.

    `calls` and `page` count per address, `events` per socket, `guests` per address or guest, the others per user.
    """

    calls: Quota
    page: Quota
    guests: Quota
    events: Quota
    initiate: Quota
    join: Quota
    leave: Quota
    toggle: Quota
    quality: Quota
    signals: Quota

    @classmethod
    def of(cls, settings: Settings) -> Quotas:
        """Read the limits out of the settings."""
        windows = {"calls": CALLS_WINDOW_S, "signals": SIGNALS_WINDOW_S}
        return cls(
            *(
                Quota(
                    f"rate_{name}",
                    getattr(settings, f"rate_{name}"),
                    windows.get(name, settings.rate_window_s),
                )
                for name in cls.__slots__
            )
        )
