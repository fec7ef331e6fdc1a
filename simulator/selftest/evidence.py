"""What a fault really did, from the logs of those who did it: the figures that a verdict is compared with.

Pure: tables in, numbers out. The server's log lists the packets it altered, the proxy's all it saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

AUDIO_MS = 20.0
VIDEO_MS = 1000 / 30
"""Between two packets of audio, and two frames of video."""
_ACTS = ("fault", "unixUs", "receiver", "ssrc", "timestamp", "stamped")
_APART_NS = 200_000_000
"""Two packets of a stream that are further apart were not withheld in the same part of a fault's time."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The logs of one run of the self-test, cut to the measured time."""

    window_ns: tuple[int, int]
    acts: pd.DataFrame
    """Packets that the server altered."""
    reach: tuple[Mapping[str, int], ...]
    """For each of the server's faults, how many packets it could have altered."""
    rows: pd.DataFrame
    """Datagrams that the proxy saw, with what became of them."""
    hidden: int = 0
    """Streams that receivers were not told of."""
    paused: tuple[tuple[int, str, int, int], ...] = ()
    """Sender, kind, begin and end of each time in which a paused producer must not be forwarded."""
    healthy: Mapping[str, Any] = field(default_factory=dict)
    """The summary of the run without a fault."""

    def share(self, fault: int, *, stamped: bool = True) -> float:
        """Return the share of packets (or of those with a stamp) that one of the server's faults altered."""
        name = "stamped" if stamped else "packets"
        return _ratio(self.count(fault, stamped=stamped), self.reach[fault][name])

    def count(self, fault: int | None = None, *, stamped: bool = False) -> int:
        """Count the packets that the server altered; of one fault or of all."""
        return len(self._acts(fault, stamped=stamped))

    def frames(self, fault: int | None = None) -> int:
        """Count the frames of which the server altered a packet."""
        acts = self._acts(fault)
        return len(acts.drop_duplicates(["receiver", "ssrc", "timestamp"]))

    def jumps(self, fault: int, spacing_ticks: int) -> int:
        """Count where a stream of one frame each so many ticks goes over to what the server altered, and where back."""
        found = 0
        for _, acts in self._acts(fault, stamped=True).groupby(["receiver", "ssrc"]):
            steps = acts["timestamp"].astype("int64").diff() % (1 << 32)
            found += 2 * int((steps != spacing_ticks).sum())
            # What lasts until the end does not come back.
            found -= int(acts["at_ns"].max() + 2 * AUDIO_MS * 1e6 > self.window_ns[1])
        return found

    def stall_ms(self, fault: int, spacing_ms: float) -> float:
        """Return the longest time that one of the server's faults kept from a stream, until the end of the measured time."""
        longest = 0.0
        for _, times in self._acts(fault).groupby(["receiver", "ssrc"])["at_ns"]:
            part = (times.diff() > _APART_NS).cumsum()
            spans = times.groupby(part).agg(["min", "max"])
            # From the last packet before to the first one after; nothing comes after the end.
            reaches_end = spans["max"] + 2 * spacing_ms * 1e6 > self.window_ns[1]
            begin = spans["min"] - spacing_ms * 1e6
            end = (spans["max"] + spacing_ms * 1e6).mask(reaches_end, self.window_ns[1])
            longest = max(longest, float((end - begin).max()) / 1e6)
        return longest

    def datagrams(self, *, direction: str, media: str | None = None) -> pd.DataFrame:
        """Return what the proxy saw in one direction, and of one kind of media or of all that is no RTCP."""
        rows = self.rows
        chosen = rows["media"] == media if media else rows["media"].isin(["audio", "video"])
        return rows[(rows["direction"] == direction) & chosen]

    def touched(self, *, direction: str, media: str | None = None) -> int:
        """Count the datagrams that a fault of the network was applied to."""
        return int((self.datagrams(direction=direction, media=media)["fault"] >= 0).sum())

    def lost(self, *, direction: str, media: str | None = None) -> float:
        """Return the share of datagrams that the network did not pass on."""
        rows = self.datagrams(direction=direction, media=media)
        return _ratio(int((rows["sent_ns"] == 0).sum()), len(rows))

    def paused_frames(self, participants: int) -> float:
        """Return how many frames came to the server of producers that were paused: all participants send equally many."""
        found = 0
        for _, media, start, end in self.paused:
            rows = self.datagrams(direction="up", media=media)
            rows = rows[rows["at_ns"].between(start, end)]
            found += len(rows.drop_duplicates(["leg", "ssrc", "timestamp"]))
        return found / participants

    def most_lost(self, *, direction: str, media: str) -> float:
        """Return the same of the client that lost the largest share."""
        rows = self.datagrams(direction=direction, media=media)
        lost = (rows["sent_ns"] == 0).groupby(rows["leg"]).mean()
        return float(lost.max()) if len(lost) else 0.0

    def held_ms(self, *, direction: str, media: str, quantile: float) -> float:
        """Return a quantile of the time that the network held datagrams."""
        rows = self.datagrams(direction=direction, media=media)
        rows = rows[rows["sent_ns"] > 0]
        return float(((rows["sent_ns"] - rows["at_ns"]) / 1e6).quantile(quantile))

    def variation_ms(self, *, direction: str, media: str, quantile: float) -> float:
        """Return a quantile of the time that datagrams were held beyond the least held one of their stream (RFC 5481)."""
        rows = self.datagrams(direction=direction, media=media)
        rows = rows[rows["sent_ns"] > 0]
        held = (rows["sent_ns"] - rows["at_ns"]) / 1e6
        least = held.groupby([rows["leg"], rows["ssrc"]]).transform("min")
        return float((held - least).quantile(quantile))

    def rise_ms(self, *, direction: str, media: str) -> float:
        """Return by how much the time that the network held datagrams rose over the measured time."""
        rows = self.datagrams(direction=direction, media=media)
        rows = rows[rows["sent_ns"] > 0]
        at_ns = rows["at_ns"] - self.window_ns[0]
        slope, _ = np.polyfit(
            at_ns.to_numpy("float64"), (rows["sent_ns"] - rows["at_ns"]).to_numpy("float64"), 1
        )
        return float(slope) * (self.window_ns[1] - self.window_ns[0]) / 1e6

    def silence_ms(self, *, direction: str, media: str) -> float:
        """Return the longest time in which the network passed on nothing of a stream, until the end of the measured time."""
        longest = 0.0
        for _, rows in self.datagrams(direction=direction, media=media).groupby(["leg", "ssrc"]):
            times = rows.loc[rows["sent_ns"] > 0, "sent_ns"].sort_values()
            end = pd.Series([self.window_ns[1]])
            gaps = pd.concat([times[times < self.window_ns[1]], end]).diff().dropna()
            if len(gaps):
                longest = max(longest, float(gaps.max()) / 1e6)
        return longest

    def late_share(self, *, direction: str) -> float:
        """Return the share of datagrams that were passed on after one of their stream that had come later."""
        late = total = 0
        for _, rows in self.datagrams(direction=direction).groupby(["leg", "ssrc"]):
            sent = rows[rows["sent_ns"] > 0].sort_values("at_ns")["sent_ns"]
            # Overtaken by any that came later: the least time of all behind is before its own.
            soonest_behind = sent[::-1].cummin()[::-1].shift(-1)
            late += int((soonest_behind < sent).sum())
            total += len(sent)
        return _ratio(late, total)

    def _acts(self, fault: int | None, *, stamped: bool = False) -> pd.DataFrame:
        acts = self.acts if fault is None else self.acts[self.acts["fault"] == fault]
        return acts[acts["stamped"]] if stamped else acts


def read_evidence(
    window_ns: tuple[int, int],
    server: Mapping[str, Any],
    network: Mapping[str, Any],
    *,
    hidden: int = 0,
    paused: Iterable[tuple[int, str, int, int]] = (),
    healthy: Mapping[str, Any] | None = None,
) -> Evidence:
    """Make the tables of both logs, as they were written, and cut them to the measured time."""
    acts = pd.DataFrame(server.get("acts", []), columns=list(_ACTS))
    acts["at_ns"] = acts["unixUs"].astype("int64") * 1000
    acts["stamped"] = acts["stamped"].astype(bool)
    rows = pd.DataFrame(network["rows"], columns=list(network["columns"]))
    rows = rows.astype({"at_ns": "int64", "sent_ns": "int64", "fault": "int64"})
    return Evidence(
        window_ns=window_ns,
        acts=acts[acts["at_ns"].between(*window_ns)].reset_index(drop=True),
        reach=tuple(server.get("reach", [])),
        rows=rows[rows["at_ns"].between(*window_ns)].reset_index(drop=True),
        hidden=hidden,
        paused=tuple(paused),
        healthy=healthy or {},
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
