"""What answers of `npm audit` mean for CI."""

from __future__ import annotations

import json

import pytest

from tests.unit.ci_scripts import ci_script


def judge(report: object, *, ci: bool = True) -> tuple[bool, str]:
    verdict = ci_script("npm_audit").judge(json.dumps(report), ci=ci)
    return verdict.passed, verdict.text


def advised(severity: str, via: list[object] | None = None) -> dict[str, object]:
    return {"vulnerabilities": {"ws": {"name": "ws", "severity": severity, "via": via or []}}}


def test_no_advisories_pass() -> None:
    assert judge({"auditReportVersion": 2, "vulnerabilities": {}})[0]


@pytest.mark.parametrize(
    ("severity", "passes"),
    [("critical", False), ("high", False), ("moderate", True), ("low", True), ("info", True)],
)
@pytest.mark.parametrize("ci", [True, False])
def test_only_high_and_critical_advisories_fail(severity: str, passes: bool, ci: bool) -> None:
    passed, text = judge(advised(severity), ci=ci)
    assert passed is passes
    assert f"{severity}: ws" in text


def test_an_advisory_is_named_with_its_address_and_the_worst_comes_first() -> None:
    hole = {"title": "DoS by headers", "url": "https://example.org/GHSA-1"}
    report = {
        "vulnerabilities": {
            "a": {"severity": "low", "via": ["ws"]},
            "ws": {"severity": "high", "via": [hole]},
        }
    }
    passed, text = judge(report)
    assert not passed
    assert text.splitlines() == [
        "1 high or critical of 2 advised packages in production dependencies",
        "high: ws DoS by headers (https://example.org/GHSA-1)",
        "low: a through ws",
    ]


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.parametrize("ci", [True, False])
def test_a_registry_without_the_endpoint_is_skipped_loudly(status: int, ci: bool) -> None:
    passed, text = judge(
        {"message": "Method Not Allowed", "statusCode": status, "error": {"summary": ""}}, ci=ci
    )
    assert passed
    assert text.startswith("SKIPPED LOUDLY")
    assert str(status) in text


@pytest.mark.parametrize("ci", [True, False])
def test_an_unreachable_registry_fails_in_ci_only(ci: bool) -> None:
    passed, text = judge({"error": {"code": "ENOTFOUND", "summary": "getaddrinfo"}}, ci=ci)
    assert passed is not ci
    assert "ENOTFOUND" in text


@pytest.mark.parametrize(
    "report",
    [
        {"message": "500 Internal Server Error", "statusCode": 500, "error": {}},
        {"error": {"code": "ENOLOCK", "summary": "This command requires an existing lockfile."}},
        {"vulnerabilities": []},
        {"vulnerabilities": {"ws": {"severity": "catastrophic"}}},
        {"vulnerabilities": {"ws": "high"}},
        [],
        {},
    ],
)
def test_what_is_not_understood_fails(report: object) -> None:
    assert not judge(report, ci=False)[0]


@pytest.mark.parametrize("output", ["", "npm ERR! code E500"])
def test_output_that_is_no_json_fails(output: str) -> None:
    assert not ci_script("npm_audit").judge(output, ci=False).passed
