"""Faults that a service injects into a server in development mode; no other server takes them."""

from __future__ import annotations

import pytest

from meeshy_sfu.errors import InvalidStateError
from simulator.selftest.signalling_proxy import SignallingProxy
from tests.integration.server.conftest import MakePeer, StartServer

FAULTS = "/api/dev/workers/0/faults"


async def test_faults_are_injected_logged_and_ended_by_services_alone(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server(development=True, workers=1)
    service = peer("gw", role="service", url=server.url)
    participant = peer("alice", url=server.url)
    await participant.join(create=True)
    body = {"seed": 7, "faults": [{"kind": "withhold", "media": "audio", "periodMs": 3200, "onMs": 1600}]}
    assert (await participant.request("PUT", FAULTS, body)).code == "FORBIDDEN"
    assert (await participant.request("GET", FAULTS)).code == "FORBIDDEN"
    assert (await service.request("PUT", "/api/dev/workers/7/faults", body)).code == "NOT_FOUND"
    assert (await service.request("PUT", FAULTS, body)).status == 200
    log = (await service.request("GET", FAULTS)).data
    assert (log["acts"], log["reach"]) == ([], [{"packets": 0, "stamped": 0}])
    assert (await service.request("PUT", FAULTS, {})).status == 200
    assert (await service.request("GET", FAULTS)).data["reach"] == []


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"kind": "explode"}, "kind"),
        ({"kind": "withhold", "share": 1.5}, "share"),
        ({"kind": "withhold", "media": "smell"}, "media"),
        ({"kind": "withhold", "periodMs": 10, "onMs": 11}, "on_ms"),
        ({"kind": "renumber", "amount": 0}, "numbers left out"),
        ({"kind": "payload_type", "amount": 200}, "payload type"),
    ],
)
async def test_a_fault_that_can_never_act_is_refused_by_its_field(
    start_server: StartServer, peer: MakePeer, fault: dict[str, object], named: str
) -> None:
    server = await start_server(development=True, workers=1)
    service = peer("gw", role="service", url=server.url)
    refused = await service.request("PUT", FAULTS, {"faults": [{"kind": "repeat"}, fault]})
    assert (refused.status, refused.code) == (400, "INVALID_REQUEST")
    assert named in str(refused.body["error"])
    assert (await service.request("GET", FAULTS)).data["reach"] == [], "none of them was taken"


async def test_a_server_in_production_has_no_such_route_and_its_workers_refuse(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server(workers=1)
    service = peer("gw", role="service", url=server.url)
    assert (await service.request("PUT", FAULTS, {"faults": [{"kind": "withhold"}]})).code == "NOT_FOUND"
    with pytest.raises(InvalidStateError, match="allow_faults"):
        await server.pool.workers[0].inject_faults(1, [{"kind": "withhold"}])


async def test_a_proxy_that_announces_too_few_producers_hides_those_alone(
    start_server: StartServer, peer: MakePeer
) -> None:
    server = await start_server()
    bob = peer("bob", url=server.url)
    joined = await bob.join(create=True)
    sending = joined["sendTransport"]["id"]
    there_before = (await bob.produce(sending, "video"))["producerId"]
    async with SignallingProxy(server.url, [("bob", "video"), ("carol", "video")]) as proxy:
        alice = peer("alice", url=proxy.url)
        assert (await alice.join())["producers"] == []
        assert (await alice.request("GET", "")).status == 200
        await alice.connect()
        assert (await alice.join_room())["success"] is True
        carol = peer("carol", url=server.url)
        again = await carol.produce((await carol.join())["sendTransport"]["id"], "video")
        heard = (await bob.produce(sending, "audio"))["producerId"]
        assert (await alice.wait("new-producer"))["producerId"] == heard
        assert proxy.withheld == {("alice", there_before), ("alice", again["producerId"])}
        await alice.close()
