"""Write the pages and schemas that follow from the code, or parts of them; with --check only compare.

They are docs/configuration.md, simulator/summary.schema.json, the figures in docs/measuring.md, the faults in
docs/selftest.md, the tables of docs/metrics.md, the events in docs/gateway.md and docs/signalling.md, docs/schemas/ and the
collection of requests for API clients (`api_collection.py`). The
sources are `meeshy_sfu/config.py`, `simulator/summary.py`, `simulator/selftest/cases.py`, the metrics that the services and
the core declare, and of the wire the tables of events and routes (`wire_docs.py`).
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from api_collection import api_collection
from wire_docs import Tables, between, protocol_schema, routes_of

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import SettingNames, table
from meeshy_sfu.edge.metrics import Declaration, EdgeMetrics
from meeshy_sfu.edge.openapi import Description
from meeshy_sfu.edge.service_routes import ServiceRoutes
from meeshy_sfu.gateway.health import HealthApi as GatewayHealth
from meeshy_sfu.gateway.metrics import Metrics as GatewayMetrics
from meeshy_sfu.gateway.wire.description import DESCRIPTION as GATEWAY
from meeshy_sfu.gateway.wire.rest import RestApi as GatewayRest
from meeshy_sfu.gateway.wire.rest_guests import GuestApi
from meeshy_sfu.gateway.wire.rest_overview import OverviewApi
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.worker import WorkerPool, WorkerSettings
from meeshy_sfu.server.description import DESCRIPTION as MEDIA_SERVER
from meeshy_sfu.server.health import HealthApi as MediaHealth
from meeshy_sfu.server.metrics import Metrics as ServerMetrics
from meeshy_sfu.server.rest import RestApi as MediaRest
from meeshy_sfu.server.rest_consumers import ConsumerApi
from meeshy_sfu.server.rest_services import ServiceApi
from simulator.selftest.cases import FAULTS, cases
from simulator.summary import Figure, Topic, figures_of, json_schema

ROOT = Path(__file__).resolve().parents[1]
METRICS = ROOT / "docs" / "metrics.md"
MEASURING = ROOT / "docs" / "measuring.md"
BEGIN = (
    "<!-- Made by .ci/generate_docs.py from simulator/summary.py; do not edit up to the next comment. -->\n"
)
SELFTEST = ROOT / "docs" / "selftest.md"
SELFTEST_BEGIN = "<!-- Made by .ci/generate_docs.py from simulator/selftest/cases.py; do not edit up to the next comment. -->"
END = "<!-- End of what is made. -->\n"
HEAD = """# Configuration

<!-- Made by .ci/generate_docs.py from meeshy_sfu/config.py; do not edit. -->

A flag beats an environment variable, that beats `.env`, that beats the TOML file (`--config` or `MEESHY_CONFIG`), that beats
the default. Unknown keys are refused, with the nearest known one named. `.env.example` lists every variable.

Without `jwt_secret` the server runs in **development mode**: it makes a secret, prints a ready token and link, and listens on
loopback only; another address is refused with the reason. Secrets reach child processes by environment, never by arguments.

A setting `rtc_min_port` is the flag `--rtc-min-port`, the variable `MEESHY_RTC_MIN_PORT` (some also have the bare name given
below) and the key `rtc_min_port` in the file.
"""


def shown(row: SettingNames) -> str:
    """The default as one would write it, with its unit."""
    if row.default is None or row.default == ():
        return "–"
    value = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
    return f"`{value}`" + (f" {row.unit}" if row.unit else "")


def configuration() -> str:
    """The whole page on settings."""
    parts = [HEAD]
    for group, rows in itertools.groupby(table(), key=lambda row: row.group):
        parts.append(
            f"\n## {group}\n\n| setting | default | what it does | cost | when to change it |\n| --- | --- | --- | --- | --- |\n"
        )
        for row in rows:
            also = (
                f"<br>also {', '.join(f'`{name}`' for name in row.variables[1:])}"
                if row.variables[1:]
                else ""
            )
            cells = (f"`{row.key}`{also}", shown(row), row.does, row.cost, row.when)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def measuring() -> str:
    """The page on measuring, with the tables of figures made anew."""
    text = MEASURING.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{MEASURING} lacks the comments between which the tables of figures are put")
    return before + BEGIN + "".join(figure_table(topic) for topic in Topic) + "\n" + END + after


def selftest() -> str:
    """The page on the self-test, with the table of faults made anew."""
    text = SELFTEST.read_text(encoding="utf-8")
    lines = ["| fault | what is done | sizes | objectives that it breaks | figures that show its size |\n"]
    lines.append("| --- " * 5 + "|\n")
    for fault, meaning in FAULTS.items():
        of_fault = [case for case in cases() if case.fault == fault]
        sizes = "; ".join(case.size for case in of_fault if case.size)
        named = _names(name for case in of_fault for name in case.named_by)
        shown = _names(size.figure for case in of_fault for size in case.shown_by)
        lines.append(f"| `{fault}` | {meaning} | {sizes} | {named} | {shown} |\n")
    before, found_begin, rest = text.partition(f"{SELFTEST_BEGIN}\n")
    _, found_end, after = rest.partition(END)
    if not (found_begin and found_end):
        raise SystemExit(f"{SELFTEST} lacks the comments between which the table of faults is put")
    return f"{before}{SELFTEST_BEGIN}\n\n{''.join(lines)}\n{END}{after}"


def _names(paths: Iterable[str]) -> str:
    return ", ".join(f"`{path}`" for path in dict.fromkeys(paths))


def figure_table(topic: Topic) -> str:
    """The figures of one section of the report, those for audio and video in one row."""
    rows: dict[tuple[str, ...], list[Figure]] = {}
    groups = []
    for figure in figures_of(topic):
        if figure.is_group:
            if "." not in figure.path:
                groups.append(f"`{figure.path}`: {figure.meaning}\n")
            continue
        must = [text.removeprefix(figure.path).removeprefix(".").strip() for text in figure.objectives]
        key = (figure.meaning, figure.unit, ", ".join(f"`{text}`" for text in must))
        rows.setdefault(key, []).append(figure)
    lines = [f"\n### {topic.value}\n\n", *(f"{line}\n" for line in groups)]
    lines.append("| figure | unit | meaning | objective |\n| --- | --- | --- | --- |\n")
    for (meaning, unit, must), figures in rows.items():
        names = ", ".join(f"`{figure.path}`" for figure in figures)
        lines.append(f"| {names} | {unit} | {meaning} | {must} |\n")
    return "".join(lines)


def schema() -> str:
    """The JSON Schema of summary.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


def metrics() -> str:
    """The page on metrics with its tables made anew."""
    shared = EdgeMetrics().declarations
    clock = SystemClock()
    pool = WorkerPool(
        WorkerSettings(certificate=Certificate.generate(clock)), clock=clock, rng=random.Random(0)
    )
    blocks = {
        "metrics of both services": metric_table(shared),
        "metrics of the media server": metric_table(ServerMetrics(pool, clock).declarations[len(shared) :]),
        "metrics of the gateway": metric_table(GatewayMetrics().declarations[len(shared) :]),
    }
    return between(METRICS.read_text(encoding="utf-8"), blocks, str(METRICS))


def metric_table(declarations: Iterable[Declaration]) -> str:
    """The metrics as declared."""
    lines = ["| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"]
    for one in declarations:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.meaning} |\n")
    return "".join(lines)


def events(page: Path, description: Description) -> str:
    """A page with its tables of events made anew."""
    tables = Tables(description)
    blocks = {"events from the client": tables.from_client(), "events from the server": tables.to_client()}
    blocks["objects"] = tables.objects()
    return between(page.read_text(encoding="utf-8"), blocks, str(page))


GATEWAY_PAGE, SIGNALLING_PAGE = ROOT / "docs" / "gateway.md", ROOT / "docs" / "signalling.md"
SCHEMAS = ROOT / "docs" / "schemas"
GATEWAY_API = (GatewayRest, OverviewApi, GuestApi)
MEDIA_API = (MediaRest, ConsumerApi, ServiceApi)
MADE: dict[Path, Callable[[], str]] = {
    GATEWAY_PAGE: lambda: events(GATEWAY_PAGE, GATEWAY),
    SIGNALLING_PAGE: lambda: events(SIGNALLING_PAGE, MEDIA_SERVER),
    SCHEMAS / "gateway.json": lambda: protocol_schema(GATEWAY, routes_of(*GATEWAY_API)),
    SCHEMAS / "media-server.json": lambda: protocol_schema(MEDIA_SERVER, routes_of(*MEDIA_API)),
    ROOT / "docs" / "meeshy.postman_collection.json": lambda: api_collection(
        routes_of(*GATEWAY_API, GatewayHealth, ServiceRoutes),
        routes_of(*MEDIA_API, MediaHealth, ServiceRoutes),
    ),
    ROOT / "docs" / "configuration.md": configuration,
    MEASURING: measuring,
    SELFTEST: selftest,
    METRICS: metrics,
    ROOT / "simulator" / "summary.schema.json": schema,
}


def main() -> int:
    """Write, or compare and say what to do."""
    old = 0
    for path, make in MADE.items():
        text = make()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv[1:]:
            print(
                f"{path.relative_to(ROOT)} is not what the code says; run: .venv/bin/python .ci/generate_docs.py"
            )
            old += 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return min(old, 1)


if __name__ == "__main__":
    sys.exit(main())
