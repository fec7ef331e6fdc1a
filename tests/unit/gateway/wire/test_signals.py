"""What passes as a session description or candidate, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from meeshy_sfu.config import load_settings
from meeshy_sfu.errors import InvalidSignalError
from meeshy_sfu.gateway.wire import signals
from meeshy_sfu.gateway.wire.messages import Signal

DATA = Path(__file__).parents[3] / "data" / "sdp"
UFRAG = "a=ice-ufrag:EsAw"
CHROMIUM = """v=0
o=- 2051846534872034321 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS 6c9f5f9e-0c1c-4a53-9b16-4e2b0a4c7c0a
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:2999745851 1 udp 2122260223 0ad9d2b5-29c7-4b0e-8a3e-6a3a4ae1c7d1.local 56143 typ host generation 0 network-id 1
a=candidate:1 1 tcp 1518280447 fe80::1 9 typ host tcptype active generation 0 ufrag EsAw network-cost 999
a=ice-ufrag:EsAw
a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y
a=ice-options:trickle
a=fingerprint:sha-256 49:66:12:17:0D:1C:91:AE:57:4C:C6:36:DD:D5:97:D2:7D:62:C9:9A:7F:B9:A3:F4:70:03:E7:43:91:73:23:5E
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:6c9f5f9e-0c1c-4a53-9b16-4e2b0a4c7c0a 1d2f
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6
m=video 0 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
b=AS:2500
a=bundle-only
a=mid:1
a=inactive
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
""".replace("\n", "\r\n")
CANDIDATES = [
    "candidate:1 1 udp 2130706431 192.0.2.7 49422 typ host",
    "a=candidate:842163049 1 UDP 1677729535 203.0.113.4 3478 typ srflx raddr 0.0.0.0 rport 0 generation 0",
    "4234997325 2 udp 41885439 2001:db8::7 50005 typ relay raddr 203.0.113.4 rport 3478",
    "",
]
BAD_CANDIDATES = [
    "\ud800",
    "candidate:1 1 udp 21307064１ 192.0.2.7 49422 typ host",
    "candidate:1 ١ udp 2130706431 192.0.2.7 49422 typ host",
    "candidate",
    "candidate:1",
    "candidate:1 1 udp 2130706431 192.0.2.7 49422",
    "candidate:1 0 udp 2130706431 192.0.2.7 49422 typ host",
    "candidate:1 257 udp 2130706431 192.0.2.7 49422 typ host",
    "candidate:1 1 udp 4294967296 192.0.2.7 49422 typ host",
    "candidate:1 1 udp -1 192.0.2.7 49422 typ host",
    "candidate:1 1 udp 1 192.0.2.7 65536 typ host",
    "candidate:1 1 udp 1 192.0.2.7 49422 typ guest",
    "candidate:1 1 udp 1 <script> 49422 typ host",
    "candidate:1 1 udp 1 192.0.2.7 49422 typ host raddr",
    "candidate:1 1 udp 1 192.0.2.7 49422 typ host\r\na=setup:active",
    "candidate:1 1 udp 1 192.0.2.7 49422 typ host x \u2028a=b",
    "candidate:" + "1" * 33 + " 1 udp 1 192.0.2.7 49422 typ host",
    "candidate:1 1 udp 1 192.0.2.7 49422 typ host " + "x y " * 400,
]


def check(text: str) -> None:
    signals.check_description(text, max_bytes=50_000)


@pytest.mark.parametrize("text", [CHROMIUM, *(path.read_text() for path in sorted(DATA.glob("*.sdp")))])
def test_descriptions_of_browsers_and_libraries_pass(text: str) -> None:
    check(text)
    check(text.replace("\r\n", "\n"))


@pytest.mark.parametrize("text", CANDIDATES)
def test_candidates_pass_in_every_spelling(text: str) -> None:
    signals.check_candidate(text, max_bytes=1024)


@pytest.mark.parametrize("text", BAD_CANDIDATES)
def test_what_is_no_candidate_is_refused(text: str) -> None:
    with pytest.raises(InvalidSignalError, match=r"^signal\.candidate: ") as refused:
        signals.check_candidate(text, max_bytes=1024)
    assert len(text) < 20 or text[:40] not in refused.value.message


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("v=0\r\n", "", 1),
        ("v=0", "v=1", 1),
        ("v=0", "V=0", 1),
        ("v=0\r\n", "v=0\r\nv=0\r\n", 2),
        ("v=0\r\n", "\r\nv=0\r\n", 1),
        ("o=- 2051846534872034321 2 IN IP4 127.0.0.1", "o=-", 2),
        ("s=-", "s", 3),
        ("t=0 0", "m=audio", 4),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 70000 UDP/TLS/RTP/SAVPF 111", 8),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 RTP/XYZ 111", 8),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "m=audio 9 UDP/TLS/RTP/SAVPF", 8),
        ("c=IN IP4 0.0.0.0\r\na=rtcp", "o=- 1 1 IN IP4 0.0.0.0\r\na=rtcp", 9),
        ("typ host generation", "typ ghost generation", 11),
        (UFRAG, "a=ice-ufrag:E!", 13),
        ("a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y", "a=ice-pwd:short", 14),
        ("sha-256 49:66", "sha-256 4966", 16),
        ("a=setup:actpass", "a=setup:maybe", 17),
        ("a=mid:0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz", 18),
        ("a=mid:0", "a=", 18),
        ("a=mid:0", "a=mid:0\ra=setup:active", 18),
        ("a=mid:0", "a=mid:0\x00", 18),
        ("a=mid:0", "a=mid:0\u2028a=setup:active", 18),
        ("a=mid:0", "a=mid:" + "0" * 2000, 18),
        ("a=mid:0", "a=mid:\ud800", 18),
        ("m=audio 9 UDP", "m=audio ٩ UDP", 8),
        ("o=- 2051846534872034321 2", "o=- 2051846534872034321 ²", 2),
        ("o=- 2051846534872034321 2", "o=- 2051846534872034321 ２", 2),
        ("udp 2122260223 0ad", "udp 212226022３ 0ad", 11),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_by_its_number(before: str, after: str, line: int) -> None:
    assert CHROMIUM.count(before) >= 1
    with pytest.raises(InvalidSignalError, match=rf"^signal\.sdp: line {line}: ") as refused:
        check(CHROMIUM.replace(before, after, 1))
    assert refused.value.details["path"] == "signal.sdp"


@pytest.mark.parametrize("lost", ["t=0 0", UFRAG, "a=ice-pwd:", "a=fingerprint:"])
def test_a_description_needs_ice_and_dtls(lost: str) -> None:
    text = "\r\n".join(line for line in CHROMIUM.split("\r\n") if not line.startswith(lost))
    with pytest.raises(InvalidSignalError, match=lost.partition(":")[0].partition("0")[0]):
        check(text)


@pytest.mark.parametrize(
    "profile",
    [
        "RTP/AVP",
        "RTP/AVPF",
        "RTP/SAVP",
        "RTP/SAVPF",
        "TCP/DTLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "UDP/TLS/RTP/SAVPF",
    ],
)
def test_the_profiles_that_rfc_8829_names_pass_with_fingerprint_and_ice(profile: str) -> None:
    text = CHROMIUM.replace("UDP/TLS/RTP/SAVPF", profile)
    check(text)
    for lost in (UFRAG, "a=ice-pwd:", "a=fingerprint:"):
        with pytest.raises(InvalidSignalError, match=f"lacks {lost.partition(':')[0]} for media section 1"):
            check("\r\n".join(line for line in text.split("\r\n") if not line.startswith(lost)))


@pytest.mark.parametrize("protocol", ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"])
def test_the_data_protocols_that_rfc_8829_names_pass(protocol: str) -> None:
    check(CHROMIUM.replace("UDP/DTLS/SCTP", protocol))


@pytest.mark.parametrize("protocol", ["udp", "RTP/AVPP", "rtp/avp", "TCP/RTP/AVP", "SCTP", "TCP"])
def test_other_protocols_are_refused(protocol: str) -> None:
    with pytest.raises(InvalidSignalError, match="line 8: its protocol"):
        check(CHROMIUM.replace("UDP/TLS/RTP/SAVPF", protocol, 1))


def test_a_section_beside_the_bundle_needs_a_fingerprint_of_its_own() -> None:
    alone = "m=audio 9 RTP/AVP 0\r\nc=IN IP4 192.0.2.7\r\na=mid:7\r\n"
    with pytest.raises(InvalidSignalError, match="a=ice-pwd for media section 4"):
        check(CHROMIUM + alone)
    check(CHROMIUM.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 7") + alone)
    secured = [line for line in CHROMIUM.split("\r\n") if line.startswith(("a=ice-", "a=fingerprint"))]
    check(CHROMIUM + alone + "\r\n".join(secured))


def test_what_stands_above_the_sections_holds_for_all() -> None:
    secured = [line for line in CHROMIUM.split("\r\n") if line.startswith(("a=ice-", "a=fingerprint"))]
    text = "\r\n".join(line for line in CHROMIUM.split("\r\n") if line not in secured)
    check(text.replace("t=0 0", "\r\n".join(["t=0 0", *secured])).replace("BUNDLE 0 1 2", "LS 0 1 2"))


def test_a_description_that_accepts_nothing_needs_neither() -> None:
    check("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CHROMIUM + "a=x\r\n" * 2000, "2000 lines"),
        (CHROMIUM + "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n" * 64, "64 media sections"),
        (CHROMIUM + "a=x:" + "é" * 25_000, "50000 bytes"),
        ("hello", "line 1"),
        ("v=0", "lacks o=, s=, t="),
    ],
)
def test_what_is_too_much_or_too_little_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidSignalError, match=why):
        check(text)


def test_only_what_belongs_to_the_type_is_passed_on() -> None:
    settings = load_settings(flags={"jwt_secret": "x" * 32})
    everything = {
        "to": "b",
        "sdp": CHROMIUM,
        "candidate": CANDIDATES[0],
        "sdpMid": "0",
        "sdpMLineIndex": 0,
        "epoch": 4,
    }
    more = {"from": "a", "to": "b", "sdpMid": "0", "sdpMLineIndex": 0, "epoch": 4}
    offer = Signal.model_validate({"type": "offer", **everything})
    passed_on = signals.relayed(offer, settings, sender="a").wire()
    assert passed_on == {"type": "offer", "sdp": CHROMIUM, **more}
    late = Signal.model_validate({"type": "ice-candidate", **everything})
    passed_on = signals.relayed(late, settings, sender="a").wire()
    assert passed_on == {"type": "ice-candidate", "candidate": CANDIDATES[0], **more}
