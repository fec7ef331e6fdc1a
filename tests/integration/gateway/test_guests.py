"""Guests: an invite becomes a token of a guest's own, which is renewed, and opens the calls of one conversation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import jsonschema
import jwt
import pytest

from meeshy_sfu.edge.token_signing import sign_invite, sign_user_token
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import Conversation
from tests.integration.gateway.callers import SECRET, Caller
from tests.integration.gateway.conftest import MakeCaller, StartGateway


def invite(*, conversation: str = "c1", lifetime_s: float = 3600, secret: str = SECRET) -> str:
    return sign_invite(
        secret=secret, now_s=time.time(), lifetime_s=lifetime_s, conversation_id=conversation, kind="GROUP"
    )


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    return await start_gateway(invites=True)


class Page:
    """What a page does over REST."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url

    async def post(
        self, path: str, body: object, *, token: str | None = None, status: int = 200
    ) -> dict[str, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.http.post(f"{self.url}{path}", json=body, headers=headers) as answer:
            read: dict[str, Any] = await answer.json()
            assert answer.status == status, read
            return read["data"] if read["success"] else {**read["error"], "limits": dict(answer.headers)}

    async def guest(self, name: str = "Ada", **fields: Any) -> dict[str, Any]:
        return await self.post("/api/guests", {"invite": invite(**fields), "name": name}, status=201)


@pytest.fixture
def page(http: aiohttp.ClientSession, gateway: Gateway) -> Page:
    return Page(http, gateway.url)


async def test_an_invite_makes_guests_of_one_conversation_each_with_an_id_of_their_own(
    gateway: Gateway, page: Page, caller: MakeCaller, http: aiohttp.ClientSession
) -> None:
    ada, bob = await page.guest("Ada"), await page.guest("Ada")
    assert ada["userId"] != bob["userId"]
    assert (ada["conversationId"], ada["conversationType"], ada["name"]) == ("c1", "GROUP", "Ada")
    async with http.get(f"{gateway.url}/openapi.json") as answer:
        document = await answer.json()
    schema = {"$ref": "#/components/schemas/GuestData", "components": document["components"]}
    jsonschema.validate(ada, schema)

    first, second = await caller(gateway, "x", connect=False), await caller(gateway, "y", connect=False)
    await first.connect(token=ada["token"])
    await second.connect(token=bob["token"])
    assert (
        await first.code("call:initiate", {"conversationId": "other", "type": "video"}) == "PERMISSION_DENIED"
    )
    joined = await first.initiate()
    assert joined["participants"][0]["anonymousUserId"] == ada["userId"]
    await second.join(joined["callId"])


async def test_two_guests_who_begin_at_once_end_in_one_call(
    gateway: Gateway, page: Page, caller: MakeCaller
) -> None:
    """As web clients do: initiate, and join what is there already."""

    async def enter(name: str) -> str:
        guest = await caller(gateway, name, connect=False)
        await guest.connect(token=(await page.guest(name))["token"])
        answer = await guest.emit("call:initiate", {"conversationId": "c1", "type": "video"})
        if answer["success"]:
            return str(answer["data"]["callId"])
        assert answer["error"]["code"] == "CALL_ALREADY_ACTIVE"
        return str((await guest.join(answer["error"]["details"]["callId"]))["callId"])

    calls = await asyncio.gather(*(enter(name) for name in ("ada", "bob", "eve")))
    assert len(set(calls)) == 1


async def test_a_renewed_token_is_the_same_guests_also_after_the_invite_has_expired(
    gateway: Gateway, page: Page, caller: MakeCaller
) -> None:
    ada = await page.guest("Ada")
    renewed = await page.post("/api/guests/renew", {"name": "Ada L."}, token=ada["token"])
    assert (renewed["userId"], renewed["name"]) == (ada["userId"], "Ada L.")
    assert renewed["renewableUntil"] == ada["renewableUntil"]
    again = await page.post("/api/guests/renew", {}, token=renewed["token"])
    assert (again["userId"], again["name"]) == (ada["userId"], "Ada L.")

    guest = await caller(gateway, "x", connect=False)
    await guest.connect(token=ada["token"])
    answer = await guest.ask("authenticate", {"token": again["token"]})
    assert answer["user"] == {"id": ada["userId"], "username": "Ada L.", "kind": "anonymous"}


async def test_only_a_guests_own_token_is_renewed(gateway: Gateway, page: Page, caller: MakeCaller) -> None:
    user = await caller(gateway, "ada", connect=False)
    refused = await page.post("/api/guests/renew", {}, token=user.token, status=403)
    assert refused["code"] == "FORBIDDEN"
    anonymous = await caller(gateway, "eve", connect=False, anonymous=True)
    assert (await page.post("/api/guests/renew", {}, token=anonymous.token, status=403))[
        "code"
    ] == "FORBIDDEN"
    assert (await page.post("/api/guests/renew", {}, token=invite(), status=401))["code"] == "UNAUTHORIZED"
    await page.post("/api/guests/renew", {}, status=401)


async def test_a_session_ends_and_no_token_outlives_it(
    start_gateway: StartGateway, http: aiohttp.ClientSession
) -> None:
    gateway = await start_gateway(invites=True, guest_session_s=3600, guest_token_lifetime_s=900)
    page = Page(http, gateway.url)

    def token(since_s: float) -> str:
        return sign_user_token(
            secret=SECRET,
            now_s=time.time(),
            lifetime_s=60,
            user_id="guest-1",
            conversations=[Conversation("c1", "GROUP")],
            anonymous=True,
            guest_since_s=since_s,
        )

    last = await page.post("/api/guests/renew", {}, token=token(time.time() - 3500))
    assert jwt.decode(last["token"], options={"verify_signature": False})["exp"] <= time.time() + 101
    over = await page.post("/api/guests/renew", {}, token=token(time.time() - 3601), status=401)
    assert over["details"]["reason"] == "expired"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "invite"),
        ({"invite": "no token", "name": "Ada"}, "invite"),
        ({"invite": 1, "name": "Ada"}, "invite"),
        ({"invite": invite()}, "name"),
        ({"invite": invite(), "name": ""}, "name"),
        ({"invite": invite(), "name": "  "}, "name"),
        ({"invite": invite(), "name": "x" * 129}, "name"),
        ({"invite": invite(), "name": "Ada\u202e"}, "name"),
        ({"invite": invite(), "name": ["Ada"]}, "name"),
    ],
)
async def test_what_is_wrong_in_the_body_is_named(page: Page, body: dict[str, Any], path: str) -> None:
    refused = await page.post("/api/guests", body, status=400)
    assert (refused["code"], refused["details"]["path"]) == ("INVALID_REQUEST", path)


async def test_an_invite_that_does_not_hold_is_refused_with_the_reason(page: Page) -> None:
    body = {"name": "Ada", "invite": invite(lifetime_s=-60)}
    expired = await page.post("/api/guests", body, status=401)
    assert expired["message"] == "the invite has expired; ask for a new link"
    assert expired["details"] == {"reason": "expired"}
    foreign = await page.post("/api/guests", {"name": "Ada", "invite": invite(secret="z" * 32)}, status=401)
    assert foreign["message"] == "the invite was signed with another secret"
    users = sign_user_token(
        secret=SECRET,
        now_s=time.time(),
        lifetime_s=60,
        user_id="ada",
        conversations=[Conversation("c1", "GROUP")],
    )
    named = await page.post("/api/guests", {"name": "Ada", "invite": users}, status=401)
    assert "meeshy-invite" in named["message"]


async def test_invites_are_off_unless_switched_on_or_in_development(
    start_gateway: StartGateway, http: aiohttp.ClientSession
) -> None:
    closed = Page(http, (await start_gateway()).url)
    refused = await closed.post("/api/guests", {"invite": invite(), "name": "Ada"}, status=403)
    assert refused["code"] == "FORBIDDEN"
    assert "invites" in refused["message"]


async def test_invites_are_on_in_development(
    start_gateway: StartGateway, http: aiohttp.ClientSession
) -> None:
    gateway = await start_gateway(development=True)
    assert (await Page(http, gateway.url).guest())["userId"].startswith("guest-")


async def test_new_guests_count_per_address_and_renewals_per_guest(
    start_gateway: StartGateway, http: aiohttp.ClientSession
) -> None:
    gateway = await start_gateway(invites=True, rate_guests=3, rate_calls=2)
    page = Page(http, gateway.url)
    guests = [await page.guest() for _ in range(3)]
    refused = await page.post("/api/guests", {"invite": invite(), "name": "Ada"}, status=429)
    assert (refused["code"], refused["details"]["limit"]) == ("RATE_LIMIT_EXCEEDED", "rate_guests")
    for guest in guests:
        for _ in range(3):
            await page.post("/api/guests/renew", {}, token=guest["token"])
    await page.post("/api/guests/renew", {}, token=guests[0]["token"], status=429)


async def test_a_page_asks_for_what_it_needs_at_its_start(
    start_gateway: StartGateway, http: aiohttp.ClientSession
) -> None:
    gateway = await start_gateway(
        media_server_urls=["http://10.0.0.1:3001"],
        media_server_public_urls=["https://media.example.org"],
        turn_servers=["turn.example.org:3478"],
        turn_secret="t" * 16,
        max_participants_per_room=7,
    )
    async with http.get(f"{gateway.url}/api/web-config") as answer:
        assert answer.status == 200
        config = (await answer.json())["data"]
    assert (
        abs(
            time.time()
            - time.mktime(time.strptime(config["serverTime"][:19], "%Y-%m-%dT%H:%M:%S"))
            + time.timezone
        )
        < 60
    )
    assert config["mediaServerUrls"] == ["https://media.example.org"]
    assert (config["turn"], config["development"], config["invites"], config["maxParticipants"]) == (
        True,
        False,
        False,
        7,
    )


async def test_a_guest_is_no_admin(gateway: Gateway, page: Page, caller: MakeCaller) -> None:
    host: Caller = await caller(gateway, "ada")
    call = await host.initiate()
    guest = await caller(gateway, "x", connect=False)
    await guest.connect(token=(await page.guest())["token"])
    await guest.join(call["callId"])
    assert await guest.code("call:end", {"callId": call["callId"]}) == "PERMISSION_DENIED"
