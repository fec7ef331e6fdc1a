"""Reports as files: Markdown, and one self-contained HTML page.

Lays out what it is given; what is said is decided in report/sections.py. The page is made from templates/ by Jinja2 with
autoescape on, so that no name of a participant, room or file can become markup.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from simulator.summary import Verdict

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_BREAKS = re.compile(r"(?<=[._/])(?=[A-Za-z])|(?<=\w)(?=[<>]|==)")
"""Where a name or path without spaces may be broken."""
_LONG_WORD = 20
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""What would begin a tag where Markdown is shown; the `<` of a comparison is none."""


@dataclass(frozen=True, slots=True)
class Note:
    """Small print below the text of a cell."""

    text: str
    mark: str = ""
    """A word of `_MARKS` that colours the cell; shown behind the text."""

    def __str__(self) -> str:
        return " · ".join(part for part in (self.text, self.mark) if part)


@dataclass(slots=True)
class Table:
    """A table of a report."""

    head: list[str]
    rows: list[list[str]] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    """What each row means, shown when the mouse rests on it; empty or as long as the rows."""
    notes: list[list[Note | None]] = field(default_factory=list)
    """Small print of each cell; empty or as long as the rows."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of a report; only for the page."""

    title: str
    caption: str
    svg: Markup


@dataclass(slots=True)
class Section:
    """One part of a report: sentences, charts, then tables."""

    title: str
    lines: list[str] = field(default_factory=list)
    """One that begins with a dash is an item of a list."""
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    @property
    def has_content(self) -> bool:
        """Return whether there is anything in it."""
        return self.has_text or bool(self.charts)

    @property
    def has_text(self) -> bool:
        """Return whether there is anything in it but charts."""
        return bool(self.lines) or any(table.rows for table in self.tables)

    @property
    def paragraphs(self) -> list[str]:
        """Return the sentences that are no items of a list."""
        return [line for line in self.lines if not line.startswith("- ")]

    @property
    def items(self) -> list[str]:
        """Return the items of the list, without their dashes."""
        return [line.removeprefix("- ") for line in self.lines if line.startswith("- ")]


@dataclass(slots=True)
class Chapter:
    """The report of one run, or what stands before those of several."""

    title: str
    verdict: Verdict
    highlights: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def breakable(text: str) -> Markup:
    """Return a cell's text with places where a long name, objective or path may be broken."""
    parts = _BREAKS.split(text) if len(text) > _LONG_WORD and " " not in text else [text]
    return Markup("<wbr>").join(parts)


_TEMPLATES.filters["breakable"] = breakable


def render(template: str, **values: object) -> Markup:
    """Fill in a template; every value is escaped unless it is markup already."""
    return Markup(_TEMPLATES.get_template(template).render(values))  # noqa: S704 - the template has escaped it


def to_html(name: str, chapters: Sequence[Chapter], *, wide: bool = False) -> str:
    """Write a report as one page; `name` is its title in the browser, `wide` is for tables with many columns."""
    return str(render("report.html", name=name, chapters=chapters, marks=_MARKS, wide=wide))


def to_markdown(chapters: Sequence[Chapter]) -> str:
    """Write a report as Markdown."""
    out: list[str] = []
    for place, chapter in enumerate(chapters):
        depth = "#" if place == 0 else "##"
        out += [f"{depth} {one_line(chapter.title)}", ""]
        if chapter.highlights:
            out += markdown_table(Table(["figure", "value"], [list(row) for row in chapter.highlights]))
        for part in chapter.sections:
            if not part.has_text:
                continue
            out += [f"{depth}# {one_line(part.title)}", ""]
            out += [one_line(line) if line.startswith("- ") else f"{one_line(line)}  " for line in part.lines]
            if part.lines:
                out.append("")
            for table in part.tables:
                if table.rows:
                    out += markdown_table(table)
    return "\n".join(out)


def markdown_table(table: Table) -> list[str]:
    """Write a table as lines of Markdown."""
    notes = table.notes or [[None] * len(table.head)] * len(table.rows)
    noted = [
        [f"{cell} ({note})" if note else cell for cell, note in zip(row, mine, strict=True)]
        for row, mine in zip(table.rows, notes, strict=True)
    ]
    rows = [[_cell(cell) for cell in row] for row in [table.head, *noted]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.head))]
    rows.insert(1, ["-" * width for width in widths])
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [*lines, ""]


def one_line(text: str) -> str:
    """Return text as one line that Markdown shows as it is."""
    return _TAG.sub("&lt;", " ".join(text.splitlines()))


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


_MARKS = {
    "holds": "good",
    "BROKEN": "bad",
    "PASS": "good",
    "FAIL": "bad",
    "ERROR": "bad",
    "VOID": "weak",
    "better": "good",
    "worse": "bad",
    "moved": "weak",
}
"""Words of cells that are coloured."""
