"""The files of a built web client, in memory: read once, looked up by the path of a request, never on disk again.

Knows nothing of HTTP servers; headers that do not depend on a file are in policy.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meeshy_sfu.errors import ConfigError

INDEX = "index.html"
FILE_BYTES_MAX = 16_000_000
ALL_BYTES_MAX = 64_000_000
"""Of all files: they stay in memory. A build of ours takes about two megabytes."""
FILES_MAX = 5_000
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"
HASHED = "assets/"
"""Where the build puts files with a hash of their content in their name."""
CODINGS = {".br": "br", ".gz": "gzip"}
"""Of files beside a file that hold it compressed, best first."""
BINARY = "application/octet-stream"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".map": "application/json; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    # TypeScript's; as video/mp2t, which the suffix stands for elsewhere, nothing would show it
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class Body:
    """A file as it is sent, in one coding."""

    content: bytes = field(repr=False)
    etag: str
    coding: str | None = None
    """Content-Encoding; None for the file itself."""


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A file in all codings that the build wrote."""

    content_type: str
    cache_control: str
    bodies: tuple[Body, ...]
    """Best first; the last one is the file itself."""

    def body(self, accepted: str) -> Body:
        """Choose by a request's Accept-Encoding; never compresses anything."""
        qualities = _qualities(accepted)
        for body in self.bodies[:-1]:
            if qualities.get(body.coding or "", qualities.get("*", 0.0)) > 0:
                return body
        return self.bodies[-1]


class Site:
    """All files of a built client, by their path below it.

    Example:
        ```python
        from pathlib import Path

        from meeshy_sfu.gateway.site.files import Site

        assert Site.read(Path("/nowhere")) is None
        ```
    """

    def __init__(self, files: Mapping[str, SiteFile]) -> None:
        self.files = files

    @property
    def index(self) -> SiteFile:
        """The page itself, which all client routes are."""
        return self.files[INDEX]

    @property
    def top(self) -> list[str]:
        """Names of files beside the page, as favicon.svg."""
        return [name for name in self.files if "/" not in name and name != INDEX]

    @classmethod
    def read(cls, directory: Path) -> Site | None:
        """Read a built client; None when there is none.

        Hidden files and what lies outside, behind symbolic links, are left out.

        Raises:
            ConfigError: It is too large to be kept in memory, or cannot be read.
        """
        try:
            contents = _contents(directory)
        except OSError as error:
            raise ConfigError(
                f"the web client in {directory} cannot be read: {error}; check web_dir"
            ) from None
        if INDEX not in contents:
            return None
        plain = [name for name in contents if not _is_coding_of(name, contents)]
        return cls({name: _file(name, contents) for name in plain})


def _contents(directory: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    root, size = directory.resolve(), 0
    if not (root / INDEX).is_file():
        return found
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in name.split("/")) or not path.is_file():
            continue
        if not path.resolve().is_relative_to(root):
            continue
        size += path.stat().st_size
        if path.stat().st_size > FILE_BYTES_MAX or size > ALL_BYTES_MAX or len(found) == FILES_MAX:
            raise ConfigError(
                f"{directory} is too large to be served from memory, at {name}: at most {FILES_MAX:,} files, each of up to "
                f"{FILE_BYTES_MAX:,} bytes, together up to {ALL_BYTES_MAX:,}; set web_dir to the directory of a built web client"
            )
        found[name] = path.read_bytes()
    return found


def _is_coding_of(name: str, contents: Mapping[str, bytes]) -> bool:
    return any(name.endswith(suffix) and name.removesuffix(suffix) in contents for suffix in CODINGS)


def _file(name: str, contents: Mapping[str, bytes]) -> SiteFile:
    coded = [(suffix, coding) for suffix, coding in CODINGS.items() if name + suffix in contents]
    bodies = [_body(contents[name + suffix], coding) for suffix, coding in coded]
    return SiteFile(
        content_type=TYPES.get(Path(name).suffix.lower(), BINARY),
        cache_control=IMMUTABLE if name.startswith(HASHED) else REVALIDATED,
        bodies=(*bodies, _body(contents[name], None)),
    )


def _body(content: bytes, coding: str | None) -> Body:
    return Body(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"', coding)


def _qualities(accepted: str) -> dict[str, float]:
    """Read an Accept-Encoding (RFC 9110 §12.5.3); what cannot be read accepts nothing."""
    found: dict[str, float] = {}
    for part in accepted.split(","):
        coding, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        found[coding] = quality
    return found


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Return whether a client has this version already: the weak comparison of If-None-Match (RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
