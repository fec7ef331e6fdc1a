"""``meeshy report``: judges a run again from its raw data, or several with a page that compares them.

The figures are computed in simulator/.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.simulate import (
    checked_outputs,
    errors_shown,
    errors_written,
    parts_of,
    show,
    show_suite,
)
from meeshy_sfu.cli.simulate_options import StateDirectory
from meeshy_sfu.private_files import make_new_files_private

if TYPE_CHECKING:
    from simulator.report.comparison_page import Comparison
    from simulator.report.outputs import Outputs
    from simulator.report.write import Plots


@dataclass(frozen=True, slots=True)
class _Files:
    junit: Path | None
    openmetrics: Path | None
    job_summary: bool


def report(
    *,
    run_dirs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_DIR...",
            help="Directory that `meeshy simulate` made; several are compared, the others with the first.",
        ),
    ],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print summary.json, of several runs comparison.json, instead of a table."
        ),
    ] = False,
    with_plots: Annotated[
        bool, typer.Option("--plots", help="Write each plot as a picture, too: plots/NAME.png.")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="As of `meeshy simulate`.")] = None,
    job_summary: Annotated[bool, typer.Option("--job-summary", help="As of `meeshy simulate`.")] = False,
    openmetrics: Annotated[
        Path | None, typer.Option("--openmetrics", help="As of `meeshy simulate`.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Several runs: directory to make for the page; default: a new one in the state directory.",
        ),
    ] = None,
    state_dir: StateDirectory = Path(".meeshy"),
) -> None:
    """Compute every figure again from raw samples, write the report anew, and end with the verdict's code."""
    make_new_files_private()
    with errors_shown(as_json=as_json):
        from simulator.errors import UsageError

        outputs = checked_outputs(_Files(junit, openmetrics, job_summary))
        plots: Plots = "files" if with_plots else "page"
        if len(run_dirs) > 1:
            with errors_written(outputs, "comparison"):
                _report_several(run_dirs, outputs, plots, state=state_dir, out=out, as_json=as_json)
        if out is not None:
            raise UsageError("--out is for several runs; the report of one is written into its own directory")
        with errors_written(outputs, run_dirs[0].name):
            _report_one(run_dirs[0], outputs, plots, as_json=as_json)


def _report_one(run_dir: Path, outputs: Outputs, plots: Plots, *, as_json: bool) -> NoReturn:
    from simulator.report.write import write_report
    from simulator.runs.suite import is_suite, write_suite_report

    page = run_dir / "report.html"
    if is_suite(run_dir):
        whole = write_suite_report(run_dir, plots=plots)
        outputs.write(parts_of(whole), page)
        show_suite(whole, run_dir, as_json=as_json)
    summary = write_report(run_dir, plots=plots)
    outputs.write([("", None, summary)], page)
    show(summary, run_dir, as_json=as_json)


def _report_several(
    run_dirs: list[Path], outputs: Outputs, plots: Plots, *, state: Path, out: Path | None, as_json: bool
) -> NoReturn:
    from simulator.report.comparison_page import write_comparison
    from simulator.report.write import EXIT_CODES

    directory, found, runs = write_comparison(run_dirs, state=state, out=out, plots=plots)
    named = [(one.name, one.name, run.summary) for one, run in zip(found.runs, runs, strict=True)]
    outputs.write(named, directory / "report.html")
    if as_json:
        console.line(found.to_json().rstrip("\n"))
    else:
        _show_comparison(found)
        console.line(
            f"report: {directory / 'report.html'} (as text: report.md; for programs: comparison.json)"
        )
    raise typer.Exit(EXIT_CODES[found.verdict])


def _show_comparison(found: Comparison) -> None:
    from simulator.report.figures import number

    rows = [
        [one.name, one.verdict.upper(), "; ".join(one.reasons[:2]) or "every objective holds"]
        for one in found.runs
    ]
    console.table("verdicts", ["run", "verdict", "because"], rows, whole=["run", "verdict"])
    shown = []
    for figure in found.figures:
        changes = {one.later: one.change for one in figure.moved if one.earlier == 0}
        if changes:
            cells = [number(value, figure.unit) for value in figure.values]
            shown.append(
                [figure.path, *(f"{text} {changes.get(n, '')}".rstrip() for n, text in enumerate(cells))]
            )
    if not shown:
        console.line("no figure moved from the first run by more than its intervals")
        return
    columns = [one.name.partition(" ")[0] for one in found.runs]
    title = "what moved from the first run by more than its intervals"
    console.table(title, ["figure", *columns], shown, whole=["figure"])
