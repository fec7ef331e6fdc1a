"""The cases of the self-test about paused producers, whose bots go on sending. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.selftest.case import PARTICIPANTS, Case, Size


def paused() -> Iterable[Case]:
    """Return a server that obeys, and one that confirms each pause and forwards all the same."""
    yield Case(
        fault="pause-obeyed",
        pausing=2,
        shown_by=(Size(figure="paused_packets", done=lambda _: 0),),
        in_short=True,
    )
    for pausing in (1, 2, PARTICIPANTS):
        yield Case(
            fault="pause-ignored",
            size=f"{pausing} of {PARTICIPANTS} participants pause",
            server=({"kind": "ignore_pause"},),
            pausing=pausing,
            named_by=("paused_packets",),
            shown_by=(
                Size(
                    figure="paused_packets",
                    # Each frame goes to all others.
                    done=lambda e: e.paused_frames(PARTICIPANTS) * (PARTICIPANTS - 1),
                    plus=2,
                ),
            ),
            in_short=pausing == 1,
        )
