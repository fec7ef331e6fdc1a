"""Which function computes which figure of the summary, and from which samples.

Knows the functions by their decorator :func:`computes`; the modules that hold them must be imported before
:func:`compute` is called, which report/write.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from simulator.analysis.raw_run import RawRun
from simulator.samples.schema import TABLES
from simulator.summary import Summary

Function = TypeVar("Function", bound=Callable[[RawRun], Any])


@dataclass(frozen=True, slots=True)
class _Computation:
    needs: tuple[str, ...]
    in_window: bool
    function: Callable[[RawRun], Any]


_COMPUTATIONS: dict[str, list[_Computation]] = {}


def computes(
    figure: str, *, needs: Sequence[str] = (), in_window: bool = True
) -> Callable[[Function], Function]:
    """Register the function that computes a figure of the summary from a run.

    A figure may have several functions, each of which needs other samples; the first whose tables all have rows computes it.
    Where none has, the figure is what summary.py declares as its default: null.

    Args:
        figure: The field of `Summary`.
        needs: The tables of samples (samples/schema.py) without which there is nothing to compute.
        in_window: Whether it is about the measured time; it is then null for a run that never came to it.

    Raises:
        ValueError: There is no such figure or table.
    """
    if figure not in Summary.model_fields:
        raise ValueError(f"{figure} is computed, but summary.py does not declare it as a figure of Summary")
    for table in needs:
        if table not in TABLES:
            raise ValueError(f"{figure} needs the table {table}, but samples/schema.py has none of that name")

    def register(function: Function) -> Function:
        _COMPUTATIONS.setdefault(figure, []).append(_Computation(tuple(needs), in_window, function))
        return function

    return register


def compute(raw: RawRun) -> dict[str, Any]:
    """Compute all figures that the samples of a run allow, by name."""
    values: dict[str, Any] = {}
    measured = raw.duration_s is not None
    for figure, computations in _COMPUTATIONS.items():
        for one in computations:
            if one.in_window and not measured:
                continue
            if all(len(raw.tables[table]) for table in one.needs):
                values[figure] = one.function(raw)
                break
    return values
