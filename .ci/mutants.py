"""Put small faults into a copy of the code, run the tests on each, and list the faults that no test noticed.

Run by `make mutants`. A sample with a seed: MUTANTS=300 a side, MUTANTS_SEED=1, MUTANTS_ALL=1 for every mutant.
Arguments name areas (router, rtcp, rtp, srtp, mode, ortc, metrics, …); without any, all are tested. Mutants that change
nothing a test could see are listed in mutants-equivalent.toml with the reason. Exits 1 when more than a tenth of the
viable mutants of an area survive.
"""

from __future__ import annotations

import fnmatch
import json
import os
import random
import re
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "target" / "mutants"
TREE = WORK / "tree"
"""A copy of the tracked files, with build caches of its own, so that nothing of the checkout is ever changed."""
LIMIT = 0.10
SAMPLE = int(os.environ.get("MUTANTS", "300"))
SEED = int(os.environ.get("MUTANTS_SEED", "1"))
ALL = os.environ.get("MUTANTS_ALL") == "1"

RUST_AREAS = ("router", "rtcp", "rtp", "srtp")
RUST_CRATE = "crates/sfu-proto"
RUST_TESTS = "together"
"""Name of the test binary that all test files of the media core are joined into, in the copy."""
UNNOTICEABLE = re.compile(
    r"BitOr_|Operator_Is_(Eq|Lt|LtE|Gt|GtE)$|Operator_IsNot_(NotEq|Lt|LtE|Gt|GtE)$|Operator_(Eq|NotEq)_(Is|IsNot)$"
)
"""Operators of cosmic-ray that only touch annotations (`X | None` is never evaluated here), or compare enumerations and
small values by identity instead of equality or order, which gives the same answers."""


@dataclass(frozen=True)
class PythonArea:
    """One module and the tests that hold it."""

    name: str
    module: str
    tests: tuple[str, ...]


PYTHON_AREAS = (
    PythonArea(
        "mode",
        "meeshy_sfu/gateway/calls/mode.py",
        ("tests/unit/gateway/calls/test_mode.py", "tests/unit/gateway/calls/test_mode_without_path.py"),
    ),
    PythonArea(
        "call_mode", "meeshy_sfu/gateway/calls/call_mode.py", ("tests/unit/gateway/calls/test_mode.py",)
    ),
    PythonArea(
        "room_state",
        "meeshy_sfu/gateway/calls/room_state.py",
        ("tests/unit/gateway/calls/test_room_state.py",),
    ),
    PythonArea("ortc", "meeshy_sfu/media/ortc.py", ("tests/unit/media/test_ortc.py",)),
    PythonArea(
        "metrics",
        "simulator/analysis/metrics.py",
        (
            "tests/unit/simulator/analysis/test_metrics.py",
            "tests/unit/simulator/analysis/test_figures.py",
            "tests/unit/simulator/test_summary.py",
        ),
    ),
    PythonArea(
        "raw_run",
        "simulator/analysis/raw_run.py",
        ("tests/unit/simulator/analysis/test_metrics.py", "tests/unit/simulator/report/test_write.py"),
    ),
    PythonArea("slo", "simulator/slo.py", ("tests/unit/simulator/test_slo.py",)),
    PythonArea(
        "call_streams",
        "simulator/analysis/call_streams.py",
        ("tests/unit/simulator/analysis/test_call_streams.py",),
    ),
    PythonArea(
        "transitions",
        "simulator/analysis/transitions.py",
        ("tests/unit/simulator/analysis/test_transitions.py",),
    ),
)


@dataclass
class Outcome:
    """What became of the mutants of one area."""

    caught: int = 0
    unviable: int = 0
    equivalent: int = 0
    survivors: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Survivors among those that could have been noticed."""
        judged = self.caught + len(self.survivors)
        return len(self.survivors) / judged if judged else 0.0


def run(*command: str, cwd: Path = TREE, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says."""
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )


def copy_tree() -> None:
    """Bring the copy to the state of the checkout; files that did not change keep their time."""
    TREE.mkdir(parents=True, exist_ok=True)
    tracked = set(run("git", "ls-files", cwd=ROOT).stdout.splitlines())
    built = {str(path.relative_to(ROOT)) for path in (ROOT / "meeshy_sfu").glob("*.so")}
    contents = {name: (ROOT / name).read_bytes() for name in tracked | built if (ROOT / name).is_file()}
    join_rust_tests(contents)
    for name, content in contents.items():
        copy = TREE / name
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)


def join_rust_tests(contents: dict[str, bytes]) -> None:
    """Make one test binary of the media core's many: each mutant is compiled and linked into one, not into twenty.

    Every test file becomes a module of `together.rs`; what several of them include becomes a module beside them.
    """
    folder = f"{RUST_CRATE}/tests/"
    inside = [name.removeprefix(folder) for name in contents if name.startswith(folder)]
    tests = sorted(name.removesuffix(".rs") for name in inside if name.endswith(".rs") and "/" not in name)
    shared = sorted(name.removesuffix("/mod.rs") for name in inside if name.endswith("/mod.rs"))
    declaration = re.compile(rf"^mod ({'|'.join(shared)});$", re.MULTILINE)
    for test in tests:
        name = f"{folder}{test}.rs"
        contents[name] = declaration.sub(r"use crate::\1;", contents[name].decode()).encode()
    modules = "".join(f"mod {module};\n" for module in [*shared, *tests])
    contents[f"{folder}{RUST_TESTS}.rs"] = modules.encode()
    manifest = (
        contents[f"{RUST_CRATE}/Cargo.toml"]
        .decode()
        .replace("[package]\n", "[package]\nautotests = false\n", 1)
    )
    joined = f'{manifest}\n[[test]]\nname = "{RUST_TESTS}"\npath = "tests/{RUST_TESTS}.rs"\n'
    contents[f"{RUST_CRATE}/Cargo.toml"] = joined.encode()


def equivalents() -> list[dict[str, str]]:
    """Read the mutants that are known to change nothing."""
    entries: list[dict[str, str]] = tomllib.loads((ROOT / ".ci" / "mutants-equivalent.toml").read_text())[
        "mutant"
    ]
    for entry in entries:
        if not entry.get("reason"):
            raise SystemExit(f"mutants-equivalent.toml: {entry} has no reason")
    return entries


def is_equivalent(known: list[dict[str, str]], file: str, change: str) -> bool:
    """Return whether a mutant is listed; `file` and `change` may hold wildcards there."""
    return any(
        fnmatch.fnmatchcase(file, one["file"]) and fnmatch.fnmatchcase(change, one["change"]) for one in known
    )


def test_rust(areas: list[str], known: list[dict[str, str]]) -> dict[str, Outcome]:
    """Mutate the media core; its own tests must notice."""
    globs = [part for area in areas for part in ("-f", f"{RUST_CRATE}/src/{area}/**")]
    common = ["cargo-mutants", "mutants", "-p", "meeshy-sfu-proto", *globs]
    listed = json.loads(run(*common, "--list", "--json").stdout)
    shards = 1 if ALL else max(1, -(-len(listed) // SAMPLE))
    print(f"media core: {len(listed)} mutants, one in {shards} is tested", flush=True)
    chosen = ["--shard", f"{SEED % shards}/{shards}", "--sharding", "round-robin"]
    tested = subprocess.run(
        [
            *common,
            *chosen,
            "--in-place",
            "--timeout",
            "90",
            "--no-shuffle",
            "-o",
            str(WORK),
            "-C",
            "--locked",
            "--",
            "--lib",
            "--test",
            RUST_TESTS,
        ],
        cwd=TREE,
        env={**os.environ, "CARGO_INCREMENTAL": "1", "CARGO_PROFILE_DEV_DEBUG": "0"},
        check=False,
    )
    if tested.returncode not in (0, 2, 3):
        raise SystemExit(f"cargo-mutants could not run (exit {tested.returncode}); see its words above")
    outcomes = {area: Outcome() for area in areas}
    for one in json.loads((WORK / "mutants.out" / "outcomes.json").read_text())["outcomes"]:
        if one["scenario"] == "Baseline":
            continue
        mutant = one["scenario"]["Mutant"]
        file = mutant["file"]
        outcome = outcomes[Path(file).relative_to(f"{RUST_CRATE}/src").parts[0]]
        change = re.sub(r"^[^ ]*:\d+:\d+: ", "", mutant["name"])
        match one["summary"]:
            case "CaughtMutant" | "Timeout":
                outcome.caught += 1
            case "Unviable":
                outcome.unviable += 1
            case _ if is_equivalent(known, file, change):
                outcome.equivalent += 1
            case _:
                outcome.survivors.append(mutant["name"])
    return outcomes


def test_python(area: PythonArea, known: list[dict[str, str]], share_of: list[PythonArea]) -> Outcome:
    """Mutate one module; the tests that hold it must notice. The sample is spread over all areas by their lines."""
    from cosmic_ray.work_db import WorkDB, use_db  # noqa: PLC0415 - only in the tools' own environment
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult  # noqa: PLC0415

    python = ROOT / ".venv" / "bin" / "python"
    config, session = WORK / f"{area.name}.toml", WORK / f"{area.name}.sqlite"
    command = f"{python} -P -m pytest -q -x -p no:cacheprovider {' '.join(area.tests)}"
    config.write_text(
        "[cosmic-ray]\n"
        f'module-path = ["{area.module}"]\n'
        "timeout = 60.0\n"
        "excluded-modules = []\n"
        f"test-command = {json.dumps(command)}\n"
        '[cosmic-ray.distributor]\nname = "local"\n'
    )
    session.unlink(missing_ok=True)
    tool = str(Path(sys.executable).parent / "cosmic-ray")
    paths = {"PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_PROFILE": "mutants"}
    for step in (("baseline", str(config)), ("init", str(config), str(session))):
        done = run(tool, *step, **paths)
        if done.returncode:
            raise SystemExit(f"{area.name}: cosmic-ray {step[0]} failed\n{done.stdout}{done.stderr}")
    with use_db(session, WorkDB.Mode.open) as database:
        # without the job ids, which are drawn anew each time
        items = sorted(database.pending_work_items, key=lambda one: str(one.mutations))
        noticeable = [item for item in items if not UNNOTICEABLE.search(item.mutations[0].operator_name)]
        wanted = len(noticeable) if ALL else min(len(noticeable), sample_of(area, share_of))
        chosen = {item.job_id for item in random.Random(SEED).sample(noticeable, wanted)}
        print(f"{area.name}: {len(noticeable)} mutants, {wanted} are tested", flush=True)
        for item in items:
            if item.job_id not in chosen:
                database.set_result(item.job_id, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    run(tool, "exec", str(config), str(session), **paths)
    outcome = Outcome()
    with use_db(session, WorkDB.Mode.open) as database:
        for _, result in database.completed_work_items:
            if result.worker_outcome is WorkerOutcome.SKIPPED:
                continue
            change = short_diff(result.diff or "")
            if result.test_outcome is TestOutcome.KILLED:
                outcome.caught += 1
            elif result.test_outcome is TestOutcome.INCOMPETENT:
                outcome.unviable += 1
            elif is_equivalent(known, area.module, change):
                outcome.equivalent += 1
            else:
                outcome.survivors.append(f"{area.module}: {change}")
    return outcome


def short_diff(diff: str) -> str:
    """Make one line of a diff: what was there, and what took its place."""
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    before = " ".join(line[1:].strip() for line in lines if line[0] == "-")
    after = " ".join(line[1:].strip() for line in lines if line[0] == "+")
    return f"{before} => {after}"


def sample_of(area: PythonArea, areas: list[PythonArea]) -> int:
    """Return how many mutants of an area are tested so that SAMPLE of all areas are."""
    lines = {one.name: (ROOT / one.module).read_text().count("\n") for one in areas}
    return max(1, round(SAMPLE * lines[area.name] / sum(lines.values())))


def main() -> int:
    """Test the areas named on the command line, or all."""
    wanted = sys.argv[1:]
    names = Counter([*RUST_AREAS, *(area.name for area in PYTHON_AREAS)])
    for name in wanted:
        if name not in names:
            raise SystemExit(f"there is no area {name!r}; there are {', '.join(names)}")
    rust = [area for area in RUST_AREAS if not wanted or area in wanted]
    python = [area for area in PYTHON_AREAS if not wanted or area.name in wanted]
    known = equivalents()
    copy_tree()
    outcomes: dict[str, Outcome] = {}
    for area in python:
        outcomes[area.name] = test_python(area, known, python)
        print(f"{area.name}: {outcomes[area.name].share:.1%} survive", flush=True)
    if rust:
        outcomes |= test_rust(rust, known)
    print(f"\n{'area':<14}{'caught':>8}{'survive':>9}{'share':>8}{'equivalent':>12}{'unviable':>10}")
    for name, outcome in outcomes.items():
        numbers = f"{outcome.caught:>8}{len(outcome.survivors):>9}{outcome.share:>8.1%}"
        print(f"{name:<14}{numbers}{outcome.equivalent:>12}{outcome.unviable:>10}")
    for outcome in outcomes.values():
        for survivor in outcome.survivors:
            print(f"survives: {survivor}")
    return int(any(outcome.share > LIMIT for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
