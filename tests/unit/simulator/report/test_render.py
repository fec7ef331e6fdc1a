"""Layout of reports: names that others chose stay text, in Markdown, on the page and in charts."""

from __future__ import annotations

import pytest
from markupsafe import escape

from simulator.report.figures import number
from simulator.report.render import Chapter, Chart, Section, Table, breakable, render, to_html, to_markdown
from simulator.summary import Unit

NAME = """<img src=x onerror="alert('1')"> & | two
lines"""
SHOWN = "&lt;img src=x onerror=&#34;alert(&#39;1&#39;)&#34;&gt; &amp; | two\nlines"


def chapter(name: str) -> Chapter:
    chart = Chart(name, name, render("report.css"))
    section = Section(name, [name, f"- {name}"], [Table([name], [[name]], hints=[name])], [chart])
    return Chapter(name, "pass", [(name, name)], [section])


def test_a_name_is_text_wherever_it_stands_on_the_page() -> None:
    page = to_html(NAME, [chapter(NAME), chapter(NAME)])
    assert "<img" not in page
    # title; and twice: head, two in the highlights, section, sentence, item, two of the chart, head of table, hint, cell
    assert page.count(SHOWN) == 1 + 2 * 11


def test_a_name_is_text_in_a_chart() -> None:
    mark = {"label": NAME, "at_ms": 0, "colour": NAME, "x": 1}
    row = {"label": NAME, "top": 0, "height": 1, "colour": NAME, "ticks": [NAME]}
    change = {"title": NAME, "top": 0, "bottom": 1, "marks": [mark], "rows": [row]}
    drawing = render("changes.svg", changes=[change], left=0, width=1, height=1)
    assert "<img" not in drawing
    assert drawing.count(SHOWN) == 7


def test_a_name_is_text_in_markdown_and_does_not_break_its_table() -> None:
    text = to_markdown([chapter(NAME)])
    assert "<img" not in text
    assert "- &lt;img" in text
    cells = [line for line in text.splitlines() if line.startswith("| &lt;")]
    assert len(cells) == 3  # one of the highlights, head and row of the table
    assert all(line.count(r"\|") == line.count("onerror") for line in cells)
    assert "\nlines" not in text


def test_a_comparison_stays_readable_in_markdown() -> None:
    assert "| p95<100 |" in to_markdown([Chapter("", "pass", [("p95<100", "p95<100")])])


def test_words_of_an_outcome_are_marked_and_others_are_not() -> None:
    rows = [["holds", "BROKEN: 3", "PASS", "VOID", "fails"]]
    page = to_html("", [Chapter("", "pass", sections=[Section("", tables=[Table([""] * 5, rows)])])])
    for cell in (
        'class="good">holds',
        'class="bad">BROKEN: 3',
        'class="good">PASS',
        'class="weak">VOID',
        "<td>fails",
    ):
        assert cell in page


def test_what_has_no_content_is_left_out() -> None:
    empty = Section("nothing here", tables=[Table(["head"])])
    assert "nothing here" not in to_html("", [Chapter("", "pass", sections=[empty])])
    assert "nothing here" not in to_markdown([Chapter("", "pass", sections=[empty])])


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", "–"),
        (float("nan"), "", "–"),
        (12_345, "", "12,345"),
        (1.5, "ms", "1.5 ms"),
        (100.0, "", "100"),
        (0.0042, "ratio", "0.420 %"),
        (123_456_789, "bytes", "123 MB"),
        (25.04, "% of a core", "25.04 % of a core"),
    ],
)
def test_a_number_is_shown_with_its_unit(value: float | None, unit: Unit, text: str) -> None:
    assert number(value, unit) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "worst_delivered_ratio.audio.ratio>=0.95",
            ["worst_", "delivered_", "ratio.", "audio.", "ratio", ">=0.95"],
        ),
        ("/var/lib/meeshy/runs/one", ["/", "var/", "lib/", "meeshy/", "runs/", "one"]),
        ("loss.ratio<0.02", ["loss.ratio<0.02"]),
        ("a sentence with a name.of.a.figure in it", ["a sentence with a name.of.a.figure in it"]),
        ("<img/onerror=alert.of.something>", ["<img/", "onerror=alert.", "of.", "something", ">"]),
    ],
)
def test_a_long_name_may_be_broken_where_its_parts_end(text: str, parts: list[str]) -> None:
    assert breakable(text) == "<wbr>".join(str(escape(part)) for part in parts)
