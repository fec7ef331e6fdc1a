"""Alert rules and dashboard: each query names what there is, each alert fires for its trouble, a real Prometheus takes them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from meeshy_sfu.free_ports import free_ports
from simulator.child import bound_command
from tests.docs.test_metrics_page import written
from tests.integration.deploy.conftest import ROOT
from tests.integration.gateway.test_switch import trio
from tests.prometheus import program
from tests.wire_check import ForeignResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meeshy_sfu.gateway.app import Gateway
    from meeshy_sfu.server.app import MediaServer
    from tests.integration.gateway.conftest import MakeCaller, StartGateway, StartMedia

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "meeshy.json").read_text(encoding="utf-8"))
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate"}}
"""Series that Prometheus itself writes, and their labels."""
OF_TARGETS = {"job", "instance", "le"}
"""Labels that Prometheus adds to every series, or that belong to histograms."""
FUNCTIONS = {"sum", "max", "rate", "increase", "histogram_quantile", "label_values", "by"}
TOKEN = "a-token-for-prometheus-0123456789"
DEADLINE_S = 40.0


def rules() -> dict[str, str]:
    """Return the expression of each alert by its name."""
    text = (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8")
    found = re.findall(r"- alert: (\w+)\n\s+expr: (?:\|\n)?((?:.*\n)+?)\s+(?:for|labels):", text)
    return dict(found)


def panels() -> dict[str, list[str]]:
    """Return the expressions of each panel by its title."""
    return {
        panel["title"]: [target["expr"] for target in panel["targets"]]
        for panel in DASHBOARD["panels"]
        if panel["type"] != "row"
    }


EXPRESSIONS = [*rules().items(), *((title, expr) for title, all_ in panels().items() for expr in all_)]


def known() -> dict[str, set[str]]:
    """Return the labels of every series that the services and Prometheus write."""
    series: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for name, (kind, labels) in written("Both services", "Media server", "Gateway").items():
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            series[name + suffix] = labels
    return series


def test_the_files_hold_as_many_alerts_and_panels_as_this_test_reads() -> None:
    assert len(rules()) == (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8").count("- alert:") >= 12
    assert len(panels()) >= 20


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[title for title, _ in EXPRESSIONS])
def test_every_query_names_series_and_labels_that_there_are(title: str, expression: str) -> None:
    series = known()
    bare = re.sub(r'"[^"]*"', '""', expression)
    used = {
        name
        for name in re.findall(r"\b([a-zA-Z]\w+)\b(?=\s*(?:\{|\[|\)|\s[/*+>=-]|$))", bare)
        if "_" in name or name == "up"
    }
    labels: set[str] = set()
    for matchers in re.findall(r"\{([^}]*)\}", bare):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|=|!=)", matchers))
    for grouping in re.findall(r"\bby \(([^)]*)\)", bare):
        labels |= {label.strip() for label in grouping.split(",")}
    names = used - labels - {"__rate_interval"}
    assert names, expression
    assert names <= series.keys(), (
        f"{title}: {sorted(names - series.keys())} are in no table of docs/metrics.md"
    )
    allowed = OF_TARGETS.union(*(series[name] for name in names))
    assert labels <= allowed, f"{title}: no label {sorted(labels - allowed)}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_takes_the_files_and_each_alert_fires_for_its_trouble_alone(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    (tmp_path / "prometheus" / "metrics-token").write_text("x")
    done = subprocess.run(
        [program("promtool"), *arguments],
        cwd=tmp_path / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_both_ways() -> None:
    tests = (PROMETHEUS / "alerts.test.yml").read_text(encoding="utf-8")
    quiet, loud = tests.split("- name: each fault has its alert")
    for name in rules():
        assert f"alertname: {name}}}" in quiet
        assert f"alertname: {name}\n" in loud


class Prometheus:
    """A running Prometheus and its HTTP API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def query(self, expression: str) -> list[Any]:
        """Evaluate an expression now."""
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": expression}) as answer:
            told = await answer.json()
        assert told["status"] == "success", f"{expression}: {told.get('error')}"
        return told["data"]["result"]

    async def eventually(self, expression: str, value: float) -> None:
        """Wait until an expression of one series has this value."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                found = await self.query(expression)
            except aiohttp.ClientError:
                found = []
            if [float(sample["value"][1]) for sample in found] == [value]:
                return
            assert time.monotonic() < deadline, f"{expression} is {found}, not {value}"
            await asyncio.sleep(0.2)


@asynccontextmanager
async def prometheus(directory: Path, *, media: str, gateway: str) -> AsyncIterator[Prometheus]:
    """Run Prometheus with the files of deploy/, pointed at these services and scraping every second."""
    shutil.copytree(PROMETHEUS, directory)
    (directory / "metrics-token").write_text(TOKEN)
    config = (directory / "prometheus.yml").read_text()
    for ours, theirs in (("127.0.0.1:3001", media), ("127.0.0.1:4000", gateway)):
        assert ours in config
        config = config.replace(ours, theirs.removeprefix("http://"))
    (directory / "prometheus.yml").write_text(config.replace("10s", "1s"))
    (port,) = free_ports(1)
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *bound_command(
                [
                    program("prometheus"),
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ]
            ),
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession(response_class=ForeignResponse) as session:
            yield Prometheus(f"http://127.0.0.1:{port}", session)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.timeout(120)
async def test_a_prometheus_scrapes_a_call_and_answers_every_panel_and_alert(
    tmp_path: Path,
    start_media: StartMedia,
    start_gateway: StartGateway,
    caller: MakeCaller,
) -> None:
    media: MediaServer = await start_media(metrics_token=TOKEN)
    gateway: Gateway = await start_gateway(metrics_token=TOKEN, media_server_urls=[media.url])
    await trio(gateway, caller)
    async with prometheus(tmp_path / "prometheus", media=media.url, gateway=gateway.url) as watch:
        await watch.eventually('sum(up{job=~"meeshy-.*"})', 2)
        await watch.eventually('calls_mode_sfu_total{job="meeshy-gateway"}', 1)
        await watch.eventually('calls_active_total{job="meeshy-media"}', 1)
        await watch.eventually("sum(meeshy_active_participants)", 3)
        await watch.eventually("sum(increase(calls_mode_transitions_total[1h])) >= bool 0", 1)
        for title, expression in EXPRESSIONS:
            for name, value in (("$instance", ".*"), ("$__rate_interval", "10s")):
                expression = expression.replace(name, value)
            try:
                await watch.query(expression)
            except AssertionError as error:
                raise AssertionError(f"{title}: {error}") from None
        for title in (
            "Calls",
            "Participants",
            "Busiest worker",
            "Load of workers",
            "Memory",
            "Sockets and events",
        ):
            expression = panels()[title][0].replace("$instance", ".*").replace("$__rate_interval", "10s")
            assert await watch.query(expression), f"{title} shows nothing while a call goes on"
