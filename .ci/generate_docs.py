"""Write docs/configuration.md from the table of settings; with --check only compare.

The table in `meeshy_sfu/config.py` is the source; this page is for people.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from meeshy_sfu.config import SettingNames, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
HEAD = """# Configuration

<!-- Made by .ci/generate_docs.py from meeshy_sfu/config.py; do not edit. -->

A flag beats an environment variable, that beats `.env`, that beats the TOML file (`--config` or `MEESHY_CONFIG`), that beats
the default. Unknown keys are refused, with the nearest known one named. `.env.example` lists every variable.

Without `jwt_secret` the server runs in **development mode**: it makes a secret, prints a ready token and link, and listens on
loopback only; another address is refused with the reason. Secrets reach child processes by environment, never by arguments.

A setting `rtc_min_port` is the flag `--rtc-min-port`, the variable `MEESHY_RTC_MIN_PORT` (some also have the bare name given
below) and the key `rtc_min_port` in the file.
"""


def shown(row: SettingNames) -> str:
    """The default as one would write it, with its unit."""
    if row.default is None or row.default == ():
        return "–"
    value = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
    return f"`{value}`" + (f" {row.unit}" if row.unit else "")


def render() -> str:
    """The whole page."""
    parts = [HEAD]
    for group, rows in itertools.groupby(table(), key=lambda row: row.group):
        parts.append(
            f"\n## {group}\n\n| setting | default | what it does | cost | when to change it |\n| --- | --- | --- | --- | --- |\n"
        )
        for row in rows:
            also = (
                f"<br>also {', '.join(f'`{name}`' for name in row.variables[1:])}"
                if row.variables[1:]
                else ""
            )
            cells = (f"`{row.key}`{also}", shown(row), row.does, row.cost, row.when)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def main() -> int:
    """Write, or compare and say what to do."""
    text = render()
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print(
                "docs/configuration.md is not what the settings say; run: .venv/bin/python .ci/generate_docs.py"
            )
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
