"""Progress of a run: figures while it goes on, and a live table of them.

The verdict does not use them: it is computed from the raw samples afterwards. The command line passes in the console.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from simulator.client.server_figures import ServerFigures
from simulator.report.highlights import highlights
from simulator.samples.schema import SAMPLE_SHOWN
from simulator.summary import Summary, Verdict

_FRESH_NS = 2_000_000_000
HEARTBEAT_S = 10.0
"""How often a line says how a run goes where no table can."""
_LAG_WARN_MS = 50.0


@dataclass(slots=True)
class Progress:
    """The state of a run at the last collection."""

    participants: int
    expected: int
    joined: int = 0
    flowing: int = 0
    packets_per_s: float = 0.0
    latency_ms: tuple[float, float, float] | None = None
    """p50, p95 and p99 since the last collection."""
    loss: float | None = None
    server_core_percent: float | None = None
    server_rss_bytes: int | None = None
    lag_ms: float = 0.0
    """Worst lag of the generator since the last collection."""
    socket_drops: int = 0
    steady: bool = True
    """Whether the expected streams stay the same; where participants join and leave, a stale count would mislead."""
    _packets: tuple[float, int] = field(default=(0.0, 0))
    _server: tuple[int, int] | None = None
    _tracks: dict[int, int] = field(default_factory=dict)

    def update(
        self,
        server: ServerFigures | None,
        collected: Sequence[Mapping[str, Sequence[pa.RecordBatch]]],
        streams: Sequence[pa.RecordBatch],
    ) -> None:
        """Update from what was just collected."""
        now = time.monotonic()
        packets = sum(_sum(batch, "packets") for batch in streams)
        expected = sum(_sum(batch, "expected") for batch in streams)
        missing = sum(_sum(batch, "missing") for batch in streams)
        before, counted = self._packets
        if before:
            self.packets_per_s = max(0.0, (packets - counted) / max(1e-3, now - before))
        self._packets = (now, packets)
        self.loss = missing / expected if expected else None
        self.flowing = sum(_flowing(batch) for batch in streams)
        self._take_health(server, collected)

    def update_calls(
        self,
        server: ServerFigures | None,
        collected: Sequence[Mapping[str, Sequence[pa.RecordBatch]]],
        expected: int,
    ) -> None:
        """Update from what was just collected of calls that switch, where frames are counted instead of packets."""
        now_ns, now = time.time_ns(), time.monotonic()
        frames = 0
        for batch in (b for part in collected for b in part["latency"] if b.num_rows):
            shown = _column(batch, "flags") & SAMPLE_SHOWN != 0
            frames += int(shown.sum())
            receiver, sender, kind = (
                _column(batch, name)[shown].astype(np.int64) for name in ("receiver", "sender", "kind")
            )
            # One number a track: unique rows of three take twenty times as long, and block the event loop.
            self._tracks |= dict.fromkeys(np.unique(receiver << 24 | sender << 8 | kind).tolist(), now_ns)
        self.expected = expected
        self.flowing = sum(now_ns - seen < _FRESH_NS for seen in self._tracks.values())
        if self._packets[0]:
            self.packets_per_s = frames / max(1e-3, now - self._packets[0])
        self._packets = (now, 0)
        self._take_health(server, collected)

    def _take_health(
        self, server: ServerFigures | None, collected: Sequence[Mapping[str, Sequence[pa.RecordBatch]]]
    ) -> None:
        delays = [_column(b, "owd_ns") for part in collected for b in part["latency"] if b.num_rows]
        if delays:
            p50, p95, p99 = np.percentile(np.concatenate(delays) / 1e6, [50, 95, 99])
            self.latency_ms = (float(p50), float(p95), float(p99))
        health = [b for part in collected for b in part["generator"] if b.num_rows]
        self.lag_ms = max((float(_column(b, "lag_max_us").max()) for b in health), default=0.0) / 1e3
        self.socket_drops = sum(_sum(b, "socket_drops") for b in health)
        if server is not None:
            self._take_server(server)

    def _take_server(self, server: ServerFigures) -> None:
        self.server_rss_bytes = server.rss_bytes
        if server.cpu_ns is None:
            return
        if self._server is not None and server.unix_ns > self._server[0]:
            wall_ns = server.unix_ns - self._server[0]
            self.server_core_percent = (server.cpu_ns - self._server[1]) / wall_ns * 100
        self._server = (server.unix_ns, server.cpu_ns)


class Watcher:
    """Is notified of the progress of a run. This one shows nothing; see LiveTable."""

    def begin(self, title: str) -> None:
        """A run begins."""

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """A phase begins; `duration_s` is its length if that is known."""

    def show(self, progress: Progress) -> None:
        """The figures have changed."""


class PhaseLines(Watcher):
    """Prints a line for each phase, for logs and other places where nothing can change in place."""

    def __init__(self, console: Console, title: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._title = title
        self._last: Progress | None = None
        self._now = now
        self._begun = self._said = now()

    def __enter__(self) -> Self:
        self.begin(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def begin(self, title: str) -> None:
        """Print the title."""
        self._last = None
        self._console.print(title, markup=False)

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Print the phase, and what was reached before it."""
        p = self._last
        reached = (
            ""
            if p is None or not p.steady
            else f" ({p.joined} of {p.participants} in, {p.flowing} of {p.expected} streams flowing)"
        )
        length = "" if duration_s is None else f", {duration_s:g} s"
        self._console.print(f"  {name}{length}{reached}", markup=False)
        self._begun = self._said = self._now()

    def show(self, progress: Progress) -> None:
        """Keep the figures for the next line; print them if none was printed for a while."""
        self._last = progress
        now = self._now()
        if now - self._said >= HEARTBEAT_S:
            self._said = now
            self._console.print(f"    {now - self._begun:.0f} s: {_in_a_line(progress)}", markup=False)


def _in_a_line(p: Progress) -> str:
    """Say in a line how a run goes."""
    parts = [f"{p.joined} of {p.participants} in"]
    if p.steady:
        parts.append(f"{p.flowing} of {p.expected} streams flowing")
    parts.append(f"{p.packets_per_s:,.0f} {'packets received' if p.steady else 'frames shown'}/s")
    if p.latency_ms is not None:
        parts.append(f"latency p95 {p.latency_ms[1]:.1f} ms")
    if p.server_core_percent is not None:
        parts.append(f"server {p.server_core_percent:.0f} % of a core")
    return ", ".join([*parts, f"generator lag {p.lag_ms:.0f} ms"])


class LiveTable(Watcher):
    """Shows a run as a table that changes in place. Use as a context manager around the run."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("preparing", total=None)
        self._until: tuple[float, float] | None = None
        self._progress: Progress | None = None
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._render)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, title: str) -> None:
        """Show the figures of this run alone."""
        self._title, self._progress = title, None

    def phase(self, name: str, duration_s: float | None = None) -> None:
        """Show the phase and its progress."""
        self._until = None if duration_s is None else (time.monotonic(), duration_s)
        self._bar.reset(self._task, description=name, total=duration_s)

    def show(self, progress: Progress) -> None:
        """Show the figures from now on."""
        self._progress = progress

    def _render(self) -> RenderableType:
        if self._until is not None:
            start, duration_s = self._until
            self._bar.update(self._task, completed=min(duration_s, time.monotonic() - start))
        elif self._progress is not None:
            self._bar.update(
                self._task, total=self._progress.expected or None, completed=self._progress.flowing
            )
        parts: list[RenderableType] = [self._bar]
        if self._progress is not None:
            parts.insert(0, progress_table(self._progress, self._title))
        return Group(*parts)


def progress_table(p: Progress, title: str) -> Table:
    """Lay out the progress of a run."""
    table = Table(title=title, title_justify="left", show_header=False, min_width=60)
    table.add_column(style="bold")
    table.add_column(justify="right")
    latency = "–" if p.latency_ms is None else " / ".join(f"{v:.1f}" for v in p.latency_ms) + " ms"
    healthy = p.lag_ms < _LAG_WARN_MS and not p.socket_drops
    health = Text(
        f"{'good' if healthy else 'weak'}: lag {p.lag_ms:.1f} ms, {p.socket_drops} dropped",
        style="green" if healthy else "yellow",
    )
    rows: list[tuple[str, RenderableType]] = [
        ("participants", f"{p.joined} of {p.participants}"),
        *([("streams flowing", f"{p.flowing} of {p.expected}")] if p.steady else []),
        ("packets received" if p.steady else "frames shown", f"{p.packets_per_s:,.0f}/s"),
        ("latency p50 / p95 / p99", latency),
        ("loss", "–" if p.loss is None else f"{p.loss:.3%}"),
        ("server CPU", "–" if p.server_core_percent is None else f"{p.server_core_percent:.0f} % of a core"),
        ("server memory", "–" if p.server_rss_bytes is None else f"{p.server_rss_bytes / 1e6:.0f} MB"),
        ("load generator", health),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


_COLOURS: dict[Verdict, str] = {"pass": "green", "fail": "red", "void": "yellow", "error": "red"}


def verdict_panel(summary: Summary, title: str, name: str | None = None) -> Panel:
    """Lay out the verdict, its reasons and the main figures; `name` is the title of the frame."""
    lines = [f"[bold]{title}[/bold]"] + [Text(f"• {reason}").markup for reason in summary.reasons[:10]]
    table = Table.grid(padding=(0, 2))
    for figure, value in highlights(summary):
        table.add_row(figure, value)
    return Panel(
        Group(Text.from_markup("\n".join(lines)), Text(""), table),
        title=name,
        title_align="left",
        border_style=_COLOURS[summary.verdict],
        expand=False,
    )


def _column(batch: pa.RecordBatch, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.int64)


def _sum(batch: pa.RecordBatch, name: str) -> int:
    return int(_column(batch, name).sum()) if batch.num_rows else 0


def _flowing(batch: pa.RecordBatch) -> int:
    if not batch.num_rows:
        return 0
    last, now = _column(batch, "last_packet_ns"), _column(batch, "unix_ns")
    return int(((last > 0) & (now - last < _FRESH_NS)).sum())
