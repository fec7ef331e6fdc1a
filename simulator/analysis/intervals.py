"""Intervals for shares: between which bounds the true share lies, given how often something was seen.

Pure arithmetic. E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
"""

from __future__ import annotations

import math
from typing import Final

from simulator.figure_types import Share

_Z: Final = 1.959963984540054
"""Of the normal distribution 95 % lie within this many standard deviations."""
_DIGITS = 6


def share(part: int, whole: int) -> Share:
    """Return the share of `part` in `whole` with its 95 % interval; all null when nothing was counted."""
    if whole <= 0:
        return Share()
    low, high = wilson(part, whole)
    return Share(
        ratio=round(min(max(part / whole, 0.0), 1.0), _DIGITS),
        low=round(low, _DIGITS),
        high=round(high, _DIGITS),
        of=whole,
    )


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the bounds between which the true share lies in 95 of 100 cases."""
    p, z2 = min(max(part / whole, 0.0), 1.0), _Z * _Z
    middle = p + z2 / (2 * whole)
    reach = _Z * math.sqrt(p * (1 - p) / whole + z2 / (4 * whole * whole))
    scale = 1 + z2 / whole
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
