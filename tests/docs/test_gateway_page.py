"""The page on the gateway: every route, event, field of the switch and error code is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meeshy_sfu.edge.routes import Route
from meeshy_sfu.edge.service_routes import ServiceRoutes
from meeshy_sfu.edge.wire import WireModel
from meeshy_sfu.gateway.health import HealthApi
from meeshy_sfu.gateway.wire import messages
from meeshy_sfu.gateway.wire.rest import RestApi
from meeshy_sfu.gateway.wire.rest_guests import GuestApi
from meeshy_sfu.gateway.wire.rest_overview import OverviewApi

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")


def routes() -> list[Route]:
    members = (
        member
        for part in (HealthApi, ServiceRoutes, RestApi, OverviewApi, GuestApi)
        for member in vars(part).values()
    )
    return [member.__route__ for member in members if hasattr(member, "__route__")]


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_on_the_page(route: Route) -> None:
    assert f"`{route.method} " + re.sub(r"{(\w+)}", r":\1", route.path) + "`" in PAGE


@pytest.mark.parametrize("event", [*messages.EVENTS.client, *messages.EVENTS.server])
def test_every_event_is_on_the_page(event: str) -> None:
    assert f"`{event}`" in PAGE or f"`{event} {{" in PAGE


@pytest.mark.parametrize("model", [event.request for event in messages.EVENTS.client.values()])
def test_every_field_of_the_events_of_clients_is_on_the_page(model: type[WireModel]) -> None:
    for field in model.model_fields.values():
        assert str(field.alias) in PAGE


@pytest.mark.parametrize("model", [messages.JoinAnswer, messages.ModeSwitch, messages.ModeSwitched])
def test_every_field_of_the_switch_is_on_the_page(model: type[WireModel]) -> None:
    for field in model.model_fields.values():
        assert str(field.alias) in PAGE


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{route.method} {route.path}")
def test_every_error_code_is_on_the_page(route: Route) -> None:
    for error in route.errors:
        assert f"`{error.code}`" in PAGE


NAMES_OF_THE_PLAN = [
    "call:started",
    "call:joined",
    "call:participant-media-state",
    "call:mode-changed",
    "call:mode-switch-ack",
    "call:incoming",
    "call:accept",
    "MODE_SWITCH_FAILED",
    "ALREADY_PARTICIPANT",
    "NOT_IN_CALL",
    "SIGNALING_ERROR",
    "TIMEOUT",
    "MEDIA_TOGGLE_FAILED",
    "INVALID_CONVERSATION_TYPE",
    "CONFLICT",
    "SERVICE_UNAVAILABLE",
    "CALL_NOT_FOUND",
    "CALL_ALREADY_ACTIVE",
    "CALL_ENDED",
    "PARTICIPANT_NOT_FOUND",
    "MAX_PARTICIPANTS_REACHED",
    "INVALID_MODE",
    "MEDIA_SERVER_ERROR",
    "PERMISSION_DENIED",
    "KICKED",
    "NOT_AUTHENTICATED",
    "NOT_A_PARTICIPANT",
    "INVALID_SIGNAL",
    "SIGNAL_SENDER_MISMATCH",
    "TARGET_NOT_FOUND",
    "VALIDATION_ERROR",
    "RATE_LIMIT_EXCEEDED",
    "VIDEO_CALLS_NOT_SUPPORTED",
    "ALREADY_IN_CALL",
    "TRANSCRIPTION_ERROR",
    "TRANSLATION_ERROR",
    "INTERNAL_SERVER_ERROR",
]
NOT_SENT = PAGE.partition("## Names of the plan that are not sent")[2]
REPLACED = dict(re.findall(r"^\| `([\w:-]+)` \| (.+?) \|", NOT_SENT, re.MULTILINE))
SOURCE = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "meeshy_sfu").rglob("*.py"))
OF_OTHERS = {"TRANSCRIPTION_ERROR", "TRANSLATION_ERROR"}


@pytest.mark.parametrize("name", NAMES_OF_THE_PLAN)
def test_every_name_of_the_plan_is_sent_or_the_page_says_what_takes_its_place(name: str) -> None:
    assert f"`{name}`" in PAGE
    sent = f'"{name}"' in "".join(
        path.read_text() for path in (ROOT / "meeshy_sfu" / "gateway").rglob("*.py")
    )
    sent = sent or (name.isupper() and f'= "{name}"' in SOURCE and name not in REPLACED)
    assert sent != (name in REPLACED or name in OF_OTHERS)


@pytest.mark.parametrize(("name", "place"), REPLACED.items())
def test_what_takes_the_place_of_a_name_of_the_plan_exists(name: str, place: str) -> None:
    for other in re.findall(r"`(call:[\w-]+|[A-Z][A-Z_]+)`", place):
        assert f'"{other}"' in SOURCE, f"in the place of {name}"
