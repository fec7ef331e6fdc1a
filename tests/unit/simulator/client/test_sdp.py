"""Session descriptions: what is written is read back, and what aiortc writes is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.client.media_server import Json
from simulator.client.sdp import (
    Description,
    Section,
    answerable,
    host_candidate,
    parse,
    parse_candidate,
    write,
)
from simulator.errors import SdpError

DATA = Path(__file__).parents[3] / "data" / "sdp"
FINGERPRINT = {"algorithm": "sha-256", "value": ":".join(["AB"] * 32)}
MID = {"id": 1, "uri": "urn:ietf:params:rtp-hdrext:sdes:mid"}


def audio() -> Json:
    return {
        "mid": "0",
        "codecs": [
            {
                "mimeType": "audio/opus",
                "payloadType": 100,
                "clockRate": 48000,
                "parameters": {"useinbandfec": 1},
                "rtcpFeedback": [{"type": "transport-cc", "parameter": ""}],
                "channels": 2,
            }
        ],
        "headerExtensions": [MID],
        "encodings": [{"ssrc": 10}],
        "rtcp": {"cname": "ada", "reducedSize": True},
    }


def video() -> Json:
    return {
        "mid": "1",
        "codecs": [
            {
                "mimeType": "video/VP8",
                "payloadType": 101,
                "clockRate": 90000,
                "parameters": {},
                "rtcpFeedback": [
                    {"type": "nack", "parameter": ""},
                    {"type": "nack", "parameter": "pli"},
                ],
            },
            {
                "mimeType": "video/rtx",
                "payloadType": 102,
                "clockRate": 90000,
                "parameters": {"apt": 101},
                "rtcpFeedback": [],
            },
        ],
        "headerExtensions": [MID],
        "encodings": [{"ssrc": 20, "rtx": {"ssrc": 21}}],
        "rtcp": {"cname": "ada", "reducedSize": True},
    }


def offer(**changes: object) -> Description:
    values: Json = {
        "ice": {"usernameFragment": "abcd", "password": "x" * 24},
        "fingerprints": [FINGERPRINT],
        "setup": "actpass",
        "sections": (Section("audio", audio()), Section("video", video())),
        "candidates": (host_candidate("127.0.0.1", 4711),),
    }
    return Description(**{**values, **changes})


def text(**changes: object) -> str:
    return write(offer(**changes), address="127.0.0.1", session_id=7)


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
def test_what_is_written_is_read_back(setup: str) -> None:
    assert parse(text(setup=setup)) == offer(setup=setup)


def test_a_description_without_candidates_has_none_yet() -> None:
    assert parse(text(candidates=())).candidates == ()


@pytest.mark.parametrize("name", ["aiortc_offer", "aiortc_answer"])
def test_what_aiortc_writes_is_understood(name: str) -> None:
    description = parse((DATA / f"{name}.sdp").read_text())
    assert description.setup == ("actpass" if name == "aiortc_offer" else "active")
    assert description.role == ("auto" if name == "aiortc_offer" else "client")
    assert [c["address"] for c in description.candidates] == ["127.0.0.1"]
    assert len(description.ice["password"]) >= 22
    sound, picture = description.section("audio"), description.section("video")
    assert sound is not None
    assert picture is not None
    assert sound.parameters["codecs"][0]["channels"] == 2
    assert [c["mimeType"] for c in picture.parameters["codecs"]] == ["video/VP8", "video/rtx"]
    assert (
        picture.parameters["codecs"][1]["parameters"]["apt"] == picture.parameters["codecs"][0]["payloadType"]
    )
    encoding = picture.parameters["encodings"][0]
    assert encoding["ssrc"] != encoding["rtx"]["ssrc"]
    assert MID in picture.parameters["headerExtensions"]


def test_an_answer_has_our_stream_by_the_numbers_of_the_offer() -> None:
    offered = parse((DATA / "aiortc_offer.sdp").read_text()).section("video")
    assert offered is not None
    answer = answerable(offered, video())
    assert [c["payloadType"] for c in answer["codecs"]] == [97, 98]
    assert answer["mid"] == offered.parameters["mid"]
    assert answer["encodings"] == video()["encodings"]
    assert answer["headerExtensions"] == [MID]


def test_an_answer_to_an_offer_without_repair_has_none() -> None:
    plain = video()
    del plain["codecs"][1]
    answer = answerable(Section("video", plain), video())
    assert answer["encodings"] == [{"ssrc": 20}]


@pytest.mark.parametrize(
    ("line", "replacement", "reason"),
    [
        ("a=group:BUNDLE 0 1\r\n", "", "BUNDLE"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 0", "BUNDLE"),
        ("a=rtcp-mux\r\n", "", "rtcp-mux"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "not possible"),
        ("a=rtpmap:101 VP8/90000", "a=rtpmap:101 H264/90000", "video/vp8"),
        ("a=ice-ufrag:abcd\r\n", "", "ice-ufrag"),
        ("a=fingerprint:sha-256", "a=nothing:sha-256", "fingerprint"),
        ("a=setup:actpass", "a=setup:holdconn", "holdconn"),
        ("m=video", "m=application", "application"),
        ("typ host", "typed host", "no candidate"),
        ("a=rtpmap:100 opus/48000/2", "a=rtpmap:100 opus", "clock rate"),
        ("s=-", "nonsense", "no line"),
    ],
)
def test_what_bots_cannot_be_the_other_side_of_is_refused(line: str, replacement: str, reason: str) -> None:
    assert line in text()
    with pytest.raises(SdpError, match=reason):
        parse(text().replace(line, replacement))


@pytest.mark.parametrize("words", ["", "v=0", "m=audio 9 UDP/TLS/RTP/SAVPF x", "m=audio"])
def test_nonsense_is_refused(words: str) -> None:
    with pytest.raises(SdpError):
        parse(words)


def test_candidates_bots_cannot_use_are_left_out() -> None:
    assert parse_candidate("candidate:1 1 udp 5 10.0.0.1 9 typ host") == {
        **host_candidate("10.0.0.1", 9),
        "priority": 5,
    }
    assert parse_candidate("candidate:1 1 tcp 5 10.0.0.1 9 typ host tcptype active") is None
    assert parse_candidate("candidate:1 1 udp 5 f00.local 9 typ host") is None
    assert parse_candidate("candidate:1 2 udp 5 10.0.0.1 9 typ host") is None


@pytest.mark.parametrize("number", ["9" * 5000, "٣", "²", "１２", ""])
def test_numbers_that_are_none_of_sdp_are_no_numbers(number: str) -> None:
    with pytest.raises(SdpError):
        parse_candidate(f"candidate:1 1 udp {number} 192.0.2.7 9 typ host")
    offer = (DATA / "aiortc_offer.sdp").read_text()
    for line in ("a=extmap:1 ", "a=ssrc:246136915 ", "a=rtcp-fb:97 "):
        name = line.partition(":")[0]
        parse(offer.replace(line, f"{name}:{number} "))
    with pytest.raises(SdpError):
        parse(offer.replace("opus/48000", f"opus/{number}"))
