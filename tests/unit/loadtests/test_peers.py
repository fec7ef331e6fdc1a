"""SDP of other servers as transport parameters of native bots, and back."""

from __future__ import annotations

import pytest

from loadtests.peers.descriptions import publish_offer, server_transport, subscribe_answer
from simulator.bots.pool_wire import LocalTransport
from simulator.client.media_server import Json
from simulator.client.sdp import Section, parse
from simulator.errors import SdpError

LOCAL: LocalTransport = {
    "dtls": {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": "AA:BB"}]},
    "ice": {"usernameFragment": "abcd", "password": "p" * 24},
    "address": "127.0.0.1",
    "port": 5000,
}
AUDIO: Json = {
    "mid": "0",
    "codecs": [{"mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2}],
    "headerExtensions": [],
    "encodings": [{"ssrc": 7}],
}


def test_offer_says_sendonly_active_and_the_bots_ssrc() -> None:
    """A bot offers what it sends: its SSRC, its address, and that it begins DTLS."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)])
    assert "a=sendonly" in text
    assert "a=sendrecv" not in text
    offer = parse(text)
    assert (offer.setup, offer.candidates[0]["port"]) == ("active", 5000)
    assert offer.sections[0].parameters["encodings"] == [{"ssrc": 7}]


def test_answer_accepts_by_the_numbers_of_the_offer_and_sends_nothing() -> None:
    """An answer repeats mid and payload type, and names no SSRC."""
    offer = parse(publish_offer(LOCAL, [Section("audio", {**AUDIO, "mid": "a5"})]))
    text = subscribe_answer(LOCAL, offer)
    assert "a=recvonly" in text
    assert "a=ssrc" not in text
    section = parse(text).sections[0].parameters
    assert (section["mid"], section["codecs"][0]["payloadType"]) == ("a5", 100)


def test_server_transport_has_its_ice_dtls_and_whether_it_is_lite() -> None:
    """The server's description becomes the parameters that a bot connects with."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)]).replace("a=setup:active", "a=setup:passive")
    transport = server_transport(text.replace("t=0 0", "t=0 0\r\na=ice-lite"))
    assert transport["iceParameters"] == {**LOCAL["ice"], "iceLite": True}
    assert transport["dtlsParameters"]["role"] == "server"
    assert not server_transport(text)["iceParameters"]["iceLite"]


def test_a_server_that_wants_to_begin_dtls_or_has_no_address_is_refused() -> None:
    """Native bots begin DTLS and need a UDP candidate."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)])
    with pytest.raises(SdpError, match="setup:active"):
        server_transport(text)
    passive = text.replace("a=setup:active", "a=setup:passive")
    bare = "\r\n".join(line for line in passive.split("\r\n") if not line.startswith("a=candidate"))
    with pytest.raises(SdpError, match="candidate"):
        server_transport(bare)
