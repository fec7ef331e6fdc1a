"""Runs against a gateway that was there before: `--server`, with a secret or with a command for tokens."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator.stack.full import GatewayStack
from tests.integration.simulate.conftest import command

pytestmark = [
    pytest.mark.slow(reason="whole runs on a stack that is started first"),
    pytest.mark.timeout(200),
]
SIGNS = """
import sys
from simulator.client.gateway import user_token
print(user_token(sys.argv[1], sys.argv[2], sys.argv[3]))
"""


async def run_against(
    stack: GatewayStack, state: Path, *arguments: str, **environment: str
) -> tuple[int, dict[str, Any], str]:
    child = await asyncio.create_subprocess_exec(
        *command(state, *arguments, "--server", stack.gateway.url, "--json", "--out", str(state / "run")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    out, err = await child.communicate()
    return child.returncode or 0, json.loads(out), err.decode()


@pytest.mark.parametrize("how", ["secret", "command"])
async def test_calls_go_through_a_gateway_that_is_not_the_runs_own(tmp_path: Path, how: str) -> None:
    script = tmp_path / "sign.py"
    script.write_text(SIGNS)
    async with GatewayStack(tmp_path) as stack:
        await stack.start()
        pid = stack.gateway.pid
        if how == "secret":
            more, environment = [], {"MEESHY_SIMULATE_SECRET": stack.secret}
        else:
            more = ["--token-command", f"{sys.executable} {script} {stack.secret} {{user}} {{conversation}}"]
            environment = {}
        code, summary, said = await run_against(
            stack, tmp_path, "switch", "--transitions", "2", *more, **environment
        )
        assert stack.gateway.pid == pid
        assert stack.complaint() is None
    assert summary["verdict"] != "error", summary["reasons"]
    assert code in (0, 3, 4), said
    assert summary["transition_ms"]["to_sfu"]["samples"] == 4
    assert summary["dropped_calls"] == 0
    # What needs the services' processes and database was not measured, and does not count.
    assert summary["leftovers"] is None
    assert any("database" in what for what in summary["left_out"])
    assert not any(line["value"] is None and line["passed"] is False for line in summary["slo"])
    assert (summary["server"]["cpu_core_percent"] is not None) == (how == "secret")


async def test_a_gateway_that_refuses_the_token_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with GatewayStack(tmp_path) as stack:
        await stack.start()
        code, summary, _ = await run_against(
            stack, tmp_path, "switch", "--transitions", "1", MEESHY_SIMULATE_SECRET="x" * 32
        )
    assert code in (1, 4)
    assert any("cannot open the socket to the gateway" in reason for reason in summary["reasons"])
