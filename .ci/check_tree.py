"""Tree rules of the house that no linter knows: file sizes, names, what must not be in git.

Run by `make lint`; prints each breach with the remedy and exits 1 when there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

MAX_CODE_LINES = 600
# path → why it may be longer
LONG_FILES: dict[str, str] = {}
BANNED_NAMES = re.compile(r"(^|/)(utils?|helpers?|managers?|common|misc)(\.(py|rs)$|/)")
LOCK_HOSTS = re.compile(
    r'"resolved":\s*"https?://|^\s*(source|url)\s*=\s*\{?.*registry\s*=\s*"https?://(?!github\.com)', re.M
)


def code_lines(path: Path) -> int:
    """Count lines that are neither blank nor only a comment; Rust without its trailing test module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".rs":
        text = re.split(r"^#\[cfg\(test\)\]\nmod tests\b", text, maxsplit=1, flags=re.M)[0]
        return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("//"))
    text = re.sub(r'^\s*(?:r|f)?"""(?:.|\n)*?"""', "", text, flags=re.M)
    return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))


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
