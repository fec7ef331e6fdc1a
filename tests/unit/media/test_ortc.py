"""Negotiation rules, against what real clients have sent."""

import copy
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeshy_sfu.errors import InvalidRequestError, RequestError, UnsupportedCodecError
from meeshy_sfu.media import codecs, ortc
from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS
from meeshy_sfu.media.rtp_parameters import (
    MediaKind,
    RtpCapabilities,
    RtpCodecCapability,
    RtpParameters,
    read_media_codecs,
)
from tests.unit.media.recordings import CHROMIUM, PYMEDIASOUP

ROUTER = ortc.router_capabilities(DEFAULT_MEDIA_CODECS)
PLAYABLE = sorted(set(CHROMIUM["produce"]) - {"av1_svc_L3T3"})
"""What Chromium sent and receivers can show as long as all layers go to everybody."""
FIVE_CODECS = ("audio/opus", "video/VP8", "video/VP9", "video/H264", "video/AV1")
CHROMIUM_RECEIVER = RtpCapabilities.from_wire(CHROMIUM["recvRtpCapabilities"])
PYMEDIASOUP_RECEIVER = RtpCapabilities.from_wire(PYMEDIASOUP["rtpCapabilities"])


def consumable(
    wire: dict[str, Any], router: RtpCapabilities = ROUTER, kind: MediaKind | None = None
) -> RtpParameters:
    parameters = RtpParameters.from_wire(wire)
    kind = kind or parameters.codecs[0].kind
    parameters = ortc.check_producible(kind, parameters)
    parameters, mapping = ortc.producer_mapping(parameters, router, first_mapped_ssrc=1000)
    return ortc.consumable_parameters(kind, parameters, router, mapping)


def chromium(name: str) -> dict[str, Any]:
    return copy.deepcopy(CHROMIUM["produce"][name]["rtpParameters"])


# ---- capabilities ------------------------------------------------------------------------------------------


def test_the_router_publishes_what_mediasoup_publishes() -> None:
    published = ROUTER.to_wire()
    recorded = CHROMIUM["routerRtpCapabilities"]

    def comparable(codec: dict[str, Any]) -> str:
        codec = dict(codec)
        codec["rtcpFeedback"] = sorted(json.dumps(item) for item in codec.get("rtcpFeedback", []))
        return json.dumps(codec, sort_keys=True)

    assert list(map(comparable, published["codecs"])) == list(map(comparable, recorded["codecs"]))
    # mediasoup has an extension of its own, which no client can be asked to know.
    expected = [item for item in recorded["headerExtensions"] if "mediasoup" not in item["uri"]]
    assert published["headerExtensions"] == expected


def test_the_payload_types_are_those_of_the_contract() -> None:
    assert [(codec.mime_type, codec.preferred_payload_type) for codec in ROUTER.codecs] == [
        ("audio/opus", 100),
        ("video/VP8", 101),
        ("video/rtx", 102),
        ("video/VP9", 103),
        ("video/rtx", 104),
        ("video/H264", 105),
        ("video/rtx", 106),
        ("video/AV1", 107),
        ("video/rtx", 108),
    ]


def test_an_audio_router_publishes_no_video_extension() -> None:
    router = ortc.router_capabilities(DEFAULT_MEDIA_CODECS[:1])
    assert {extension.kind for extension in router.header_extensions} == {"audio"}


def test_one_uri_has_one_id() -> None:
    by_uri: dict[str, set[int]] = {}
    for extension in codecs.HEADER_EXTENSIONS:
        by_uri.setdefault(extension.uri, set()).add(extension.preferred_id)
    assert all(len(ids) == 1 for ids in by_uri.values())
    assert len({next(iter(ids)) for ids in by_uri.values()}) == len(by_uri)


def test_wanted_and_static_payload_types_are_kept() -> None:
    wanted = read_media_codecs(
        [
            {"mimeType": "video/vp8", "clockRate": 90000},
            {"mimeType": "audio/OPUS", "clockRate": 48000, "channels": 2, "preferredPayloadType": 100},
            {"mimeType": "audio/PCMU", "clockRate": 8000},
        ]
    )
    assert wanted is not None
    assert [(c.mime_type, c.preferred_payload_type) for c in ortc.router_capabilities(wanted).codecs] == [
        ("video/VP8", 101),
        ("video/rtx", 102),
        ("audio/opus", 100),
        ("audio/PCMU", 0),
    ]


def test_the_callers_parameters_go_over_the_built_in_ones_and_its_feedback_is_ignored() -> None:
    wanted = read_media_codecs(
        [
            {
                "mimeType": "video/VP9",
                "clockRate": 90000,
                "parameters": {"profile-id": 2, "x-google-start-bitrate": 1000},
                "rtcpFeedback": [{"type": "made-up"}],
            }
        ]
    )
    assert wanted is not None
    codec = ortc.router_capabilities(wanted).codecs[0]
    assert dict(codec.parameters) == {"profile-id": 2, "x-google-start-bitrate": 1000}
    assert len(codec.rtcp_feedback) == 5


@pytest.mark.parametrize(
    ("codec", "error"),
    [
        ({"mimeType": "video/H265", "clockRate": 90000}, UnsupportedCodecError),
        ({"mimeType": "video/rtx", "clockRate": 90000}, UnsupportedCodecError),
        ({"mimeType": "audio/opus", "clockRate": 48000}, UnsupportedCodecError),
        (
            {"mimeType": "video/H264", "clockRate": 90000, "parameters": {"profile-level-id": "zz"}},
            UnsupportedCodecError,
        ),
        ({"mimeType": "video/VP8", "clockRate": 90000, "preferredPayloadType": 72}, InvalidRequestError),
    ],
)
def test_codecs_that_cannot_be_forwarded_are_refused(
    codec: dict[str, Any], error: type[RequestError]
) -> None:
    wanted = read_media_codecs([codec])
    assert wanted is not None
    with pytest.raises(error, match="mediaCodecs"):
        ortc.router_capabilities(wanted)


def test_one_payload_type_twice_is_refused() -> None:
    vp8 = RtpCodecCapability("video/VP8", 90000, 101)
    with pytest.raises(InvalidRequestError, match=r"mediaCodecs\[1\].preferredPayloadType"):
        ortc.router_capabilities([vp8, vp8])


def test_more_codecs_than_payload_types_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no dynamic payload type"):
        ortc.router_capabilities([RtpCodecCapability("video/VP8", 90000)] * 17)


# ---- producing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("audio", "simple"),
        ("vp8", "simple"),
        ("h264", "simple"),
        ("av1", "simple"),
        ("vp8_simulcast3", "simulcast"),
        ("h264_simulcast2", "simulcast"),
        ("vp9_svc_L3T3_KEY", "svc"),
    ],
)
def test_the_type_follows_the_encodings(name: str, expected: str) -> None:
    assert ortc.stream_type(consumable(chromium(name))) == expected


def test_layers_are_read_from_the_scalability_mode() -> None:
    assert ortc.scalability("L3T2_KEY") == (3, 2)
    assert ortc.scalability("S1T3") == (1, 3)
    assert ortc.scalability("nonsense") == ortc.scalability(None) == (1, 1)


def test_payload_types_and_ssrcs_are_mapped_to_the_routers() -> None:
    parameters, mapping = ortc.producer_mapping(
        RtpParameters.from_wire(chromium("vp8_simulcast3")), ROUTER, first_mapped_ssrc=0xFFFF_FFFF
    )
    assert mapping.codecs == ((96, 101), (97, 102))
    assert [(e.ssrc, e.rid, e.mapped_ssrc) for e in mapping.encodings] == [
        (None, "r0", 0xFFFF_FFFF),
        (None, "r1", 0),
        (None, "r2", 1),
    ]
    assert len(parameters.encodings) == 3


def test_an_unknown_codec_is_not_forwarded() -> None:
    wire = chromium("h264")
    wire["codecs"][0]["parameters"]["profile-level-id"] = "42001f"
    with pytest.raises(UnsupportedCodecError, match="H264"):
        consumable(wire)


def test_an_rtx_the_router_lacks_is_not_forwarded() -> None:
    router = replace(ROUTER, codecs=tuple(codec for codec in ROUTER.codecs if not codec.is_rtx))
    with pytest.raises(UnsupportedCodecError, match="no RTX"):
        consumable(chromium("vp8"), router)


def test_consumable_parameters_have_the_routers_numbers_and_the_producers_parameters() -> None:
    result = consumable(chromium("audio_opts"))
    assert result.codecs[0].payload_type == 100
    assert dict(result.codecs[0].parameters)["sprop-stereo"] == 1
    assert [item.type for item in result.codecs[0].rtcp_feedback] == ["nack", "transport-cc"]
    assert {extension.id for extension in result.header_extensions} == {1, 4, 6, 11}
    assert result.encodings[0].ssrc == 1000
    assert result.mid is None


def test_a_producer_without_rtx_gets_the_routers_rtx() -> None:
    wire = chromium("vp8")
    del wire["codecs"][1], wire["encodings"][0]["rtx"]
    assert [codec.payload_type for codec in consumable(wire).codecs] == [101, 102]


def test_abs_capture_time_is_passed_on_only_if_the_producer_has_it() -> None:
    wire = chromium("audio")
    assert codecs.ABS_CAPTURE_TIME_URI not in {e.uri for e in consumable(wire).header_extensions}
    wire["headerExtensions"].append({"uri": codecs.ABS_CAPTURE_TIME_URI, "id": 13})
    assert codecs.ABS_CAPTURE_TIME_URI in {e.uri for e in consumable(wire).header_extensions}


def test_empty_encodings_are_one_bare_encoding_found_by_mid() -> None:
    wire = chromium("vp8")
    wire["encodings"] = []
    assert len(consumable(wire).encodings) == 1


def _with(name: str, change: Any) -> dict[str, Any]:
    wire = chromium(name)
    change(wire)
    return wire


@pytest.mark.parametrize(
    ("wire", "named"),
    [
        (_with("vp8", lambda w: w.update(codecs=[])), "codecs"),
        (_with("vp8", lambda w: w.update(codecs=w["codecs"][1:])), "codecs"),
        (_with("vp8", lambda w: w["codecs"][1].update(payloadType=96)), "codecs[1].payloadType"),
        (_with("vp8", lambda w: w["codecs"][0].update(payloadType=72)), "codecs[0].payloadType"),
        (_with("vp8", lambda w: w["codecs"][1]["parameters"].update(apt=9)), "codecs[1].parameters.apt"),
        (_with("vp8", lambda w: w["codecs"][0].update(mimeType="audio/opus")), "codecs[0].mimeType"),
        (_with("vp8", lambda w: w["headerExtensions"][1].update(id=9)), "headerExtensions[1].id"),
        (
            _with("vp8", lambda w: w["encodings"][0].update(codecPayloadType=97)),
            "encodings[0].codecPayloadType",
        ),
        (_with("vp8", lambda w: (w.pop("mid"), w.update(encodings=[{}]))), "encodings[0]"),
        (_with("vp8_simulcast3", lambda w: w["encodings"][1].pop("rid")), "encodings[1]"),
        (_with("vp8_simulcast3", lambda w: w["encodings"][1].update(rid="r0")), "encodings[1].rid"),
        (
            _with("vp8_simulcast3", lambda w: w["encodings"][0].update(scalabilityMode="L2T1")),
            "encodings[0].scalabilityMode",
        ),
        (
            _with("audio", lambda w: w["encodings"][0].update(scalabilityMode="L1T2")),
            "encodings[0].scalabilityMode",
        ),
        (
            _with("vp9_svc_L3T3_KEY", lambda w: w.update(encodings=[{"ssrc": 1}, {"ssrc": 2}])),
            "encodings",
        ),
        (_with("vp8", lambda w: w["encodings"][0].update(rtx={"ssrc": 2814071861})), "encodings[0].ssrc"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(wire: dict[str, Any], named: str) -> None:
    kind: MediaKind = "audio" if "L1T2" in json.dumps(wire) else "video"
    with pytest.raises(InvalidRequestError) as caught:
        ortc.check_producible(kind, RtpParameters.from_wire(wire))
    assert caught.value.path == f"rtpParameters.{named}"


# ---- consuming ---------------------------------------------------------------------------------------------


def test_chromium_receives_video_with_rtx_and_transport_cc() -> None:
    template = ortc.consumer_template(consumable(chromium("vp8")), CHROMIUM_RECEIVER)
    result = ortc.consumer_parameters(template, ssrc=5000, mid="0")
    assert [codec.payload_type for codec in result.codecs] == [101, 102]
    assert {(item.type, item.parameter) for item in result.codecs[0].rtcp_feedback} == {
        ("nack", ""),
        ("nack", "pli"),
        ("ccm", "fir"),
        ("transport-cc", ""),
    }
    assert {extension.id for extension in result.header_extensions} == {1, 4, 5, 8, 9, 11}
    assert (result.encodings[0].ssrc, result.encodings[0].rtx_ssrc, result.mid) == (5000, 5001, "0")
    assert result.rtcp.cname == "2JdZ8QdCJnur2VTC"


def test_chromium_receives_audio_with_the_extensions_it_lists_under_video() -> None:
    result = ortc.consumer_template(consumable(chromium("audio")), CHROMIUM_RECEIVER)
    assert {extension.id for extension in result.header_extensions} == {1, 4, 6, 11}
    assert result.codecs[0].rtcp_feedback == ()
    assert result.encodings[0].rtx_ssrc is None


def test_pymediasoup_receives_video_with_remb() -> None:
    result = ortc.consumer_template(consumable(chromium("vp8")), PYMEDIASOUP_RECEIVER)
    types = {item.type for item in result.codecs[0].rtcp_feedback}
    assert "goog-remb" in types
    assert "transport-cc" not in types


def test_pymediasoup_cannot_receive_vp9() -> None:
    vp9 = consumable(chromium("vp9_svc_L3T3_KEY"))
    assert not ortc.can_consume(vp9, PYMEDIASOUP_RECEIVER)
    assert ortc.can_consume(vp9, CHROMIUM_RECEIVER)
    with pytest.raises(UnsupportedCodecError, match="no compatible"):
        ortc.consumer_template(vp9, PYMEDIASOUP_RECEIVER)


def test_each_recorded_producer_of_pymediasoup_can_be_consumed_by_both_clients() -> None:
    router = ortc.router_capabilities(read_media_codecs(PYMEDIASOUP["mediaCodecs"]) or ())
    for wire in PYMEDIASOUP["rawNulls"].values():
        for receiver in (RtpCapabilities.from_wire(PYMEDIASOUP["rtpCapabilities"]), router):
            offered = consumable(wire, router)
            assert ortc.can_consume(offered, receiver)
            assert not ortc.consumer_template(offered, receiver).codecs[0].is_rtx


def test_a_consumers_payload_types_are_the_routers() -> None:
    published = {codec.preferred_payload_type for codec in ROUTER.codecs}
    for name in PLAYABLE:
        template = ortc.consumer_template(consumable(chromium(name)), CHROMIUM_RECEIVER)
        assert {codec.payload_type for codec in template.codecs} <= published


def test_without_rtx_at_the_receiver_none_is_announced() -> None:
    receiver = replace(ROUTER, codecs=tuple(codec for codec in ROUTER.codecs if not codec.is_rtx))
    template = ortc.consumer_template(consumable(chromium("vp8")), receiver)
    assert [codec.payload_type for codec in template.codecs] == [101]
    assert template.encodings[0].rtx_ssrc is None


def test_repair_can_be_asked_for_audio_and_refused_for_video() -> None:
    audio = ortc.consumer_template(consumable(chromium("audio")), CHROMIUM_RECEIVER, enable_rtx=True)
    assert codecs.NACK in audio.codecs[0].rtcp_feedback
    video = ortc.consumer_template(consumable(chromium("vp8")), CHROMIUM_RECEIVER, enable_rtx=False)
    assert codecs.NACK not in video.codecs[0].rtcp_feedback
    assert len(video.codecs) == 1


def test_simulcast_is_announced_as_spatial_layers_and_the_largest_bitrate() -> None:
    encoding = ortc.consumer_template(consumable(chromium("vp8_simulcast3")), CHROMIUM_RECEIVER).encodings[0]
    assert encoding.scalability_mode == "L3T3"
    assert encoding.max_bitrate_bps == 1_500_000


def test_svc_keeps_its_mode() -> None:
    encoding = ortc.consumer_template(consumable(chromium("vp9_svc_L3T3_KEY")), CHROMIUM_RECEIVER).encodings[
        0
    ]
    assert encoding.scalability_mode == "L3T3_KEY"


@settings(deadline=None)
@given(
    name=st.sampled_from(PLAYABLE),
    drop=st.sets(st.sampled_from(FIVE_CODECS)),
    without_rtx=st.booleans(),
)
def test_consuming_works_exactly_when_can_consume_says_so(
    name: str, drop: set[str], without_rtx: bool
) -> None:
    receiver = replace(
        ROUTER,
        codecs=tuple(
            codec
            for codec in ROUTER.codecs
            if codec.mime_type not in drop and not (without_rtx and codec.is_rtx)
        ),
    )
    offered = consumable(chromium(name))
    if ortc.can_consume(offered, receiver):
        assert ortc.consumer_template(offered, receiver).codecs
    else:
        with pytest.raises(UnsupportedCodecError):
            ortc.consumer_template(offered, receiver)


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(CHROMIUM["produce"])),
    changes=st.lists(
        st.tuples(
            st.sampled_from(
                ["payloadType", "mimeType", "clockRate", "channels", "parameters", "id", "rid", "ssrc"]
            ),
            st.integers(0, 3),
            st.sampled_from(
                [None, 0, 1, 96, 97, 127, 2**32 - 1, "video/rtx", "video/VP9", "r0", {}, {"apt": 96}]
            ),
        ),
        max_size=4,
    ),
)
def test_twisted_parameters_raise_nothing_but_request_errors(
    name: str, changes: list[tuple[str, int, object]]
) -> None:
    wire = chromium(name)
    for field, index, value in changes:
        for part in ("codecs", "headerExtensions", "encodings"):
            items = wire[part]
            if index < len(items) and field in items[index]:
                items[index][field] = value
    with suppress(RequestError):
        offered = consumable(wire)
        for receiver in (CHROMIUM_RECEIVER, PYMEDIASOUP_RECEIVER, ROUTER):
            if ortc.can_consume(offered, receiver):
                json.dumps(ortc.consumer_template(offered, receiver).to_wire())


@pytest.mark.parametrize(
    ("mime_type", "mode", "instead"),
    [
        ("video/AV1", "L2T1", "L1T1"),
        ("video/AV1", "L3T3", "L1T3"),
        ("video/AV1", "L3T3_KEY", "L1T3"),
        ("video/AV1", "S3T3", "L1T3"),
        ("video/VP9", "S3T3", "L3T3_KEY"),
        ("video/VP9", "S2T1", "L2T1_KEY"),
        ("video/VP8", "L3T3", "L1T3"),
        ("video/H264", "S2T1", "L1T1"),
    ],
)
def test_a_mode_that_receivers_cannot_show_is_refused_with_what_to_use_instead(
    mime_type: str, mode: str, instead: str
) -> None:
    wire = _with("vp8", lambda wire: wire["encodings"][0].update(scalabilityMode=mode))
    wire["codecs"] = [{"mimeType": mime_type, "payloadType": 96, "clockRate": 90000}]
    with pytest.raises(InvalidRequestError, match=rf"encodings\[0\]\.scalabilityMode: .* use {instead}"):
        ortc.check_producible("video", RtpParameters.from_wire(wire))


@pytest.mark.parametrize(
    ("mime_type", "mode"),
    [
        ("video/VP8", "L1T3"),
        ("video/H264", "L1T2"),
        ("video/AV1", "L1T3"),
        ("video/VP9", "L1T3"),
        ("video/VP9", "L3T3"),
        ("video/VP9", "L3T3_KEY"),
        ("video/VP9", "L2T1h"),
    ],
)
def test_a_mode_that_receivers_can_show_is_taken(mime_type: str, mode: str) -> None:
    wire = _with("vp8", lambda wire: wire["encodings"][0].update(scalabilityMode=mode))
    wire["codecs"] = [{"mimeType": mime_type, "payloadType": 96, "clockRate": 90000}]
    ortc.check_producible("video", RtpParameters.from_wire(wire))


def test_h264_without_packetization_mode_means_mode_0() -> None:
    wanted = read_media_codecs([{"mimeType": "video/H264", "clockRate": 90000}])
    router = ortc.router_capabilities(wanted or ())
    assert router.codecs[0].parameter("packetization-mode") in (None, 0)
    assert router.codecs[0].parameter("profile-level-id") == "42e01f"
    without = _with("h264", lambda wire: wire["codecs"][0]["parameters"].pop("packetization-mode"))
    assert ortc.can_consume(consumable(without, router), router)
    with pytest.raises(UnsupportedCodecError):
        consumable(without, ROUTER)


@pytest.mark.parametrize("one", [1, "1", 1.0])
def test_format_parameters_that_are_numbers_may_be_written_as_text(one: object) -> None:
    changed = {"packetization-mode": one, "level-asymmetry-allowed": one}
    wire = _with("h264", lambda wire: wire["codecs"][0]["parameters"].update(changed))
    assert consumable(wire) == consumable(chromium("h264"))
    vp9 = {"mimeType": "video/VP9", "clockRate": 90000, "parameters": {"profile-id": str(one)[:1]}}
    router = ortc.router_capabilities(read_media_codecs([vp9]) or ())
    assert router.codecs[0].parameter("profile-id") == 1


@pytest.mark.parametrize(
    ("mime_type", "mode", "ending"),
    [
        ("video/VP9", "S3T3", "use L3T3_KEY"),
        ("video/AV1", "L3T3", "use L1T3"),
        ("video/VP8", "L3T2", "use L1T2, or simulcast"),
        ("video/H264", "S2T1", "use L1T1, or simulcast"),
    ],
)
def test_simulcast_is_proposed_where_the_codec_has_it(mime_type: str, mode: str, ending: str) -> None:
    wire = _with("vp8", lambda wire: wire["encodings"][0].update(scalabilityMode=mode))
    wire["codecs"] = [{"mimeType": mime_type, "payloadType": 96, "clockRate": 90000}]
    with pytest.raises(InvalidRequestError) as caught:
        ortc.check_producible("video", RtpParameters.from_wire(wire))
    assert str(caught.value).endswith(f"; {ending}")


def test_a_second_codec_of_the_producer_is_repaired_by_its_own_rtx() -> None:
    for codec in ROUTER.codecs:
        if not codec.is_rtx and codec.kind == "video":
            found = ortc._rtx_of(codec.preferred_payload_type or 0, ROUTER.codecs)
            assert found is not None
            assert found.parameter("apt") == codec.preferred_payload_type


def test_a_producer_without_encodings_is_simple() -> None:
    bare = replace(consumable(chromium("vp8")), encodings=())
    assert ortc.stream_type(bare) == "simple"


def test_each_codec_is_repaired_by_its_own_rtx() -> None:
    for name, numbers in (("vp8", [101, 102]), ("vp9_svc_L3T3_KEY", [103, 104]), ("h264", [105, 106])):
        wire = chromium(name)
        wire["codecs"] = [codec for codec in wire["codecs"] if codec["mimeType"] != "video/rtx"]
        wire["encodings"] = [{"ssrc": 1}]
        assert [codec.payload_type for codec in consumable(wire).codecs] == numbers, name


def test_a_receiver_s_codec_of_another_profile_lends_nothing() -> None:
    other = RtpCodecCapability("video/VP9", 90000, 35, None, (("profile-id", 2),))
    receiver = replace(ROUTER, codecs=(other, *ROUTER.codecs))
    vp9 = ortc.consumer_template(consumable(chromium("vp9_svc_L3T3_KEY")), receiver).codecs[0]
    assert codecs.NACK in vp9.rtcp_feedback, "the feedback of the profile that is received"
    assert not ortc.can_consume(consumable(chromium("vp9_svc_L3T3_KEY")), replace(ROUTER, codecs=(other,)))


def test_layers_of_a_codec_without_layers_are_refused() -> None:
    wire = chromium("audio")
    wire["encodings"][0]["scalabilityMode"] = "L2T2"
    with pytest.raises(InvalidRequestError, match=r"audio/opus has no layers"):
        ortc.check_producible("audio", RtpParameters.from_wire(wire))


def test_a_router_numbers_codecs_with_all_dynamic_payload_types_and_keeps_clear_of_rtcp() -> None:
    vp8 = RtpCodecCapability("video/VP8", 90000)
    full = ortc.router_capabilities([vp8] * 16)
    assert {codec.preferred_payload_type for codec in full.codecs} == set(range(96, 128))
    for number in (63, 96):
        assert ortc.router_capabilities([replace(vp8, preferred_payload_type=number)]).codecs
    for number in (64, 95):
        with pytest.raises(InvalidRequestError, match="are RTCP's"):
            ortc.router_capabilities([replace(vp8, preferred_payload_type=number)])


def test_a_producer_is_told_in_the_numbers_of_its_own_codec_whatever_their_order() -> None:
    router = ortc.router_capabilities(
        [RtpCodecCapability("video/VP9", 90000, 120), RtpCodecCapability("video/VP8", 90000, 110)]
    )
    first = consumable(chromium("vp8"), router).codecs[0]
    assert (first.mime_type, first.payload_type) == ("video/VP8", 110)


def test_what_a_caller_leaves_out_of_h264_is_as_in_the_table_but_for_the_packetization_mode() -> None:
    (codec, _) = ortc.router_capabilities([RtpCodecCapability("video/H264", 90000)]).codecs
    assert dict(codec.parameters) == {"profile-level-id": "42e01f", "level-asymmetry-allowed": 1}


def test_profile_level_id_is_h264_s_alone() -> None:
    for name in ("video/AV1", "video/VP8"):
        other = RtpCodecCapability(name, 90000, None, None, (("profile-level-id", "zz"),))
        assert ortc.router_capabilities([other]).codecs[0].mime_type == name


def test_simulcast_has_no_spatial_layers_inside() -> None:
    wire = chromium("vp8_simulcast3")
    wire["encodings"][1]["scalabilityMode"] = "L2T1"
    with pytest.raises(InvalidRequestError, match=r"encodings\[1\]\.scalabilityMode: simulcast has no"):
        ortc.check_producible("video", RtpParameters.from_wire(wire))


def two_codecs() -> dict[str, Any]:
    """A producer that may send VP8 or H.264, each with its RTX."""
    wire, h264 = chromium("vp8"), chromium("h264")
    used = {codec["payloadType"] for codec in wire["codecs"]}
    assert not used & {codec["payloadType"] for codec in h264["codecs"]}
    return wire | {"codecs": wire["codecs"] + h264["codecs"]}


def test_every_codec_of_a_producer_is_mapped_and_offered() -> None:
    numbers = [101, 102, 105, 106]
    assert [codec.payload_type for codec in consumable(two_codecs()).codecs] == numbers
    template = ortc.consumer_template(consumable(two_codecs()), CHROMIUM_RECEIVER)
    assert [codec.payload_type for codec in template.codecs] == numbers


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vp8", "simulcast"), ("h264", "simulcast"), ("av1", "svc"), ("vp9_svc_L3T3_KEY", "svc")],
)
def test_temporal_layers_of_one_encoding_are_svc_only_where_the_codec_has_it(
    name: str, expected: str
) -> None:
    wire = chromium(name)
    wire["encodings"][0]["scalabilityMode"] = "L1T2"
    assert ortc.stream_type(consumable(wire)) == expected
    template = ortc.consumer_template(consumable(wire), CHROMIUM_RECEIVER)
    assert template.encodings[0].scalability_mode == "L1T2"


def test_two_encodings_are_two_spatial_layers() -> None:
    template = ortc.consumer_template(consumable(chromium("h264_simulcast2")), CHROMIUM_RECEIVER)
    assert (template.encodings[0].scalability_mode or "").startswith("L2T")


def test_a_consumer_has_no_bitrate_if_the_producer_names_none() -> None:
    wire = chromium("vp8")
    for encoding in wire["encodings"]:
        encoding.pop("maxBitrate", None)
    assert ortc.consumer_template(consumable(wire), CHROMIUM_RECEIVER).encodings[0].max_bitrate_bps is None


@pytest.mark.parametrize("ssrc", [5000, 5001])
def test_retransmissions_have_the_next_ssrc(ssrc: int) -> None:
    template = ortc.consumer_template(consumable(chromium("vp8")), CHROMIUM_RECEIVER)
    encoding = ortc.consumer_parameters(template, ssrc=ssrc, mid="0").encodings[0]
    assert (encoding.ssrc, encoding.rtx_ssrc) == (ssrc, ssrc + 1)


def test_two_encodings_that_nothing_tells_apart_are_refused() -> None:
    wire = chromium("vp8")
    wire["encodings"] = [{}, {}]
    with pytest.raises(InvalidRequestError, match=r"encodings\[0\]: needs an ssrc or a rid"):
        ortc.check_producible("video", RtpParameters.from_wire(wire))


@pytest.mark.parametrize("with_rtx", [True, False])
def test_a_receiver_without_payload_types_is_repaired_if_it_lists_any_rtx(with_rtx: bool) -> None:
    listed = [replace(codec, preferred_payload_type=None) for codec in ROUTER.codecs]
    receiver = replace(ROUTER, codecs=tuple(codec for codec in listed if with_rtx or not codec.is_rtx))
    template = ortc.consumer_template(consumable(chromium("vp8")), receiver)
    assert (template.encodings[0].rtx_ssrc is not None) is with_rtx
