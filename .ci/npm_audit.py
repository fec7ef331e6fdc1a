"""Known security holes in the production dependencies of the web client, as `npm audit` reports them.

Fails on advisories of severity high or critical, and on answers it does not understand. A registry without the audit
endpoint, or none in reach, cannot be asked: that is said loudly and is no failure, with CI=true only if the endpoint
does not exist. Run by `.ci/run`; exits 1 when there is something to do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEB = Path(__file__).resolve().parents[1] / "web"
FATAL = ("critical", "high")
KNOWN = (*FATAL, "moderate", "low", "info")
NO_ENDPOINT = frozenset({404, 405, 501})
"""HTTP statuses of a registry that serves packages but no advisories."""
UNREACHABLE = frozenset({"ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT"})
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer of npm means: whether CI may go on, and what to print."""

    passed: bool
    text: str


def judge(output: str, *, ci: bool) -> Verdict:
    """Decide on what `npm audit --json` printed; with `ci` an unreachable registry is a failure."""
    try:
        report = json.loads(output)
    except ValueError:
        return Verdict(False, f"npm audit printed no JSON: {output[:200]!r}")
    if not isinstance(report, dict):
        return Verdict(False, f"npm audit printed no object: {output[:200]!r}")
    if "vulnerabilities" in report:
        return _advisories(report["vulnerabilities"])
    error = report.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if report.get("statusCode") in NO_ENDPOINT:
        return Verdict(
            True,
            f"SKIPPED LOUDLY: this registry has no audit endpoint (HTTP {report['statusCode']}); "
            "advisories were NOT checked",
        )
    if code in UNREACHABLE:
        return Verdict(
            not ci, f"SKIPPED LOUDLY: the registry is not in reach ({code}); advisories were NOT checked"
        )
    return Verdict(False, f"npm audit failed: {report.get('message') or error or output[:200]}")


def _advisories(found: Any) -> Verdict:
    if not isinstance(found, dict):
        return Verdict(False, "npm audit: `vulnerabilities` is no object")
    lines: dict[str, list[str]] = {severity: [] for severity in KNOWN}
    for name, entry in sorted(found.items()):
        severity = entry.get("severity") if isinstance(entry, dict) else None
        if severity not in lines:
            return Verdict(
                False, f"npm audit: severity {severity!r} of {name} is not one of {', '.join(KNOWN)}"
            )
        lines[severity].append(f"{severity}: {name} {_reasons(entry)}".rstrip())
    listed = [line for severity in KNOWN for line in lines[severity]]
    fatal = sum(len(lines[severity]) for severity in FATAL)
    summary = f"{fatal} high or critical of {len(listed)} advised packages in production dependencies"
    return Verdict(fatal == 0, "\n".join([summary, *listed]))


def _reasons(entry: Mapping[str, Any]) -> str:
    """Return the advisories of an entry with their addresses; names of packages it depends on stay names."""
    via = entry.get("via")
    return "; ".join(
        f"{one.get('title', '?')} ({one.get('url', '?')})" if isinstance(one, dict) else f"through {one}"
        for one in (via if isinstance(via, list) else [])
    )


def main() -> int:
    """Ask npm and print the verdict."""
    ci = os.environ.get("CI") == "true"
    npm = shutil.which("npm")
    if npm is None:
        print("npm audit: SKIPPED LOUDLY: npm is missing", file=sys.stderr)
        return int(ci)
    command = [npm, "audit", "--omit=dev", "--json"]
    try:
        answer = subprocess.run(
            command, cwd=WEB, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"npm audit: no answer within {TIMEOUT_S} s", file=sys.stderr)
        return int(ci)
    # The exit code says no more than the report: 1 for advisories and for errors alike.
    verdict = judge(answer.stdout, ci=ci)
    print(f"npm audit: {verdict.text}", file=sys.stderr)
    return int(not verdict.passed)


if __name__ == "__main__":
    sys.exit(main())
