"""The page on TURN: its configuration is taken by coturn, fits the gateway, and keeps strangers out of our network."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.config import load_settings
from meeshy_sfu.gateway.turn import probe as turn_probe
from meeshy_sfu.gateway.turn.ice_servers import parse_server
from meeshy_sfu.gateway.turn.probe import Credentials, probe
from tests.coturn import coturn, need_coturn
from tests.integration.server.test_life_cycle import make_certificate

pytestmark = pytest.mark.timeout(90)

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "turn.md").read_text(encoding="utf-8")


def block(language: str) -> list[str]:
    """The lines of the first block of this language."""
    text = PAGE.split(f"```{language}\n")[1].split("```")[0]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def configuration() -> dict[str, Any]:
    """The options of turnserver.conf, one or several values each."""
    values: dict[str, list[str]] = defaultdict(list)
    for line in block("ini"):
        name, _, value = line.partition("=")
        values[name].append(value)
    return {name: True if found == [""] else found for name, found in values.items()}


async def test_the_configuration_of_coturn_relays_for_our_credentials_but_not_into_our_network(
    tmp_path: Path,
) -> None:
    need_coturn()
    # Only what belongs to a place is changed: addresses, ports, files.
    ours = {"listening-port", "tls-listening-port", "cert", "pkey", "min-port", "max-port", "external-ip"}
    written = {name: value for name, value in configuration().items() if name not in ours}
    assert ours < set(configuration())
    (secret,) = written["static-auth-secret"]
    tls = make_certificate(tmp_path)
    async with coturn(tmp_path / "one", tls=tls, **written, allow_loopback_peers=None) as server:
        log = server.log_text()
        assert "Bad configuration format" not in log, log
        made = Credentials(secret, time.time(), 600)
        verdict = await probe(f"turn:127.0.0.1:{server.port}", made, peers=("127.0.0.1",))
        assert "forbids to relay" in verdict.found
        for private in ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254"):
            verdict = await probe(f"turn:127.0.0.1:{server.port}", made, peers=(private,))
            assert f"forbids to relay to the media server's address {private}" in verdict.found
    allowed = {"allow_loopback_peers": True, "allowed_peer_ip": ["127.0.0.1", "10.0.0.5"]}
    async with coturn(tmp_path / "two", tls=tls, **written, **allowed) as server:
        verdict = await probe(f"turn:127.0.0.1:{server.port}", made, peers=("127.0.0.1", "10.0.0.5"))
        assert verdict.status == "ok", verdict


def test_the_settings_of_the_gateway_are_read() -> None:
    variables = dict(line.split("=", 1) for line in block("sh"))
    settings = load_settings(environ=variables)
    assert [url for entry in settings.turn_servers for url in parse_server(entry)] == [
        "turn:turn.example.org:3478?transport=udp",
        "turn:turn.example.org:3478?transport=tcp",
        "turns:turn.example.org:5349?transport=tcp",
    ]
    assert settings.turn_secret is not None
    assert settings.turn_credential_ttl_s == 86_400


def test_every_finding_of_the_table_is_one_the_probe_has() -> None:
    source = re.sub(r'"\s*f?"', "", Path(turn_probe.__file__).read_text(encoding="utf-8"))
    table = PAGE.split("| it says | change |\n")[1].split("\n\n")[0].splitlines()[1:]
    for row in table:
        for finding in row.split("|")[1].replace("(a warning)", "").split("·"):
            for part in (words.strip() for words in finding.split("…")):
                assert part in source, part
