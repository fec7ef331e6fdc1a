"""The page on metrics has every metric of both services with its type and labels, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric

from meeshy_sfu.config import load_settings
from meeshy_sfu.gateway.metrics import Metrics as GatewayMetrics
from meeshy_sfu.server.app import MediaServer
from meeshy_sfu.server.metrics import Metrics as ServerMetrics

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
OF_SAMPLES = {"le"}
"""Labels of a histogram's own."""


def written(*headings: str) -> dict[str, tuple[str, set[str]]]:
    """Return type and labels by name from the tables below these headings."""
    found = {}
    for heading in headings:
        section = re.split(r"^## ", PAGE.split(f"## {heading}\n")[1], maxsplit=1, flags=re.M)[0]
        for line in section.splitlines():
            if line.startswith("| `"):
                names, kind, labels, _ = (cell.strip() for cell in line.strip("|").split("|", 3))
                for name in re.findall(r"`(\w+)`", names):
                    found[name] = (kind, set(re.findall(r"`(\w+)`", labels)))
    return found


def check(metrics: Iterable[Metric], *headings: str) -> None:
    """Compare what is there with what the page says."""
    known = written(*headings)
    there = set()
    for metric in metrics:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        there.add(name)
        assert name in known, f"docs/metrics.md lacks {name}"
        kind, labels = known[name]
        assert kind == metric.type, name
        for sample in metric.samples:
            assert set(sample.labels) - OF_SAMPLES == labels, name
    assert there == known.keys()


def test_the_metrics_of_the_gateway_are_on_the_page() -> None:
    metrics = GatewayMetrics()
    metrics.began("video", "GROUP")
    metrics.ended(1, "normal")
    metrics.rolled_back("deadline")
    metrics.queried("get_call", 0.001, failed=False)
    check(metrics.registry.collect(), "Both services", "Gateway")


async def test_the_metrics_of_the_media_server_are_on_the_page(tmp_path: Path) -> None:
    flags = {"port": 0, "rtc_min_port": 0, "workers": 1, "state_dir": tmp_path}
    async with await MediaServer.start(load_settings(flags=flags)) as server:
        metrics = ServerMetrics(server.pool, server.clock)
        check(metrics.registry.collect(), "Both services", "Media server")


def test_what_to_watch_is_made_of_metrics_there_are() -> None:
    known = written("Both services", "Media server", "Gateway")
    section = PAGE.split("## What to watch\n")[1]
    named = set(
        re.findall(r"\b(?:meeshy|call|calls)_\w+", " ".join(re.findall(r"^\| `([^`]+)`", section, re.M)))
    )
    assert named
    assert {name.removesuffix("_bucket") for name in named} <= known.keys()
