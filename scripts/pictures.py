"""The pictures of the README, taken from real runs: the live table of a call, and a switch drawn frame by frame.

Run by `make pictures`; takes a minute and writes docs/images/. Uses the product's own commands in a terminal, as its users do.
"""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from fcntl import ioctl
from io import StringIO
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
MEESHY = ROOT / ".venv" / "bin" / "meeshy"
COLUMNS = 84
MARGIN = 14
FONT = re.compile(r"@font-face {.*?}\n", re.S)
"""Rich would load a font from elsewhere; pages with pictures in them forbid that."""
LIVE = "meeshy simulate group --participants 12 --duration 10 --bots native"
SWITCH = "meeshy simulate switch --transitions 10"


def in_terminal(command: str, out: Path) -> str:
    """Run a command in a terminal of its own; return all it wrote there, control sequences included."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    words = [str(MEESHY), *command.split()[1:], "--out", str(out), "--state-dir", str(out.parent / "state")]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    ) as run:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        os.close(ours)
    if run.returncode != 0:
        sys.exit(
            f"{command}: ended with {run.returncode}; pictures are made of runs that pass, on a quiet machine"
        )
    return written.decode(errors="replace").replace("\r\n", "\n")


def screen(written: str) -> str:
    """Return the last full live table, and what is printed after it."""
    # The table is drawn anew in place: the cursor goes up line by line, each of which is cleared.
    pieces = re.split(r"(?:\r?(?:\x1b\[1A)?\x1b\[2K)+", written)
    tables = [piece for piece in pieces if "streams flowing" in piece and " hold " in piece]
    last = re.sub(r"\x1b\[\?25[lh]", "", pieces[-1])
    return tables[-1].rstrip() + "\n\n" + last.strip("\n")


def terminal_picture(command: str, text: str) -> str:
    """Draw what stands in a terminal as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(text))
    form = FONT.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "ui-monospace, monospace")
    return console.export_svg(title="meeshy simulate", code_format=form, unique_id="meeshy")


def switch_picture(run: Path) -> str:
    """Take the drawing out of a run's report, on paper of its own: pages may be dark."""
    report = (run / "report.html").read_text(encoding="utf-8")
    drawing = re.search(r'<svg [^>]*class="changes".*?</svg>', report, re.S)
    if drawing is None:
        sys.exit(f"{run}/report.html has no drawing of a change")
    # Outside the page there is no style sheet that sets the colours.
    return on_paper(re.sub(r"var\(--\w+, (#\w+)\)", r"\1", drawing[0]))


def on_paper(drawing: str) -> str:
    """Put a drawing on white paper with a margin."""
    size = re.search(r'viewBox="0 0 (\d+) (\d+)" width="\d+" height="\d+"', drawing)
    if size is None:
        sys.exit("the drawing says no size")
    width, height = (int(length) + 2 * MARGIN for length in size.groups())
    box = f'viewBox="{-MARGIN} {-MARGIN} {width} {height}"'
    paper = f'<rect x="{-MARGIN}" y="{-MARGIN}" width="{width}" height="{height}" fill="#ffffff"/>'
    sized = drawing.replace(size[0], f'{box} width="{width}" height="{height}"', 1)
    return re.sub(r"(<svg [^>]*>)", rf"\1{paper}", sized, count=1)


def main() -> int:
    """Take both pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        group, switch = Path(scratch, "group"), Path(scratch, "switch")
        save(
            "live.svg",
            terminal_picture(LIVE, screen(in_terminal(LIVE, group)).replace(f"{scratch}/", ".meeshy/runs/")),
        )
        in_terminal(SWITCH, switch)
        save("switch.svg", switch_picture(switch))
    return 0


def save(name: str, picture: str) -> None:
    """Write a picture, and say so."""
    (IMAGES / name).write_text(picture, encoding="utf-8")
    print(f"docs/images/{name}: {len(picture):,} bytes", flush=True)


if __name__ == "__main__":
    sys.exit(main())
