"""The page on the gateway: every route, event, field of the switch and error code is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meeshy_sfu.edge.routes import Route
from meeshy_sfu.edge.wire import WireModel
from meeshy_sfu.gateway import description
from meeshy_sfu.gateway.health import HealthApi
from meeshy_sfu.gateway.rest import RestApi
from meeshy_sfu.gateway.rest_overview import OverviewApi

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")


def routes() -> list[Route]:
    members = (member for part in (HealthApi, RestApi, OverviewApi) for member in vars(part).values())
    return [member.__route__ for member in members if hasattr(member, "__route__")]


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_on_the_page(route: Route) -> None:
    assert f"`{route.method} " + re.sub(r"{(\w+)}", r":\1", route.path) + "`" in PAGE


@pytest.mark.parametrize("event", [*description.CLIENT_EVENTS, *description.SERVER_EVENTS])
def test_every_event_is_on_the_page(event: str) -> None:
    assert f"`{event}`" in PAGE or f"`{event} {{" in PAGE


@pytest.mark.parametrize("model", [model for model, _ in description.CLIENT_EVENTS.values()])
def test_every_field_of_the_events_of_clients_is_on_the_page(model: type[WireModel]) -> None:
    for field in model.model_fields.values():
        assert str(field.alias) in PAGE


@pytest.mark.parametrize("model", [description.JoinAnswer, description.ModeSwitch, description.ModeSwitched])
def test_every_field_of_the_switch_is_on_the_page(model: type[WireModel]) -> None:
    for field in model.model_fields.values():
        assert str(field.alias) in PAGE


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.path}")
def test_every_error_code_is_on_the_page(route: Route) -> None:
    for error in route.errors:
        assert f"`{error.code}`" in PAGE
