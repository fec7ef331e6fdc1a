"""The STUN and TURN URLs that clients are sent, handed to a browser's constructor: one bad URL throws for all servers."""

from __future__ import annotations

import asyncio
import json
import re
from html import unescape
from pathlib import Path

import pytest

from meeshy_sfu.gateway.turn.ice_servers import IceServerError, parse_server
from tests.interop.browser import FLAGS, missing
from tests.unit.gateway.turn.test_ice_servers import ENTRIES, REFUSED

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    pytest.mark.timeout(90),
]
PAGE = """<pre id="out"></pre><script>
const taken = (url) => {
  try { new RTCPeerConnection({iceServers: [{urls: url, username: "a", credential: "b"}]}).close(); return true; }
  catch { return false; }
};
document.getElementById("out").textContent = JSON.stringify(URLS.map((url) => [url, taken(url)]));
</script>"""


async def taken_by_chromium(urls: list[str], directory: Path) -> dict[str, bool]:
    """Which URLs the constructor takes."""
    page = directory / "page.html"
    page.write_text(f"<script>const URLS = {json.dumps(urls)}</script>{PAGE}")
    profile = f"--user-data-dir={directory / 'profile'}"
    browser = await asyncio.create_subprocess_exec(
        "chromium", *FLAGS, profile, "--dump-dom", page.as_uri(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(browser.communicate(), timeout=60)
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    found = re.search(r'<pre id="out">(.*?)</pre>', out.decode(), re.DOTALL)
    assert found is not None, out
    return dict(json.loads(unescape(found[1])))


async def test_a_browser_accepts_the_urls_clients_are_sent_and_we_refuse_those_it_throws_at(
    tmp_path: Path,
) -> None:
    told = [url for entry, _ in ENTRIES for url in parse_server(entry)]
    refused = [entry for entry, _ in REFUSED]
    taken = await taken_by_chromium([*told, *refused], tmp_path)
    assert [url for url in told if not taken[url]] == []
    thrown_at = [url for url in refused if not taken[url]]
    assert len(thrown_at) > 20
    for url in thrown_at:
        with pytest.raises(IceServerError):
            parse_server(url)
