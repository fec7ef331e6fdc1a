"""The pages on REST and Socket.IO of the media server: every route, event and field is there, and every example runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meeshy_sfu.edge.routes import Route
from meeshy_sfu.edge.service_routes import ServiceRoutes
from meeshy_sfu.server.health import HealthApi
from meeshy_sfu.server.messages import EVENTS
from meeshy_sfu.server.rest import RestApi
from meeshy_sfu.server.rest_consumers import ConsumerApi
from meeshy_sfu.server.rest_faults import FaultApi
from meeshy_sfu.server.rest_services import ServiceApi

ROOT = Path(__file__).resolve().parents[2]
REST = (ROOT / "docs" / "rest-api.md").read_text(encoding="utf-8")
SIGNALLING = (ROOT / "docs" / "signalling.md").read_text(encoding="utf-8")
RECORDED = """
set -euo pipefail
curl() { command curl "$@" | tee -a answers; echo >> answers; }
"""


def routes() -> list[Route]:
    parts = (HealthApi, ServiceRoutes, RestApi, ConsumerApi, ServiceApi, FaultApi)
    members = (member for part in parts for member in vars(part).values())
    return [member.__route__ for member in members if hasattr(member, "__route__")]


def heading(route: Route) -> str:
    return f"### {route.method} " + re.sub(r"{(\w+)}", r":\1", route.path)


def blocks(text: str, language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A media server in development mode, and the environment that the examples need."""
    environment = {name: value for name, value in os.environ.items() if "JWT_SECRET" not in name}
    environment |= {
        "MEESHY_PORT": "0",
        "MEESHY_RTC_MIN_PORT": "0",
        "MEESHY_STATE_DIR": str(tmp_path / "state"),
    }
    port_file = tmp_path / "url"
    command = [sys.executable, "-m", "meeshy_sfu", "serve", "media", "--port-file", str(port_file)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not port_file.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            bin_directory = str(Path(sys.executable).parent)
            path = f"{bin_directory}{os.pathsep}{environment['PATH']}"
            yield environment | {"URL": port_file.read_text().strip(), "PATH": path}
        finally:
            process.terminate()


def token(environment: dict[str, str], participant: str) -> str:
    command = [sys.executable, "-m", "meeshy_sfu", "token", "--call", "demo", "--participant", participant]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def test_each_route_has_a_heading_in_the_rest_page() -> None:
    missing = [heading(route) for route in routes() if f"{heading(route)}\n" not in REST]
    assert not missing, f"docs/rest-api.md lacks: {missing}"


def test_the_rest_page_has_no_route_that_does_not_exist() -> None:
    written = set(re.findall(r"^### (?:GET|POST|PUT|DELETE) .*$", REST, re.M))
    assert written == {heading(route) for route in routes()}


def test_each_field_of_a_body_or_answer_is_in_the_rest_page() -> None:
    models = {model for route in routes() for model in (route.body, route.data) if model is not None}
    names = {field.alias or name for model in models for name, field in model.model_fields.items()}
    missing = sorted(name for name in names - {"root"} if f"`{name}" not in REST)
    assert not missing, f"docs/rest-api.md does not mention: {missing}"


def test_each_event_with_its_fields_is_in_the_signalling_page() -> None:
    rows = [line for line in SIGNALLING.splitlines() if line.startswith("| `")]
    models = {event.name: event.request for event in EVENTS.client.values()}
    models |= {event.name: event.payload for event in EVENTS.server.values()}
    for event, model in models.items():
        (row,) = (row for row in rows if f"`{event}`" in row.split("|")[1])
        missing = [field.alias for field in model.model_fields.values() if f"`{field.alias}" not in row]
        assert not missing, f"docs/signalling.md: {event} lacks {missing}"


def test_the_examples_of_the_rest_page_run_in_order(server: dict[str, str], tmp_path: Path) -> None:
    script = RECORDED + blocks(REST, "sh")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=server,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answers = (tmp_path / "answers").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr + answers[-2000:]
    envelopes = [json.loads(line) for line in answers.splitlines() if line.startswith('{"success"')]
    assert len(envelopes) > len(routes()) - 6
    assert all(envelope["success"] for envelope in envelopes), answers
    named = len(re.findall(r"curl -s", blocks(REST, "sh")))
    assert named >= len(routes())


def test_the_example_of_the_signalling_page_runs(server: dict[str, str]) -> None:
    environment = server | {"ADA_TOKEN": token(server, "ada"), "BOB_TOKEN": token(server, "bob")}
    done = subprocess.run(
        [sys.executable, "-c", blocks(SIGNALLING, "python")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        *("new-producer", "bob", "audio"),
        "producer-closed",
        *("participant-left", "left"),
        *("room-closed", "empty"),
    ]
