"""The collection of requests in docs/, run by newman, Postman's own runner, against real services.

Newman runs the scripts, variables and authorization of a collection as Postman does; without it we would need an interpreter
of our own for them. It is not told anything that a reader of the collection is not told.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulator.stack.full import GatewayStack
from tests.interop.browser import PAGE

ROOT = Path(__file__).parents[2]
COLLECTION = ROOT / "docs" / "meeshy.postman_collection.json"
NEWMAN = PAGE / "node_modules" / ".bin" / "newman"
HANDED_OUT = {"userToken", "invite", "serviceToken", "adaToken", "bobToken"}
"""Variables that the collection leaves to whoever uses it."""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow(reason="starts both services and a runner in Node"),
    pytest.mark.timeout(120),
]


def collection() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(COLLECTION.read_text(encoding="utf-8"))
    return made


def requests(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every request in a folder, in order."""
    if "request" in item:
        yield item
    for one in item.get("item", ()):
        yield from requests(one)


def error_code(response: dict[str, Any]) -> str | None:
    """The code of an error envelope; None for other answers."""
    if response["code"] < 400:
        return None
    return str(json.loads(bytes(response["stream"]["data"]))["error"]["code"])


async def output_of(*command: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), **environment},
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def tokens(secret: str, state: Path) -> dict[str, str]:
    """Run the commands that the collection's description names."""
    named = re.findall(r"- `(\w+)`: `meeshy (.+?)`", collection()["info"]["description"])
    assert {name for name, _ in named} == HANDED_OUT
    found = {}
    for name, arguments in named:
        command = [sys.executable, "-m", "meeshy_sfu", *shlex.split(arguments), "--state-dir", str(state)]
        code, text = await output_of(*command, JWT_SECRET=secret)
        assert code == 0, text
        found[name] = text.strip().splitlines()[-1]
    return found


@pytest.mark.skipif(not NEWMAN.exists(), reason="newman is not installed: make setup-test")
async def test_every_request_of_the_collection_does_what_it_says_against_real_services(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.json"
    async with GatewayStack(tmp_path) as stack:
        await stack.start()
        values = {"gatewayUrl": stack.gateway.url, "mediaUrl": stack.media.url}
        values |= await tokens(stack.secret, tmp_path)
        given = [part for pair in values.items() for part in ("--env-var", "=".join(pair))]
        code, said = await output_of(
            str(NEWMAN),
            "run",
            str(COLLECTION),
            *given,
            "-r",
            "cli,json",
            "--reporter-json-export",
            str(report),
        )
        assert code == 0, said[-8000:]
        async with aiohttp.ClientSession() as http:
            documents = [
                await (await http.get(f"{url}/openapi.json")).json()
                for url in (stack.gateway.url, stack.media.url)
            ]
    run = json.loads(report.read_text())["run"]
    answered = [(one["item"]["name"], one["response"]["code"]) for one in run["executions"]]
    folders = collection()["item"]
    ways = [item["name"] for folder in folders[:2] for item in requests(folder)]
    assert [name for name, _ in answered[: len(ways)]] == ways
    assert all(status in (200, 201) for _, status in answered[: len(ways)])
    # documented, but the fault of the collection: a wrong body, token or path; that a call has ended is none
    wrong = [
        (one["item"]["name"], code)
        for one in run["executions"]
        if (code := error_code(one["response"])) not in {None, "CALL_ENDED"}
        and one["response"]["code"] not in (404, 409)
    ]
    assert not wrong
    # every operation of the running services is there
    for folder, document in zip(folders[2:], documents, strict=True):
        there = {
            (one["request"]["method"], "/" + "/".join(one["request"]["url"]["path"]))
            for one in requests(folder)
        }
        served = {
            (method.upper(), re.sub(r"{(\w+)}", r":\1", path))
            for path, operations in document["paths"].items()
            for method in operations
            if not path.startswith("/api/dev/")
        }
        assert there == served


def test_no_secret_is_in_the_collection() -> None:
    variables = {one["key"]: one["value"] for one in collection()["variable"]}
    assert {name for name in variables if name.endswith("Token") or name == "invite"} >= HANDED_OUT
    assert all(variables[name] == "" for name in variables if name.endswith("Token") or name == "invite")
    text = COLLECTION.read_text(encoding="utf-8")
    assert not re.search(r"eyJ[\w-]{10,}\.", text), "a JSON Web Token"
    used = set(re.findall(r"{{(\w+)}}", text))
    assert used == set(variables), "every variable is declared, and none for nothing"


def test_the_collection_has_the_form_that_clients_import() -> None:
    made = collection()
    assert made["info"]["schema"].endswith("/collection/v2.1.0/collection.json")
    for one in (item for folder in made["item"] for item in requests(folder)):
        url = one["request"]["url"]
        assert url["raw"] == url["host"][0] + "/" + "/".join(url["path"])
        named = {part[1:] for part in url["path"] if part.startswith(":")}
        assert named == {variable["key"] for variable in url["variable"]}
        assert one["request"]["auth"]["type"] in ("noauth", "bearer")
        if "body" in one["request"]:
            json.loads(one["request"]["body"]["raw"])
