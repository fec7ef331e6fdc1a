"""The documentation says what the program does: commands, settings, error codes, figures, links."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import grimp
import pytest
import typer.main

from meeshy_sfu import errors
from meeshy_sfu.cli import app
from meeshy_sfu.config import table
from simulator.summary import Summary

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
ANCHORED = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
NAMED_FILE = re.compile(r"(?<![\w./-])((?:[\w*.-]+/)+[\w*.-]+\.(?:py|rs|toml|md|html|svg))(?![\w/])")
BASES = [
    ROOT,
    ROOT / "docs",
    ROOT / "meeshy_sfu",
    ROOT / "simulator",
    ROOT / "examples",
    ROOT / "crates",
    *(ROOT / "crates").glob("*/src"),
    *(ROOT / "crates").iterdir(),
]
"""Where the names in a page may begin."""
MAKE = re.compile(r"(?:^|`)make ([a-z][a-z-]*)", re.M)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target, _ in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which does not exist"


def anchors(path: Path) -> set[str]:
    """What a page's headings are linked by."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_headings_there_are(path: Path) -> None:
    for target, anchor in ANCHORED.findall(path.read_text(encoding="utf-8")):
        if "://" not in target:
            other = path.parent / target if target else path
            assert anchor in anchors(other), f"{path.name} links to #{anchor}, which {other.name} has not"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(MAKE.findall(path.read_text(encoding="utf-8")))
    assert named <= targets, f"{path.name} names make targets that do not exist: {sorted(named - targets)}"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_named_in_a_page_exist(path: Path) -> None:
    missing = [
        name
        for name in NAMED_FILE.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / name).exists() and not any(next(base.glob(name), None) for base in BASES)
    ]
    assert not missing, f"{path.name} names files that do not exist: {missing}"


@pytest.mark.parametrize("name", ["live.svg", "switch.svg"])
def test_pictures_are_whole_and_load_nothing_from_elsewhere(name: str) -> None:
    picture = (ROOT / "docs" / "images" / name).read_text(encoding="utf-8")
    assert fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.findall(r"url\(['\"]?http|href=|src=", picture)
    assert f"docs/images/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_name_of_the_glossary_exists() -> None:
    rows = page("glossary.md").partition("## Names of the plan")[0].splitlines()
    first = (row.split("|")[1] for row in rows if row.startswith("| `"))
    names = {name for cell in first for name in re.findall(r"`([A-Z]\w+)`", cell)}
    sources = [*(ROOT / "crates").glob("*/src/**/*.rs"), *(ROOT / "meeshy_sfu").rglob("*.py")]
    sources += (ROOT / "simulator").rglob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    defined = set(re.findall(r"^\s*(?:pub(?:\(\w+\))? )?(?:class|struct|enum|trait) (\w+)", text, re.M))
    assert names <= defined, f"docs/glossary.md names what does not exist: {sorted(names - defined)}"


def test_rooms_of_the_simulator_import_what_the_page_says() -> None:
    section = page("architecture.md").partition("### Rooms of the simulator")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]+) \|$", section, re.M)
    said = {room: set(re.findall(r"\w+", others)) for room, others in rows}
    found: dict[str, set[str]] = {room: set() for room in said}
    graph = grimp.build_graph("simulator")
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            room, other = module.split(".")[1:2], imported.split(".")[1:2]
            if room != other and room and other and other[0] in said:
                found.setdefault(room[0], set()).add(other[0])
    unsaid = {room: found[room] - said[room] for room in said if found[room] - said[room]}
    assert not unsaid, f"docs/architecture.md does not say that {unsaid}"


def test_readme_names_the_two_commands_on_its_first_screen() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "make demo" in first_screen
    assert "make test" in first_screen


def test_each_command_and_option_is_in_the_cli_page() -> None:
    text = page("cli.md")
    settings = {row.flag for row in table()}
    missing: list[str] = []

    def walk(command: Any, path: str) -> None:
        if f"meeshy{path}" not in text:
            missing.append(f"meeshy{path}")
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option not in settings and option not in text:
                    missing.append(f"meeshy{path} {option}")
        for name, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {name}")

    walk(typer.main.get_command(app), "")
    assert not missing, f"docs/cli.md does not mention: {missing}"


def test_each_setting_is_in_the_configuration_page() -> None:
    text = page("configuration.md")
    missing = [row.key for row in table() if f"`{row.key}`" not in text]
    assert not missing, f"docs/configuration.md does not mention: {missing}; run .ci/generate_docs.py"


def test_each_error_code_is_in_the_page_of_its_service() -> None:
    codes = {
        kind.code
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.MeeshyError) and isinstance(getattr(kind, "code", None), str)
    }
    text = page("rest-api.md") + page("gateway.md")
    missing = sorted(code for code in codes if f"`{code}`" not in text)
    assert not missing, f"docs/rest-api.md and docs/gateway.md do not mention: {missing}"


def test_each_figure_of_the_summary_is_in_the_measuring_page() -> None:
    missing = [name for name in Summary.model_fields if f"`{name}" not in page("measuring.md")]
    assert not missing, f"docs/measuring.md does not mention: {missing}"


def test_help_works_and_names_the_commands() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "meeshy_sfu", "--help"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    for command in ("serve", "simulate", "report", "token", "ports", "doctor"):
        assert command in answer.stdout
