"""Parameter objects: read with every field checked, written as clients expect them."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeshy_sfu.errors import InvalidRequestError, InvalidRtpCapabilitiesError
from meeshy_sfu.media.rtp_parameters import (
    REMEMBERED_CAPABILITIES,
    DtlsParameters,
    IceCandidate,
    IceParameters,
    RtpCapabilities,
    RtpParameters,
    read_media_codecs,
)
from tests.unit.media.recordings import CHROMIUM, PYMEDIASOUP

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
READERS: list[Callable[[object], object]] = [
    RtpCapabilities.from_wire,
    RtpParameters.from_wire,
    DtlsParameters.from_wire,
    read_media_codecs,
]


def valid_parameters() -> dict[str, Any]:
    return copy.deepcopy(CHROMIUM["produce"]["vp8"]["rtpParameters"])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for name, member in value.items():
            found += places(member, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


@pytest.mark.parametrize("name", list(CHROMIUM["produce"]))
def test_what_chromium_produces_is_read(name: str) -> None:
    wire = CHROMIUM["produce"][name]["rtpParameters"]
    parameters = RtpParameters.from_wire(wire)
    written = parameters.to_wire()
    assert written["codecs"] == wire["codecs"]
    assert written["headerExtensions"] == wire["headerExtensions"]
    assert (written["mid"], written["msid"]) == (wire["mid"], wire["msid"])
    assert [encoding.ssrc for encoding in parameters.encodings] == [e.get("ssrc") for e in wire["encodings"]]


@pytest.mark.parametrize("name", list(PYMEDIASOUP["rawNulls"]))
def test_nulls_of_pymediasoup_count_as_absent(name: str) -> None:
    wire = PYMEDIASOUP["rawNulls"][name]
    parameters = RtpParameters.from_wire(wire)
    assert parameters.msid is None
    assert all(encoding.scalability_mode in (None, "S1T3") for encoding in parameters.encodings)


def test_capabilities_survive_a_round_trip() -> None:
    wire = CHROMIUM["recvRtpCapabilities"]
    assert RtpCapabilities.from_wire(wire).to_wire() == wire


def test_equal_capabilities_hash_alike() -> None:
    one, other = (RtpCapabilities.from_wire(CHROMIUM["recvRtpCapabilities"]) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != RtpCapabilities.from_wire(PYMEDIASOUP["rtpCapabilities"])


def opus(**changes: object) -> dict[str, Any]:
    codec = {"mimeType": "audio/opus", "clockRate": 48000, "channels": 2, "preferredPayloadType": None}
    return {"codecs": [codec | changes]}


def test_capabilities_of_programs_of_one_kind_are_read_once() -> None:
    first = RtpCapabilities.from_wire(opus(clockRate=16000))
    assert RtpCapabilities.from_wire(opus(clockRate=16000)) is first
    for number in range(1, REMEMBERED_CAPABILITIES + 1):
        RtpCapabilities.from_wire(opus(clockRate=number))
    assert RtpCapabilities.from_wire(opus(clockRate=16000)) is not first
    huge = {"codecs": opus(parameters={f"p{number}": "x" * 250 for number in range(30)})["codecs"] * 3}
    assert RtpCapabilities.from_wire(huge) is not RtpCapabilities.from_wire(huge)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "null", True, 200])
def test_capabilities_that_only_look_like_known_ones_are_refused(value: object) -> None:
    for known in (None, 1, 1.0):
        RtpCapabilities.from_wire(opus(preferredPayloadType=known))
    with pytest.raises(InvalidRtpCapabilitiesError):
        RtpCapabilities.from_wire(opus(preferredPayloadType=value))


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("codecs",), None, "codecs"),
        (("codecs",), {}, "codecs"),
        (("codecs", 0), 7, "codecs[0]"),
        (("codecs", 0, "mimeType"), None, "codecs[0].mimeType"),
        (("codecs", 0, "mimeType"), "text/plain", "codecs[0].mimeType"),
        (("codecs", 0, "payloadType"), "96", "codecs[0].payloadType"),
        (("codecs", 0, "payloadType"), True, "codecs[0].payloadType"),
        (("codecs", 0, "payloadType"), 128, "codecs[0].payloadType"),
        (("codecs", 0, "clockRate"), 0, "codecs[0].clockRate"),
        (("codecs", 0, "clockRate"), 10**400, "codecs[0].clockRate"),
        (("codecs", 0, "clockRate"), float("nan"), "codecs[0].clockRate"),
        (("codecs", 1, "parameters", "apt"), "96", "codecs[1].parameters.apt"),
        (("codecs", 0, "parameters", "x"), True, "codecs[0].parameters.x"),
        (("codecs", 0, "parameters", "x"), [], "codecs[0].parameters.x"),
        (("codecs", 0, "rtcpFeedback", 0, "type"), None, "codecs[0].rtcpFeedback[0].type"),
        (("headerExtensions", 0, "uri"), 1, "headerExtensions[0].uri"),
        (("headerExtensions", 0, "id"), 0, "headerExtensions[0].id"),
        (("headerExtensions", 0, "id"), 256, "headerExtensions[0].id"),
        (("encodings", 0, "ssrc"), -1, "encodings[0].ssrc"),
        (("encodings", 0, "ssrc"), 2**32, "encodings[0].ssrc"),
        (("encodings", 0, "rid"), "a b", "encodings[0].rid"),
        (("encodings", 0, "rtx"), {}, "encodings[0].rtx.ssrc"),
        (("encodings", 0, "dtx"), 1, "encodings[0].dtx"),
        (("rtcp", "cname"), "x" * 10_000, "rtcp.cname"),
        (("rtcp", "cname"), "a\u0000b", "rtcp.cname"),
        (("mid",), 0, "mid"),
        (("encodings",), [{}] * 100, "encodings"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(path: tuple[Any, ...], value: object, named: str) -> None:
    wire: Any = valid_parameters()
    place = wire
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InvalidRequestError) as caught:
        RtpParameters.from_wire(wire)
    assert caught.value.path == f"rtpParameters.{named}"


def test_unknown_keys_and_empty_values_are_ignored() -> None:
    wire = valid_parameters()
    wire["futureField"] = {"a": [1]}
    wire["encodings"][0] |= {"ssrc": 0, "rid": "", "scaleResolutionDownBy": 2.5}
    wire["rtcp"]["mux"] = True
    encoding = RtpParameters.from_wire(wire).encodings[0]
    assert (encoding.ssrc, encoding.rid) == (None, None)


def test_malformed_capabilities_have_their_own_code() -> None:
    with pytest.raises(InvalidRtpCapabilitiesError) as caught:
        RtpCapabilities.from_wire({"codecs": [{"mimeType": "audio/opus"}]})
    assert caught.value.code == "INVALID_RTP_CAPABILITIES"
    assert caught.value.path == "rtpCapabilities.codecs[0].clockRate"


def test_dtls_parameters_of_both_clients_are_read() -> None:
    chromium = DtlsParameters.from_wire(CHROMIUM["connect"]["dtlsParameters"])
    pymediasoup = DtlsParameters.from_wire(PYMEDIASOUP["connect"]["send"])
    assert (chromium.role, chromium.fingerprints[0].algorithm) == ("client", "sha-256")
    assert (pymediasoup.role, pymediasoup.fingerprints[0].algorithm) == ("server", "sha-512")


def test_a_missing_dtls_role_is_auto_and_hex_is_upper_case() -> None:
    value = ":".join(["ab"] * 32)
    parameters = DtlsParameters.from_wire({"fingerprints": [{"algorithm": "sha-256", "value": value}]})
    assert parameters.role == "auto"
    assert parameters.to_wire()["fingerprints"] == [{"algorithm": "sha-256", "value": value.upper()}]


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        ({}, "fingerprints"),
        ({"fingerprints": []}, "fingerprints"),
        (
            {"role": "both", "fingerprints": [{"algorithm": "sha-256", "value": ":".join(["AB"] * 32)}]},
            "role",
        ),
        ({"fingerprints": [{"algorithm": "sha-1", "value": "AB"}]}, "fingerprints[0].algorithm"),
        ({"fingerprints": [{"algorithm": "sha-256", "value": "AB:CD"}]}, "fingerprints[0].value"),
    ],
)
def test_wrong_dtls_parameters_are_refused(wire: object, named: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        DtlsParameters.from_wire(wire)
    assert caught.value.path == f"dtlsParameters.{named}"


def test_a_candidate_has_both_names_of_its_address() -> None:
    udp = IceCandidate("udpcandidate", 1076302079, "192.0.2.1", 10000, "udp").to_wire()
    assert udp["ip"] == udp["address"] == "192.0.2.1"
    assert "tcpType" not in udp
    assert IceCandidate("tcpcandidate", 1, "192.0.2.1", 10000, "tcp").to_wire()["tcpType"] == "passive"


def test_the_ice_password_does_not_show_in_logs() -> None:
    parameters = IceParameters("user", "secret")
    assert "secret" not in repr(parameters)
    assert parameters.to_wire() == {"usernameFragment": "user", "password": "secret", "iceLite": True}


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__qualname__)
@settings(deadline=None)
@given(value=JSON)
def test_random_json_raises_nothing_but_our_error(reader: Callable[[object], object], value: object) -> None:
    with suppress(InvalidRequestError):
        reader(value)


@settings(deadline=None)
@given(place=st.sampled_from(places(valid_parameters())), value=JSON)
def test_random_json_in_any_field_raises_nothing_but_our_error(place: tuple[Any, ...], value: object) -> None:
    wire: Any = valid_parameters()
    target = wire
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    with suppress(InvalidRequestError):
        RtpParameters.from_wire(wire).to_wire()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1935360.0000000002, 1935360), (1.9, 1), (0.5, None), (-0.5, None), (4e9, 4_000_000_000)],
)
def test_numbers_that_applications_compute_are_cut_off_as_in_browsers(
    value: float, expected: int | None
) -> None:
    wire = valid_parameters()
    wire["encodings"][0]["maxBitrate"] = value
    assert RtpParameters.from_wire(wire).encodings[0].max_bitrate_bps == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 2.0**32, True, "1"])
def test_what_is_no_number_of_32_bits_is_refused(value: object) -> None:
    wire = valid_parameters()
    wire["encodings"][0]["maxBitrate"] = value
    with pytest.raises(InvalidRequestError, match=r"encodings\[0\]\.maxBitrate"):
        RtpParameters.from_wire(wire)


SHA_1 = {"algorithm": "sha-1", "value": ":".join(["AB"] * 20)}
SHA_256 = {"algorithm": "SHA-256", "value": ":".join(["ab"] * 32)}


@pytest.mark.parametrize(
    "fingerprints", [[SHA_256], [SHA_1, SHA_256], [SHA_256, SHA_1, {"algorithm": "md5"}]]
)
def test_one_fingerprint_that_can_be_checked_is_enough(fingerprints: list[dict[str, str]]) -> None:
    read = DtlsParameters.from_wire({"fingerprints": fingerprints})
    assert [(one.algorithm, one.value) for one in read.fingerprints] == [
        ("sha-256", SHA_256["value"].upper())
    ]


def test_fingerprints_of_which_none_can_be_checked_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match=r"fingerprints\[0\]\.algorithm: must be one of sha-256"):
        DtlsParameters.from_wire({"fingerprints": [SHA_1]})
