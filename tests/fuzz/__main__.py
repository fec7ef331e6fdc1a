"""The long run: `python -m tests.fuzz [TARGET…]` with MEESHY_TEST_FUZZ_INPUTS inputs of each; prints inputs per second.

Every kind of failure is shown once with its input; the exit code says whether there was any.
"""

from __future__ import annotations

import os
import sys
import time
import traceback

from tests.fuzz.inputs import from_random
from tests.fuzz.targets import TARGETS, Target

DEFAULT_INPUTS = 100_000


def run(target: Target, inputs: int, seed: int) -> dict[str, str]:
    """Run one target; gives an example of each kind of failure."""
    source = from_random(seed)
    failures: dict[str, str] = {}
    for _ in range(inputs):
        value = target.make(source)
        try:
            target.run(value)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {where.filename}:{where.lineno}"
            shown = f"{str(error)[:200]!r} for {value!r}"
            if kind not in failures or len(shown) < len(failures[kind]):
                failures[kind] = shown
    return failures


def main(names: list[str]) -> int:
    """Run the targets of these names, or all."""
    inputs = int(os.environ.get("MEESHY_TEST_FUZZ_INPUTS", DEFAULT_INPUTS))
    start = int(os.environ.get("MEESHY_TEST_SEED", time.time()))
    print(f"{inputs:,} inputs a target, MEESHY_TEST_SEED={start}", flush=True)
    failed = False
    for name in names or TARGETS:
        begun_s = time.perf_counter()
        failures = run(TARGETS[name], inputs, start)
        taken_s = time.perf_counter() - begun_s
        print(
            f"{name:24} {inputs:10,} inputs {inputs / taken_s:8,.0f} inputs/s  {len(failures)} failures",
            flush=True,
        )
        for kind, shown in failures.items():
            failed = True
            print(f"  {kind}: {shown[:2000]}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
