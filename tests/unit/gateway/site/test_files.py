"""The built client's files: which are read, in which coding they are sent, and which version a client has."""

from __future__ import annotations

from pathlib import Path

import pytest

from meeshy_sfu.errors import ConfigError
from meeshy_sfu.gateway.site import files
from meeshy_sfu.gateway.site.files import IMMUTABLE, REVALIDATED, Site, is_known


def built(directory: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def read(directory: Path, contents: dict[str, bytes]) -> Site:
    site = Site.read(built(directory, {"index.html": b"<!doctype html>", **contents}))
    assert site is not None
    return site


def test_without_a_page_there_is_no_site(tmp_path: Path) -> None:
    assert Site.read(tmp_path) is None
    assert Site.read(tmp_path / "missing") is None
    assert Site.read(built(tmp_path, {"assets/a.js": b""})) is None


@pytest.mark.parametrize(
    ("name", "content_type", "cache_control"),
    [
        ("assets/app-1f.js", "text/javascript; charset=utf-8", IMMUTABLE),
        ("assets/app-1f.css", "text/css; charset=utf-8", IMMUTABLE),
        ("assets/inter-1f.woff2", "font/woff2", IMMUTABLE),
        ("client/meeshy-client.js", "text/javascript; charset=utf-8", REVALIDATED),
        ("client/meeshy-client.d.ts", "text/plain; charset=utf-8", REVALIDATED),
        ("favicon.svg", "image/svg+xml", REVALIDATED),
        ("index.html", "text/html; charset=utf-8", REVALIDATED),
        ("assets/what.ever", "application/octet-stream", IMMUTABLE),
    ],
)
def test_each_file_has_its_type_and_how_long_it_is_kept(
    tmp_path: Path, name: str, content_type: str, cache_control: str
) -> None:
    found = read(tmp_path, {name: b"x"}).files[name]
    assert (found.content_type, found.cache_control) == (content_type, cache_control)


def test_hidden_files_and_what_lies_outside_are_left_out(tmp_path: Path) -> None:
    outside = built(tmp_path / "outside", {"secret.js": b"secret"})
    root = built(tmp_path / "web", {".built-from": b"x", ".git/config": b"x", "assets/a.js": b"a"})
    (root / "assets/b.js").symlink_to(outside / "secret.js")
    (root / "more").symlink_to(outside, target_is_directory=True)
    (root / "assets/c.js").symlink_to(root / "assets/a.js")
    assert set(read(root, {}).files) == {"index.html", "assets/a.js", "assets/c.js"}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("BR;q=0.1, gzip;q=1", "br"),
        ("br;q=0, gzip", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("br;q=nonsense", None),
        (",;,=", None),
    ],
)
def test_the_best_coding_that_is_there_and_accepted_is_sent(
    tmp_path: Path, accepted: str, coding: str | None
) -> None:
    site = read(tmp_path, {"assets/a.js": b"a", "assets/a.js.br": b"br", "assets/a.js.gz": b"gz"})
    assert site.files["assets/a.js"].body(accepted).coding == coding
    assert set(site.files) == {"index.html", "assets/a.js"}, "a compressed file is no file of its own"
    assert site.index.body(accepted).coding is None, "nothing is compressed here"


def test_an_archive_beside_no_file_is_a_file(tmp_path: Path) -> None:
    assert "assets/data.gz" in read(tmp_path, {"assets/data.gz": b"x"}).files


def test_each_version_and_coding_has_a_tag_of_its_own(tmp_path: Path) -> None:
    one = read(tmp_path / "1", {"a.js": b"a", "a.js.br": b"br"})
    two = read(tmp_path / "2", {"a.js": b"b"})
    tags = {
        one.files["a.js"].body("br").etag,
        one.files["a.js"].body("").etag,
        two.files["a.js"].body("").etag,
    }
    assert len(tags) == 3
    assert read(tmp_path / "3", {"a.js": b"a"}).files["a.js"].body("").etag in tags, "by content, not by time"


def test_a_version_is_known_by_any_of_the_tags_a_client_has() -> None:
    assert is_known('"a"', '"a"')
    assert is_known('"a"', 'W/"b", W/"a"')
    assert is_known('"a"', "*")
    assert not is_known('"a"', None)
    assert not is_known('"a"', '"ab"')
    assert not is_known('"a"', "a")


def test_a_directory_that_is_no_client_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FILE_BYTES_MAX", 100)
    monkeypatch.setattr(files, "ALL_BYTES_MAX", 250)
    monkeypatch.setattr(files, "FILES_MAX", 4)
    read(tmp_path / "fits", {"a": b"x" * 100, "b": b"x" * 100})
    for number, contents in enumerate(
        ({"a": b"x" * 101}, {"a": b"x" * 90, "b": b"x" * 90, "c": b"x" * 90}, {str(n): b"" for n in range(4)})
    ):
        with pytest.raises(ConfigError, match="web_dir"):
            read(tmp_path / str(number), contents)
