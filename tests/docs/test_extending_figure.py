"""The recipe for a figure in docs/extending.md: its two pieces of code are all it takes."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.unit.simulator.conftest import SyntheticRun

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```", re.M | re.S)
FIGURE = "silence_ms"


def pieces(title: str = "A figure") -> dict[str, str]:
    """Return the code of a recipe by the file it belongs to."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    blocks = [textwrap.dedent(code) for _, code in BLOCK.findall(section)]
    return {code.partition("\n")[0].removeprefix("# ").partition(",")[0]: code for code in blocks}


def add_field(path: Path, code: str) -> None:
    """Put a declaration behind the last field of class Summary."""
    text = path.read_text(encoding="utf-8")
    summary = next(
        node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == "Summary"
    )
    last = max(node.end_lineno or 0 for node in summary.body if isinstance(node, ast.AnnAssign))
    lines = text.splitlines()
    path.write_text("\n".join([*lines[:last], textwrap.indent(code, "    "), *lines[last:], ""]))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the simulator and its documentation, with the recipe followed."""
    for name in ("simulator", "docs", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = pieces()
    assert list(code) == ["simulator/summary.py", "simulator/analysis/metrics.py"], (
        "a figure takes two places"
    )
    add_field(tmp_path / "simulator/summary.py", code["simulator/summary.py"])
    with (tmp_path / "simulator/analysis/metrics.py").open("a", encoding="utf-8") as file:
        file.write("\n\n" + code["simulator/analysis/metrics.py"])
    for name, text in pieces("A plot").items():
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("\n\n" + text)
    return tmp_path


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copy of the simulator in place of the installed one."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.slow(reason="two processes with pandas in a copy of the simulator")
@pytest.mark.timeout(120)
def test_a_figure_is_one_function_and_one_line_of_the_schema(tree: Path) -> None:
    recorded = SyntheticRun()
    recorded.of_stream(2, 0, 1)[4]["last_packet_ns"] = recorded.start_ns + 3_500_000_000
    directory = recorded.write(tree / "run")
    scenario = directory / "scenario.toml"
    scenario.write_text(scenario.read_text().replace("slo = []", f'slo = ["{FIGURE}.p95<10"]'))
    done = run(tree, "-m", "meeshy_sfu", "report", str(directory))
    assert done.returncode == 3, done.stderr

    summary = json.loads((directory / "summary.json").read_text())
    assert (summary[FIGURE]["p50"], summary[FIGURE]["max"], summary[FIGURE]["samples"]) == (20, 500, 12)
    judged = {one["expression"]: one["passed"] for one in summary["slo"]}
    assert judged[f"{FIGURE}.p95<10"] is False
    assert judged[f"{FIGURE}.max<2000"] is True, "its default objective"
    assert f"{FIGURE}.p95<10 is broken: 236" in summary["reasons"]
    assert re.search(
        r"^\| silence +\| ms +\| 20 +\|.*\| 500 +\| 12 +\|$", (directory / "report.md").read_text(), re.M
    )
    page = (directory / "report.html").read_text()
    assert 'title="Longest time without a packet; per stream."' in page
    assert "How long each stream was silent before it was counted" in page, "the recipe for a plot"
    assert "<td>silence</td><td>ms</td><td>20</td>" in re.sub(r"\s+<td", "<td", page)

    made = run(tree, ".ci/generate_docs.py")
    assert made.returncode == 0, made.stderr
    assert (
        f"| `{FIGURE}` | ms | Longest time without a packet; per stream. | `max < 2000` |"
        in (tree / "docs" / "measuring.md").read_text()
    )
    assert FIGURE in json.loads((tree / "simulator" / "summary.schema.json").read_text())["properties"]
