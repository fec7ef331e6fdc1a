"""What the gateway prints at its start: one link that is a call, or why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import Settings, load_settings
from meeshy_sfu.edge.auth import TokenRules
from meeshy_sfu.gateway.banner import banner
from meeshy_sfu.gateway.wire.auth import read_invite

SECRET = "s" * 32
URL = "http://127.0.0.1:4000"


@pytest.fixture
def web(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<!doctype html>")
    return tmp_path


def lines(**flags: Any) -> list[str]:
    settings: Settings = load_settings(flags={"jwt_secret": SECRET, "development": True} | flags)
    return banner(settings, URL, SystemClock())


def test_in_development_the_last_line_is_a_link_that_opens_the_demo_conversation(web: Path) -> None:
    link = lines(web_dir=web)[-1].strip()
    page, _, invite = link.partition("#invite=")
    assert page == f"{URL}/", "the invite is in the fragment, which no server and no log sees"
    found = read_invite(invite, TokenRules(secret=SECRET), now_s=SystemClock().unix_s())
    assert (found.id, found.type, found.is_admin) == ("demo", "GROUP", False)
    assert sum("#invite=" in line for line in lines(web_dir=web)) == 1


def test_without_a_built_client_the_remedy_is_named(tmp_path: Path) -> None:
    text = "\n".join(lines(web_dir=tmp_path / "missing"))
    assert "make web" in text
    assert "#invite=" not in text


def test_no_link_is_printed_where_there_is_no_page_or_in_production(web: Path) -> None:
    assert "#invite=" not in "\n".join(lines(web_dir=web, serve_web=False))
    assert "#invite=" not in "\n".join(lines(web_dir=web, development=False, invites=True))
