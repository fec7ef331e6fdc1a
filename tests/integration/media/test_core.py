"""The native module at its border: what it raises, and what it refuses."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from meeshy_sfu import _core
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.errors import (
    AddressUnavailableError,
    CertificateError,
    ConfigError,
    InvalidRequestError,
    InvalidStateError,
    NotFoundError,
    PortInUseError,
    WorkerDiedError,
)
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.worker import Worker, WorkerPool, WorkerSettings
from tests.integration.media.bots import open_descriptors


@pytest.fixture
def settings(certificate: Certificate) -> WorkerSettings:
    return WorkerSettings(certificate=certificate, size=1, base_port=0, pin=False)


def start(settings: WorkerSettings, **changes: object) -> _core.Worker:
    config = json.dumps({**json.loads(settings.core_config(0)), **changes})
    return _core.Worker(config, settings.certificate.certificate_der, settings.certificate.key_pkcs8_der)


def test_the_installed_core_is_a_release_build() -> None:
    assert _core.BUILD_PROFILE == "release"


def test_a_taken_port_is_named(settings: WorkerSettings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(port)):
            start(settings, port=port)


def test_an_address_of_somebody_else_is_named(settings: WorkerSettings) -> None:
    with pytest.raises(AddressUnavailableError, match=r"192\.0\.2\.1"):
        start(settings, listen=["192.0.2.1"])


@pytest.mark.parametrize("change", [{"listen": []}, {"index": -1}, {"made_up": 1}, {"listen": ["nonsense"]}])
def test_a_wrong_configuration_is_refused(settings: WorkerSettings, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        start(settings, **change)


def test_a_wrong_certificate_is_refused(settings: WorkerSettings) -> None:
    with pytest.raises(CertificateError):
        _core.Worker(settings.core_config(0), b"nonsense", settings.certificate.key_pkcs8_der)
    other = Certificate.generate(SystemClock())
    with pytest.raises(CertificateError):
        _core.Worker(settings.core_config(0), other.certificate_der, settings.certificate.key_pkcs8_der)


def test_a_closed_worker_takes_nothing(settings: WorkerSettings) -> None:
    worker = start(settings)
    assert worker.alive()
    worker.close()
    worker.close()
    assert not worker.alive()
    with pytest.raises(WorkerDiedError):
        worker.request('{"id": 1, "command": {"type": "stats"}}')


@pytest.mark.parametrize("request_json", ["", "{}", '{"id": 1, "command": {"type": "made_up"}}', "[" * 1000])
def test_a_malformed_request_is_refused(settings: WorkerSettings, request_json: str) -> None:
    worker = start(settings)
    with pytest.raises(InvalidRequestError):
        worker.request(request_json)
    worker.close()


def test_an_unknown_key_of_a_command_is_named_with_the_command(settings: WorkerSettings) -> None:
    worker = start(settings)
    command = {"type": "create_transport", "router": 1, "transport": 2, "udp": True, "tcp": False}
    with pytest.raises(
        InvalidRequestError, match=r"create_transport: unknown field `max_incomming_bps`.*`max_incoming_bps`"
    ):
        worker.request(json.dumps({"id": 1, "command": {**command, "max_incomming_bps": 1000}}))
    worker.close()


def test_an_unknown_option_of_bots_is_named(clip: Path) -> None:
    with pytest.raises(ConfigError, match="unknown field `thread`"):
        _core.BotPool(json.dumps({"clip_path": str(clip), "thread": 2}))
    pool = _core.BotPool(json.dumps({"clip_path": str(clip)}))
    with pytest.raises(InvalidRequestError, match="unknown field `audio_stamp_evry`"):
        pool.spawn(1, json.dumps({"audio_stamp_evry": 1}))
    (bot,) = pool.spawn(1, "{}")
    with pytest.raises(InvalidRequestError, match="unknown field `los`"):
        pool.impair(bot, json.dumps({"los": 1.0}), "{}")
    pool.stop()


def test_a_bot_that_does_not_exist_is_not_found(clip: Path) -> None:
    pool = _core.BotPool(json.dumps({"clip_path": str(clip)}))
    with pytest.raises(NotFoundError):
        pool.local(7)
    with pytest.raises(InvalidRequestError):
        pool.produce(0, "smell")
    pool.stop()
    with pytest.raises(InvalidStateError):
        pool.spawn(1, "{}")


async def test_the_replacement_of_a_worker_gets_its_port(certificate: Certificate) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = WorkerSettings(certificate=certificate, size=1, base_port=port, pin=False, allow_panic=True)
    async with await WorkerPool.start(settings) as pool:
        first = pool.workers[0]
        await pool.panic(0)
        async with asyncio.timeout(10):
            while not pool.workers or pool.workers[0] is first:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert pool.workers[0].port == port
        assert await pool.create_router(())


def no_cores(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "sched_getaffinity", lambda _: set())


def no_threads(patch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    patch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("trouble", [no_cores, no_threads])
async def test_a_worker_is_replaced_once_whatever_kept_it_from_that_is_over(
    certificate: Certificate,
    caplog: pytest.LogCaptureFixture,
    trouble: Callable[[pytest.MonkeyPatch], None],
) -> None:
    settings = WorkerSettings(certificate=certificate, size=1, base_port=0, allow_panic=True)
    async with await WorkerPool.start(settings) as pool, asyncio.timeout(10):
        with pytest.MonkeyPatch.context() as patch:
            trouble(patch)
            await pool.panic(0)
            while "cannot be replaced" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert not pool.healthy
        while not pool.healthy:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert await pool.create_router(())


async def test_a_worker_without_permission_cannot_be_broken(settings: WorkerSettings) -> None:
    worker = await Worker.start(settings, 0)
    with pytest.raises(InvalidStateError):
        await worker.panic()
    assert worker.alive
    worker.close()


async def test_a_pool_starts_whole_or_not_at_all(certificate: Certificate) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        settings = WorkerSettings(certificate=certificate, size=2, base_port=port - 1, pin=False)
        before = open_descriptors()
        with pytest.raises(PortInUseError):
            await WorkerPool.start(settings)
        assert open_descriptors() == before


FORK = """
import os, sys
from meeshy_sfu import _core
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.errors import ForkError
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.worker import WorkerSettings

certificate = Certificate.generate(SystemClock())
settings = WorkerSettings(certificate=certificate, size=1, base_port=0, pin=False)
worker = _core.Worker(settings.core_config(0), certificate.certificate_der, certificate.key_pkcs8_der)
child = os.fork()
if child == 0:
    try:
        worker.alive()
    except ForkError:
        del worker
        os._exit(7)
    os._exit(1)
_, status = os.waitpid(child, 0)
worker.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_is_told_that_its_workers_stayed_behind() -> None:
    result = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, timeout=20, check=False
    )
    assert result.returncode == 7, result.stderr
    # Starting a subprocess forks too, and must not be complained about.
    assert result.stderr == ""


async def test_udp_and_tcp_are_offered_on_one_port_and_tcp_alone_when_forced(
    settings: WorkerSettings,
) -> None:
    worker = await Worker.start(settings, 0)
    router = await worker.create_router(())
    both = await router.create_webrtc_transport()
    tcp = await router.create_webrtc_transport(udp=False)
    assert [candidate.protocol for candidate in both.ice_candidates] == ["udp", "tcp"]
    assert [candidate.protocol for candidate in tcp.ice_candidates] == ["tcp"]
    assert {candidate.port for candidate in both.ice_candidates} == {worker.port}
    assert both.ice_candidates[0].priority > both.ice_candidates[1].priority
    assert len(both.ice_parameters.username_fragment) >= 4
    assert len(both.ice_parameters.password) >= 22
    worker.close()


async def test_both_ip_versions_are_offered(settings: WorkerSettings) -> None:
    worker = await Worker.start(replace(settings, listen=("127.0.0.1", "::1")), 0)
    transport = await (await worker.create_router(())).create_webrtc_transport(tcp=False)
    assert {candidate.address for candidate in transport.ice_candidates} == {"127.0.0.1", "::1"}
    worker.close()


async def test_the_announced_address_is_offered_instead_of_the_bound_one(settings: WorkerSettings) -> None:
    worker = await Worker.start(replace(settings, announced="203.0.113.7"), 0)
    transport = await (await worker.create_router(())).create_webrtc_transport()
    assert {candidate.address for candidate in transport.ice_candidates} == {"203.0.113.7"}
    assert worker.addresses[0] == f"udp 203.0.113.7:{worker.port}"
    worker.close()
