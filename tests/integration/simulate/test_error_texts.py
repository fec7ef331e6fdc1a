"""What `meeshy simulate` says when it cannot run: the cause, what it concerns, and the remedy."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop

from meeshy_sfu.cli import main
from meeshy_sfu.free_ports import free_ports
from simulator.bots.aiortc import ChildProcess
from simulator.bots.clip import ensure_clip
from simulator.bots.native import NativeGenerator
from simulator.child import how_it_ended
from simulator.client.bot import BotSettings
from simulator.client.media_server import Rest
from simulator.errors import BotError, SignalingError
from simulator.samples.recorder import RunDirectory
from simulator.scenario import Network
from tests.integration.server.test_life_cycle import make_certificate


@pytest.fixture
def free_port() -> int:
    """A port without a listener."""
    return free_ports(1)[0]


@asynccontextmanager
async def service(answer: bytes, certificate: tuple[Path, Path] | None = None) -> AsyncIterator[int]:
    """The port of an HTTP service that is not ours."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)
        await writer.drain()
        writer.close()

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def refusal(url: str) -> str:
    async with Rest(url) as rest:
        with pytest.raises(SignalingError) as caught:
            await rest.request("GET", "/api/stats", "token")
    return str(caught.value)


PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
OTHER_JSON = b'HTTP/1.1 404 Not Found\r\nContent-Length: 18\r\n\r\n{"detail": "none"}'


async def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    async with service(PAGE, make_certificate(tmp_path)) as port:
        text = await refusal(f"https://127.0.0.1:{port}")
    assert "its certificate is not trusted: self-signed certificate" in text
    assert "SSL_CERT_FILE" in text
    assert "is the media server running" not in text


async def test_https_towards_plain_http_is_named() -> None:
    async with service(PAGE) as port:
        text = await refusal(f"https://127.0.0.1:{port}")
    assert f"it does not speak TLS; write http://127.0.0.1:{port}" in text


async def test_http_towards_https_is_named(tmp_path: Path) -> None:
    async with service(PAGE, make_certificate(tmp_path)) as port:
        text = await refusal(f"http://127.0.0.1:{port}")
    assert f"it speaks TLS; write https://127.0.0.1:{port}" in text


@pytest.mark.parametrize("answer", [PAGE, OTHER_JSON])
async def test_another_service_is_named(answer: bytes) -> None:
    async with service(answer) as port:
        text = await refusal(f"http://127.0.0.1:{port}")
    assert "is no media server" in text
    assert "check host and port" in text


async def test_nothing_that_listens_is_named(free_port: int) -> None:
    text = await refusal(f"http://127.0.0.1:{free_port}")
    assert "is the media server running?" in text


async def test_blocked_media_is_named_with_address_port_and_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.bots.native.CONNECT_TIMEOUT_S", 0.3)
    clip = str(ensure_clip(tmp_path / "cache"))
    transport = {
        "iceParameters": {"usernameFragment": "abcd", "password": "a" * 24, "iceLite": True},
        "iceCandidates": [
            {
                "foundation": "1",
                "priority": 1,
                "ip": "127.0.0.1",
                "port": 9,
                "type": "host",
                "protocol": "udp",
            }
        ],
        "dtlsParameters": {
            "role": "auto",
            "fingerprints": [{"algorithm": "sha-256", "value": ":".join(["AB"] * 32)}],
        },
    }
    settings = BotSettings(
        seed=1, network=Network(), clip=clip, bind="127.0.0.1", on_event=lambda *_, **__: None
    )
    async with NativeGenerator(settings) as generator:
        [bot] = await generator.spawn([0])
        await bot.connect("send", transport)
        with pytest.raises(BotError, match=r"udp 127\.0\.0\.1:9; open these ports.*MEESHY_ANNOUNCED_IP"):
            await bot.start_sending("video")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (3, "ended with exit code 3"),
        (None, "has ended"),
    ],
)
def test_how_a_process_ended_is_said_in_words(code: int | None, words: str) -> None:
    assert how_it_ended(code) == words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("churn", "--calls", "0"),
            "churn.calls: input should be greater than or equal to 1, got 0 (set by --calls)",
        ),
        (("group", "--participants", "1"), "got 1 (set by --participants)"),
        (("group", "--loss", "3", "--delay-ms", "-1"), "got -1.0 (set by --delay-ms)"),
    ],
)
def test_a_wrong_value_is_named_by_its_flag(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *options, "--json"]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert "participants.count" not in printed.err or "--participants" in options
    assert words in json.loads(printed.out)["reasons"][0]


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("group", "--calls", "5"), "--calls"),
        (("group", "--transitions", "3"), "--transitions"),
        (("switch", "--duration", "3"), "--duration"),
    ],
)
def test_an_option_that_a_scenario_does_not_have_is_refused(
    arguments: tuple[str, ...], flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments, "--json", "--out", str(tmp_path / "run")]) == 2
    words = f"{flag}: the scenario '{arguments[0]}' does not take this option; scenarios that do: "
    assert words in json.loads(capsys.readouterr().out)["reasons"][0]
    assert list(tmp_path.iterdir()) == []


def test_a_variable_that_a_scenario_does_not_have_is_refused_as_its_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_SIMULATE_CALLS", "5")
    assert main(["simulate", "group"]) == 2
    assert "--calls: the scenario 'group' does not take this option" in capsys.readouterr().err


def test_a_scenario_that_is_not_utf_8_is_named_with_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes('name = "x"\ndescription = "Gespräch"\n'.encode("latin-1"))
    assert main(["simulate", str(path)]) == 2
    assert "latin.toml is not UTF-8: line 2 holds the byte 0xe4" in capsys.readouterr().err


def test_an_error_under_json_is_json(
    capsys: pytest.CaptureFixture[str], free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEESHY_SIMULATE_TOKEN", "token")
    arguments = ["simulate", "group", "--server", f"http://127.0.0.1:{free_port}", "--json"]
    assert main([*arguments, "--state-dir", str(tmp_path)]) == 1
    error = json.loads(capsys.readouterr().out)
    assert error["verdict"] == "error"
    assert error["exit_code"] == 1
    assert "is the media server running?" in error["reasons"][0]


def test_a_run_whose_name_was_taken_meanwhile_is_kept_under_another(tmp_path: Path) -> None:
    run = RunDirectory.in_folder(tmp_path, "group-2", datetime(2026, 1, 1, tzinfo=UTC))
    taken = run.path
    with run:
        (run.partial / "summary.json").write_text("ours")
        # the other run of this second is complete first
        taken.mkdir()
        (taken / "summary.json").write_text("theirs")
        kept = run.complete()
    assert kept == run.path == taken.with_name(f"{taken.name}-1")
    assert (kept / "summary.json").read_text() == "ours"
    assert (taken / "summary.json").read_text() == "theirs"


class KilledChild(ChildProcess):
    """A child that answers the first order and is killed in the middle of its next answer."""

    program = "tests.integration.simulate.killed_child"


def test_a_child_that_is_killed_in_the_middle_of_an_answer_is_named(tmp_path: Path) -> None:
    """Under uvloop, as runs are; every order afterwards is refused with how the child ended."""

    async def run() -> list[str]:
        settings = BotSettings(
            seed=1, network=Network(), clip="", bind="127.0.0.1", on_event=lambda *_, **__: None
        )
        child = KilledChild("aiortc-0", settings, tmp_path / "aiortc-0.log")
        await child.start()
        said: list[str] = []
        for _ in range(50):
            try:
                await asyncio.wait_for(child.order("collect", tick=1), 10)
            except BotError as error:
                said.append(str(error))
        said += child.broken
        await child.stop()
        return said

    said = uvloop.run(run())
    assert len(said) == 51
    assert set(said) == {"aiortc-0 was killed by SIGKILL; its log is aiortc-0.log of the run"}


class StdinClosingChild(ChildProcess):
    """A child that closes its standard input, and is killed a moment later."""

    program = "tests.integration.simulate.stdin_closing_child"


def test_a_child_that_is_killed_between_orders_is_named(tmp_path: Path) -> None:
    """The moment in which uvloop has closed the pipe and does not know yet how the child ended."""

    async def run() -> list[BaseException]:
        settings = BotSettings(
            seed=1, network=Network(), clip="", bind="127.0.0.1", on_event=lambda *_, **__: None
        )
        child = StdinClosingChild("aiortc-0", settings, tmp_path / "aiortc-0.log")
        await child.start()
        assert child._process is not None
        assert child._process.stdin is not None
        child._process.stdin.transport.abort()  # as uvloop does when it sees that the other end is closed
        await asyncio.sleep(0.05)
        assert child._process.returncode is None, "how it ended is not known yet"
        orders = [child.order("collect", tick=1) for _ in range(3)]
        answers = await asyncio.gather(*orders, return_exceptions=True)
        await child.stop()
        return [answer for answer in answers if isinstance(answer, BaseException)]

    refused = uvloop.run(run())
    assert {type(error) for error in refused} == {BotError}
    assert {str(error) for error in refused} == {
        "aiortc-0 was killed by SIGKILL; its log is aiortc-0.log of the run"
    }
