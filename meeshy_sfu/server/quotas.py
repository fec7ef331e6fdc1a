"""The rate limits of the media server, out of its settings. How requests are counted is in edge/limits.py."""

from dataclasses import dataclass

from meeshy_sfu.config import Settings
from meeshy_sfu.edge.limits import Quota


@dataclass(frozen=True, slots=True)
class Quotas:
    """All limits of the server, from its settings."""

    create: Quota
    transports: Quota
    connect: Quota
    consume: Quota
    other: Quota
    events: Quota

    @classmethod
    def of(cls, settings: Settings) -> "Quotas":
        """Read the limits out of the settings."""
        window_s = settings.rate_window_s

        def quota(name: str) -> Quota:
            return Quota(f"rate_{name}", getattr(settings, f"rate_{name}"), window_s)

        return cls(*(quota(name) for name in cls.__slots__))
