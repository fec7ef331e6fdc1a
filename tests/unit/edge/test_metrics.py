"""A declaration is all there is to a metric: it is shown as it was declared."""

from __future__ import annotations

from meeshy_sfu.edge.metrics import Declaration, Declared, EdgeMetrics


def test_what_is_declared_is_shown_with_its_name_labels_and_meaning() -> None:
    declared = Declared()
    declared.counter("things_total", "Things.", "kind").labels("new").inc(2)
    declared.histogram("wait_seconds", "Waits.", buckets=(1.0,)).observe(0.5)
    declared.gauge("there", "There now.", lambda: 7)
    declared.gauge_by("jobs", "Jobs now.", "name", lambda: {"b": 1, "a": 2})
    text = declared.text().decode()
    for line in (
        "# HELP things_total Things.",
        'things_total{kind="new"} 2.0',
        'wait_seconds_bucket{le="1.0"} 1.0',
        "there 7.0",
        'jobs{name="a"} 2.0',
    ):
        assert line in text.splitlines()
    assert declared.declarations == [
        Declaration("things_total", "counter", ("kind",), "Things."),
        Declaration("wait_seconds", "histogram", (), "Waits."),
        Declaration("there", "gauge", (), "There now."),
        Declaration("jobs", "gauge", ("name",), "Jobs now."),
    ]


def test_all_that_a_service_shows_was_declared() -> None:
    metrics = EdgeMetrics()
    shown = {f"{one.name}_total" if one.type == "counter" else one.name for one in metrics.registry.collect()}
    assert shown == {one.name for one in metrics.declarations}
