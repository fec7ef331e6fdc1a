"""The web client on the gateway's port: pages, files, caching, headers, and what stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from meeshy_sfu.errors import ConfigError
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.site.pages import BUILT
from tests.integration.gateway.conftest import StartGateway
from tests.integration.raw_http import raw_connection

PAGE = b"<!doctype html><title>Meeshy</title>"
SCRIPT = b"export const one = 1;"
FILES = {
    "index.html": PAGE,
    "favicon.svg": b"<svg/>",
    "assets/app-1f.js": SCRIPT,
    "assets/app-1f.js.br": b"as brotli",
    "assets/app-1f.js.gz": b"as gzip",
    "client/meeshy-client.js": SCRIPT,
    ".built-from": b"hash",
}


@pytest.fixture
def web(tmp_path: Path) -> Path:
    directory = tmp_path / "web"
    for name, content in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    (tmp_path / "secret.js").write_bytes(b"secret")
    return directory


@pytest.fixture
async def gateway(start_gateway: StartGateway, web: Path) -> Gateway:
    return await start_gateway(web_dir=web)


@pytest.fixture
async def plain() -> AsyncIterator[aiohttp.ClientSession]:
    """A session that asks for no coding and follows nothing."""
    async with aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"]) as session:
        yield session


@pytest.mark.parametrize("path", ["/", "/call", "/call/", "/call/abc", "/call/a/b?x=1", "/check"])
async def test_every_route_of_the_client_is_the_page(
    gateway: Gateway, plain: aiohttp.ClientSession, path: str
) -> None:
    async with plain.get(f"{gateway.url}{path}") as answer:
        assert (answer.status, await answer.read()) == (200, PAGE)
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for url in gateway.settings.public_media_urls.values():
            assert f" {url} ws{url.removeprefix('http')};" in answer.headers["Content-Security-Policy"]
        assert "camera=(self)" in answer.headers["Permissions-Policy"]
        tag = answer.headers["ETag"]
    async with plain.get(f"{gateway.url}{path}", headers={"If-None-Match": f'W/"x", {tag}'}) as answer:
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
        assert "Content-Security-Policy" in answer.headers
    async with plain.head(f"{gateway.url}{path}") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(PAGE)))
        assert await answer.read() == b""


@pytest.mark.parametrize(
    ("path", "content_type", "cache_control"),
    [
        ("/assets/app-1f.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/client/meeshy-client.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/favicon.svg", "image/svg+xml", "no-cache"),
    ],
)
async def test_files_have_their_type_and_how_long_they_are_kept(
    gateway: Gateway, plain: aiohttp.ClientSession, path: str, content_type: str, cache_control: str
) -> None:
    async with plain.get(f"{gateway.url}{path}") as answer:
        assert (answer.status, await answer.read()) == (200, FILES[path.removeprefix("/")])
        assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (
            content_type,
            cache_control,
        )
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in answer.headers


async def test_what_the_build_compressed_is_sent_so_to_those_who_take_it(
    gateway: Gateway, plain: aiohttp.ClientSession
) -> None:
    async def ask(accepted: str, **headers: str) -> tuple[str | None, bytes, str]:
        asked = {"Accept-Encoding": accepted, **headers}
        async with plain.get(f"{gateway.url}/assets/app-1f.js", headers=asked) as answer:
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert answer.headers["Content-Type"].startswith("text/javascript")
            return answer.headers.get("Content-Encoding"), await answer.read(), answer.headers["ETag"]

    brotli, gzip, none = await ask("gzip, br"), await ask("gzip"), await ask("identity")
    assert (brotli[:2], gzip[:2], none[:2]) == (("br", b"as brotli"), ("gzip", b"as gzip"), (None, SCRIPT))
    assert len({brotli[2], gzip[2], none[2]}) == 3
    # an answer to another origin varies by both
    await ask("br", Origin="http://elsewhere.example.org")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../index.html",
        "/assets/../../secret.js",
        "/assets/%2e%2e/%2e%2e/secret.js",
        "/assets/..%2f..%2fsecret.js",
        "/assets//app-1f.js",
        "/assets/",
        "/assets",
        "/client/",
        "/.built-from",
        "/assets/app-1f.js.br",
        "/assets/app-1f.js%00",
        "/index.html",
        "/nothing",
        "/api/nothing",
        "/call.js",
        "/checks",
    ],
)
async def test_nothing_else_is_found_and_nothing_lists_a_directory(gateway: Gateway, path: str) -> None:
    """Written byte by byte: a client library would resolve the path itself."""
    async with raw_connection(gateway.url) as connection:
        connection.ask(f"GET {path}")
        answer = await connection.answer()
    assert (answer.status, answer.code) == (404, "NOT_FOUND")


async def test_what_was_there_stays(gateway: Gateway, plain: aiohttp.ClientSession) -> None:
    for path in ("/health", "/docs", "/openapi.json"):
        async with plain.get(f"{gateway.url}{path}") as answer:
            assert answer.status == 200
            assert "Permissions-Policy" not in answer.headers
    async with plain.post(f"{gateway.url}/") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
    async with plain.get(f"{gateway.url}/", headers={"Content-Encoding": "gzip"}) as answer:
        assert answer.status == 415


async def test_without_a_built_client_the_page_names_the_remedy(
    start_gateway: StartGateway, plain: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meeshy_sfu.gateway.site.pages.BUILT", tmp_path / "not-built")
    gateway = await start_gateway()
    for path in ("/", "/call/x", "/check"):
        async with plain.get(f"{gateway.url}{path}") as answer:
            text = await answer.text()
            assert (answer.status, answer.content_type) == (503, "text/plain")
            assert "make web" in text
            assert answer.headers["Cache-Control"] == "no-store"
    async with plain.get(f"{gateway.url}/assets/app.js") as answer:
        assert answer.status == 404


async def test_switched_off_the_port_has_no_page(
    start_gateway: StartGateway, plain: aiohttp.ClientSession, web: Path
) -> None:
    gateway = await start_gateway(web_dir=web, serve_web=False)
    async with plain.get(f"{gateway.url}/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "/docs")
    async with plain.get(f"{gateway.url}/assets/app-1f.js") as answer:
        assert answer.status == 404


async def test_a_web_dir_without_a_page_is_refused_at_the_start(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="web_dir"):
        await start_gateway(web_dir=tmp_path)


async def test_files_are_not_read_again(gateway: Gateway, plain: aiohttp.ClientSession, web: Path) -> None:
    (web / "index.html").write_bytes(b"changed")
    (web / "assets/app-1f.js").unlink()
    async with plain.get(f"{gateway.url}/") as answer:
        assert await answer.read() == PAGE
    async with plain.get(f"{gateway.url}/assets/app-1f.js") as answer:
        assert await answer.read() == SCRIPT


async def test_fifty_loads_of_the_page_from_one_address_are_all_served(
    start_gateway: StartGateway, web: Path
) -> None:
    """With the limits of production: ten files and the configuration each, over six connections as browsers open."""
    gateway = await start_gateway(web_dir=web, rate_page=3000, rate_calls=100)
    paths = ["/", "/api/web-config", "/favicon.svg", "/client/meeshy-client.js", *["/assets/app-1f.js"] * 7]

    async def load() -> list[int]:
        connector = aiohttp.TCPConnector(limit_per_host=6)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as browser:

            async def get(path: str) -> int:
                async with browser.get(f"{gateway.url}{path}") as answer:
                    await answer.read()
                    return answer.status

            return list(await asyncio.gather(*map(get, paths)))

    loads = await asyncio.gather(*(load() for _ in range(50)))
    assert {status for statuses in loads for status in statuses} == {200}


async def test_a_flood_of_page_loads_is_limited_per_address(
    start_gateway: StartGateway, plain: aiohttp.ClientSession, web: Path
) -> None:
    gateway = await start_gateway(web_dir=web, rate_page=3)
    statuses = []
    for path in ("/", "/assets/app-1f.js", "/api/web-config", "/", "/api/web-config"):
        async with plain.get(f"{gateway.url}{path}") as answer:
            statuses.append(answer.status)
            if answer.status == 429:
                assert (await answer.json())["error"]["details"]["limit"] == "rate_page"
    assert statuses == [200, 200, 200, 429, 429]


def test_the_client_lies_in_the_package() -> None:
    assert BUILT.parts[-2:] == ("meeshy_sfu", "web")
