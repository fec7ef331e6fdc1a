"""What a case of the self-test is: a fault in one size, the objectives it must break, and the figures that must show its size.

Pure. Which cases there are is in cases.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.selftest.datagrams import DatagramFault, Media
from simulator.selftest.evidence import Evidence
from simulator.selftest.signalling_proxy import Hidden

PARTICIPANTS = 4
DURATION_S = 8.0
"""Length of the measured part of each run."""
SHORT_S = 5.0
"""The same of the short form."""
OBJECTIVES = (
    "latency_ms.audio.p95<50",
    "latency_ms.video.p95<50",
    "loss.audio.ratio<0.01",
    "frames.duplicated==0",
    "reordered.ratio<=0.005",
)
"""Of every run of the self-test, beyond the default ones: a call on one host holds them."""
WITHIN = 0.05
"""How far the figure of a size may be from what was done, as a share of it."""
ServerFault = Mapping[str, Any]
"""As the development route of the media server takes it."""
Done = Callable[[Evidence], float]
"""Computes a figure from what was done."""
MEDIA: tuple[Media, ...] = ("audio", "video")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A figure that must show how large a fault was."""

    figure: str
    """Its path in the summary."""
    done: Done
    """What it must be, by what was done."""
    missing: bool = False
    """The figure is a share of what was right: the size is what it lacks to 1."""
    plus: float = 0.0
    """Absolute difference that is allowed besides, in the unit of the figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: a fault in one size."""

    fault: str
    size: str = ""
    server: tuple[ServerFault, ...] = ()
    network: tuple[DatagramFault, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    named_by: tuple[str, ...] = ()
    """Figures of which each must break an objective; none for a healthy server."""
    shown_by: tuple[Size, ...] = ()
    pausing: int = 0
    """So many of the participants pause their producers now and then, and go on sending."""
    from_join: bool = False
    """Armed when the participants begin to join, instead of with the measured part."""
    duration_s: float | None = None
    """Length of the measured part, where it is not that of the others."""
    in_short: bool = False
    """Belongs to the short form."""

    @property
    def name(self) -> str:
        """Fault and size, as a directory name."""
        text = f"{self.fault} {self.size}".strip()
        return "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-")


def both(**fault: Any) -> tuple[ServerFault, ...]:
    """Return a fault of the server for audio (the first) and for video (the second)."""
    return ({**fault, "media": "audio"}, {**fault, "media": "video"})


def of_each_kind(figure: str, done: Callable[[Media], Done], *, plus: float) -> tuple[Size, ...]:
    """Return the sizes that a figure of each kind must show; `{kind}` stands for it in the path."""
    return tuple(Size(figure=figure.format(kind=kind), done=done(kind), plus=plus) for kind in MEDIA)
