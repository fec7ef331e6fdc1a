"""Tree rules of the house that no linter knows: file sizes, names, what must not be in git.

Run by `make lint`; prints each breach with the remedy and exits 1 when there is one.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_CODE_LINES = 600
# path → why it may be longer
LONG_FILES: dict[str, str] = {
    "web/src/wire/gateway.ts": "made from docs/schemas/gateway.json",
    "web/src/wire/media_server.ts": "made from docs/schemas/media-server.json",
}
BANNED_NAMES = re.compile(r"(^|/)(utils?|helpers?|managers?|common|misc)(\.(py|rs)$|/)")
LOCK_HOSTS = re.compile(
    r'"resolved":\s*"https?://|^\s*(source|url)\s*=\s*\{?.*registry\s*=\s*"https?://(?!github\.com)', re.M
)

PRIVATE_ALLOWED = {
    "_exit": "os._exit",
    "_mapping": "a row of SQLAlchemy, as its manual has it",
}
# (path, attribute) → which library keeps to itself what is needed
PRIVATE_ALLOWED_IN = {
    ("meeshy_sfu/edge/connections.py", "_kwargs"): "aiohttp tells nobody the options of its server",
    ("meeshy_sfu/edge/socketio_server.py", "_async"): "engineio takes its WebSocket class from there",
    ("meeshy_sfu/edge/socketio_server.py", "_sock"): "asyncio's socket, for options it has no word for",
    ("meeshy_sfu/edge/socketio_transport.py", "_timeout"): "aiohttp's WebSocket has no way to change it",
    ("simulator/bots/aiortc_leg_worker.py", "_connection"): "aiortc hides the ICE connection",
    ("simulator/bots/aiortc_media.py", "_origin"): "aiortc hides the first timestamp",
    ("simulator/bots/aiortc_peer.py", "_connection"): "aiortc hides the ICE connection",
    ("simulator/bots/aiortc_peer.py", "_nominated"): "aioice hides the pair in use",
    ("simulator/bots/aiortc_peer.py", "_protocols"): "aioice hides its sockets",
    ("simulator/bots/aiortc_peer.py", "_rtp_router"): "aiortc has no word for packets it cannot route",
    ("simulator/bots/aiortc_peer.py", "_rx_srtp"): "aiortc has no word for packets that fail authentication",
    ("simulator/bots/aiortc_peer.py", "_rtx_ssrc"): "aiortc hides the SSRCs of a sender",
    ("simulator/bots/aiortc_peer.py", "_set_role"): "aiortc has no other way to take the client's role",
    ("simulator/bots/aiortc_peer.py", "_ssrc"): "aiortc hides the SSRCs of a sender",
}


def private_reads(name: str, source: str) -> Iterator[str]:
    """List where a module reaches into another object's private field; a class may reach into objects of its own."""
    yield from _private_reads(name, ast.parse(source), frozenset())


def _private_reads(name: str, node: ast.AST, own: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.ClassDef):
        own |= _private_names(node)
    if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
        of_self = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
        of_super = (
            isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == "super"
        )
        listed = node.attr in PRIVATE_ALLOWED or (name, node.attr) in PRIVATE_ALLOWED_IN
        if not (of_self or of_super or listed or node.attr in own):
            yield f"{name}:{node.lineno}: {ast.unparse(node)}"
    for child in ast.iter_child_nodes(node):
        yield from _private_reads(name, child, own)


def _private_names(owner: ast.ClassDef) -> set[str]:
    """The private methods and fields that a class defines."""
    names = (
        {one.name for one in ast.walk(owner) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        | {
            one.attr
            for one in ast.walk(owner)
            if isinstance(one, ast.Attribute)
            and isinstance(one.ctx, ast.Store)
            and isinstance(one.value, ast.Name)
            and one.value.id == "self"
        }
        | {
            target.id
            for one in owner.body
            for target in (one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", None)])
            if isinstance(target, ast.Name)
        }
    )
    return {one for one in names if one.startswith("_")}


def code_lines(path: Path) -> int:
    """Count lines that are neither blank nor only a comment; Rust without its trailing test module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".rs":
        text = re.split(r"^#\[cfg\(test\)\]\nmod tests\b", text, maxsplit=1, flags=re.M)[0]
        return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("//"))
    text = re.sub(r'^\s*(?:r|f)?"""(?:.|\n)*?"""', "", text, flags=re.M)
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))


BEGINNINGS = re.compile(r'"""(Gives?|Tells?) ')
"""Of docstrings; the verb that says what is done goes there."""
RETIRED = {
    "lane": "lock",
    "lanes": "locks",
    "disaster": "fault",
    "strike": "inject",
    "strikes": "injects",
    "theatre": "environment",
    "company": "churning call",
    "aftermath": "end state",
    "stocktaking": "inspector",
    "watchman": "watchdog",
    "programme": "suite",
    "programmes": "suites",
    "roster": "index of participants",
    "standstill": "recovery time",
    "told_epoch": "announced_epoch",
    "none of yours": "not a member of …",
    "none of theirs": "not a member of …",
    "serve just now": "unavailable; nothing was changed; retry later",
    "memory is far": "cache misses dominate",
    "brought near": "prefetched",
    "frames at the wrong person": "misrouted frames",
    "pause in pictures": "video gap",
    "pause in sound": "audio gap",
}
"""Words and phrases that the house has given up, and what stands for them."""
PEOPLE = dict.fromkeys(
    ("people", "person", "persons", "somebody", "someone", "anybody", "everybody"),
    "participant, user or peer",
)
"""Words for participants that code and the pages of the protocols do not use; users' pages and tests may."""
PEOPLE_CHECKED = ("meeshy_sfu/", "simulator/", "crates/", "deploy/", "docs/", "examples/", "scripts/")
FORMATS = re.compile(
    r"programme\.toml|meeshy\.programme/1|aftermath\.json"
    r"|\.people\b|`people`|\"people\"|^ +people: int|\bpeople=|\bperson-|\"person\""
)
"""Names of files, options and fields that are on users' disks; they stay as they are."""
_RETIRED = re.compile(rf"(?<![\w-])({'|'.join(RETIRED)})(?![\w-])", re.I)
_PEOPLE = re.compile(rf"(?<![\w-])({'|'.join(PEOPLE)})(?![\w-])", re.I)
WORDS_CHECKED = {".py", ".pyi", ".rs", ".md", ".html", ".j2", ".js", ".yml"}
# file or folder → why its words are not checked
WORDS_ALLOWED = {
    ".ci/check_tree.py": "lists them",
    "tests/unit/test_plain_words.py": "tries them",
    "CHANGELOG.md": "entries keep the words of their day",
    "docs/decisions/": "decisions keep the words of their day",
}


def wordings(name: str, text: str) -> Iterator[str]:
    """List where a file uses a retired word, or begins a docstring with Give or Tell."""
    if Path(name).suffix not in WORDS_CHECKED or name.startswith(tuple(WORDS_ALLOWED)):
        return
    patterns = [(_RETIRED, RETIRED)] + [(_PEOPLE, PEOPLE)] * name.startswith(PEOPLE_CHECKED)
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, words in patterns:
            for found in pattern.findall(FORMATS.sub("", line)):
                yield f"{name}:{number}: '{found}' is retired; write '{words[found.lower()]}'"
        if (begun := BEGINNINGS.search(line)) and Path(name).suffix in {".py", ".pyi"}:
            yield f"{name}:{number}: a docstring begins with {begun[1]}; write what is done: Return, List, Compute, Send"


def tracked() -> list[str]:
    """Files that git knows."""
    out = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True)
    return [name for name in out.stdout.split("\0") if name and Path(name).is_file()]


def main() -> int:
    """Check every tracked file."""
    breaches: list[str] = []
    for name in tracked():
        path = Path(name)
        if BANNED_NAMES.search(name):
            breaches.append(f"{name}: call it by what it is, not utils/helpers/managers/common/misc")
        if path.suffix in {".py", ".rs", ".ts", ".tsx"} and name not in LONG_FILES:
            lines = code_lines(path)
            if lines > MAX_CODE_LINES:
                breaches.append(f"{name}: {lines} lines of code, at most {MAX_CODE_LINES}; split it by noun")
        if name.startswith(("meeshy_sfu/", "simulator/")) and path.suffix == ".py":
            breaches += [
                f"{where}: a private field of another object; add a method or property there"
                for where in private_reads(name, path.read_text(encoding="utf-8"))
            ]
        if path.suffix in WORDS_CHECKED:
            breaches += wordings(name, path.read_text(encoding="utf-8"))
        if path.name in {"package-lock.json", "uv.lock"} and LOCK_HOSTS.search(
            path.read_text(encoding="utf-8")
        ):
            breaches.append(
                f"{name}: holds registry addresses; npm needs omit-lockfile-registry-resolved=true"
            )
        if path.suffix in {".so", ".whl", ".pem"} and not name.startswith("tests/"):
            breaches.append(f"{name}: built or secret file in git")
        if path.stat().st_size > 1_000_000:
            breaches.append(f"{name}: {path.stat().st_size} bytes; files over 1 MB are made on first use")
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
