"""Reports as files for people: Markdown, and one self-contained HTML page.

Lays out what it is given; what is said is decided in report/sections.py.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.summary import Verdict


@dataclass(slots=True)
class Section:
    """One part of a report: sentences, a drawing, then a table."""

    title: str
    lines: list[str] = field(default_factory=list)
    """One that begins with a dash is an item of a list."""
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    drawing: str = ""
    """SVG; only for the page."""

    @property
    def says_something(self) -> bool:
        """Tell whether there is anything in it."""
        return bool(self.lines or self.rows or self.drawing)


@dataclass(slots=True)
class Chapter:
    """The report of one run, or what stands before those of several."""

    title: str
    verdict: Verdict
    highlights: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def to_markdown(chapters: Sequence[Chapter]) -> str:
    """Write a report as Markdown."""
    out: list[str] = []
    for place, chapter in enumerate(chapters):
        depth = "#" if place == 0 else "##"
        out += [f"{depth} {chapter.title}", ""]
        if chapter.highlights:
            out += [*_markdown_table(["figure", "value"], [list(row) for row in chapter.highlights]), ""]
        for part in chapter.sections:
            if not (part.lines or part.rows):
                continue
            out += [f"{depth}# {part.title}", ""]
            out += [line if line.startswith("- ") else f"{line}  " for line in part.lines]
            if part.rows:
                out += ([""] if part.lines else []) + _markdown_table(part.head, part.rows)
            out.append("")
    return "\n".join(out)


def to_html(name: str, chapters: Sequence[Chapter]) -> str:
    """Write a report as one page; `name` is what the browser shows."""
    body: list[str] = []
    for place, chapter in enumerate(chapters):
        level = 1 if place == 0 else 2
        body.append(f'<h{level} class="{chapter.verdict}">{html.escape(chapter.title)}</h{level}>')
        if chapter.highlights:
            tiles = "".join(
                f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(value)}</dd></div>"
                for what, value in chapter.highlights
            )
            body.append(f"<dl>{tiles}</dl>")
        for part in chapter.sections:
            if part.says_something:
                body.append(_html_section(part, level + 1))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(name)}</title><style>{_STYLE}</style>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    table = [head, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in table
    ]


def _html_section(part: Section, level: int) -> str:
    body = [f"<h{level}>{html.escape(part.title)}</h{level}>"]
    items = [line.removeprefix("- ") for line in part.lines if line.startswith("- ")]
    body += [f"<p>{html.escape(line)}</p>" for line in part.lines if not line.startswith("- ")]
    if items:
        body.append("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>")
    if part.drawing:
        body.append(f"<figure>{part.drawing}</figure>")
    if part.rows:
        cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in part.head)
        lines = ("".join(f"<td{_mark(cell)}>{html.escape(cell)}</td>" for cell in row) for row in part.rows)
        body.append(f"<table><tr>{cells}</tr>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>")
    return "".join(body)


def _mark(cell: str) -> str:
    word = cell.split(":", 1)[0]
    return f' class="cell {_MARKS[word]}"' if word in _MARKS else ""


_MARKS = {
    "holds": "good",
    "BROKEN": "bad",
    "PASS": "good",
    "FAIL": "bad",
    "ERROR": "bad",
    "VOID": "weak",
}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.6rem;padding:.7rem 1rem;border-radius:.4rem;color:#fff}
h2[class]{margin-top:3rem;font-size:1.3rem;padding:.5rem 1rem;border-radius:.4rem;color:#fff}
h2:not([class]),h3{font-size:1.1rem;margin:1.8rem 0 .4rem;border-bottom:1px solid #d0d7de}
.pass{background:#1a7f37}.fail,.error{background:#b42318}.void{background:#9a6700}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:.5rem;margin:1rem 0}
dl div{border:1px solid #d0d7de;border-radius:.4rem;padding:.4rem .7rem}
dt{color:#57606a;font-size:.85rem}dd{margin:0;font-variant-numeric:tabular-nums}
p,ul{margin:.4rem 0}
figure{margin:.8rem 0;overflow-x:auto}
table{border-collapse:collapse;margin:.6rem 0 1rem;display:block;overflow-x:auto}
td,th{padding:.25rem .75rem;border-bottom:1px solid #d0d7de;text-align:left;font-variant-numeric:tabular-nums}
th{color:#57606a;font-weight:600;white-space:nowrap}
.cell{font-weight:600}.good{color:#1a7f37}.bad{color:#b42318}.weak{color:#9a6700}
"""
