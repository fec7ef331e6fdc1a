"""When two codecs are the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meeshy_sfu.media.codecs import H264Profile, ProfileLevelId, answered_parameters, same_codec
from meeshy_sfu.media.rtp_parameters import (
    CodecParameters,
    ParameterValue,
    RtpCodecCapability,
    RtpCodecParameters,
)


def h264(**parameters: ParameterValue) -> RtpCodecParameters:
    pairs: CodecParameters = tuple((name.replace("_", "-"), value) for name, value in parameters.items())
    return RtpCodecParameters("video/H264", 96, 90000, None, pairs)


@pytest.mark.parametrize(
    ("text", "profile", "level"),
    [
        ("42e01f", H264Profile.CONSTRAINED_BASELINE, 31),
        ("4de01f", H264Profile.CONSTRAINED_BASELINE, 31),
        ("58f01f", H264Profile.CONSTRAINED_BASELINE, 31),
        ("42001f", H264Profile.BASELINE, 31),
        ("42a01f", H264Profile.BASELINE, 31),
        ("58a01f", H264Profile.BASELINE, 31),
        ("4d401f", H264Profile.MAIN, 31),
        ("64001f", H264Profile.HIGH, 31),
        ("640c1f", H264Profile.CONSTRAINED_HIGH, 31),
        ("f4001f", H264Profile.PREDICTIVE_HIGH_444, 31),
        ("42f00b", H264Profile.CONSTRAINED_BASELINE, 0),
        ("42e00b", H264Profile.CONSTRAINED_BASELINE, 11),
    ],
)
def test_a_profile_level_id_is_read(text: str, profile: H264Profile, level: int) -> None:
    assert ProfileLevelId.parse(text) == ProfileLevelId(profile, level)


@pytest.mark.parametrize(
    "text", ["", "42e01", "42e01f0", "gggggg", "42e0 1", " 42e01", "42e0ff", "00001f", 4]
)
def test_an_unknown_profile_level_id_is_none(text: ParameterValue) -> None:
    assert ProfileLevelId.parse(text) is None


@settings(deadline=None)
@given(st.text(max_size=7) | st.integers() | st.floats())
def test_reading_a_profile_level_id_never_raises(text: ParameterValue) -> None:
    parsed = ProfileLevelId.parse(text)
    assert parsed is None or parsed.text() is None or ProfileLevelId.parse(parsed.text()) == parsed


def test_h264_matches_by_profile_and_packetization_mode() -> None:
    router = RtpCodecCapability(
        "video/H264", 90000, 105, None, (("packetization-mode", 1), ("profile-level-id", "42e01f"))
    )
    assert same_codec(h264(packetization_mode=1, profile_level_id="42e034"), router, strict=True)
    assert same_codec(h264(packetization_mode=1), router, strict=True)
    assert not same_codec(h264(packetization_mode=1, profile_level_id="42001f"), router, strict=True)
    assert not same_codec(h264(packetization_mode=0, profile_level_id="42e01f"), router, strict=True)
    assert not same_codec(h264(packetization_mode=1, profile_level_id="nonsense"), router, strict=True)
    assert same_codec(h264(packetization_mode=0), router)


def test_vp9_matches_by_profile() -> None:
    def vp9(*parameters: tuple[str, ParameterValue]) -> RtpCodecParameters:
        return RtpCodecParameters("video/VP9", 98, 90000, None, parameters)

    assert same_codec(vp9(), vp9(("profile-id", 0)), strict=True)
    assert not same_codec(vp9(("profile-id", 2)), vp9(("profile-id", 0)), strict=True)
    assert not same_codec(vp9(("profile-id", "a")), vp9(("profile-id", 0)), strict=True)


def test_channels_and_clock_rate_must_be_equal() -> None:
    stereo = RtpCodecCapability("audio/opus", 48000, 100, 2)
    assert same_codec(stereo, RtpCodecCapability("AUDIO/Opus", 48000, 111, 2), strict=True)
    assert not same_codec(stereo, RtpCodecCapability("audio/opus", 48000, 111, 1))
    assert not same_codec(stereo, RtpCodecCapability("audio/opus", 16000, 111, 2))


@pytest.mark.parametrize(
    ("local", "asymmetry", "remote", "answer"),
    [
        ("42e01f", 1, "42e034", "42e01f"),
        ("42e034", 1, "42e01f", "42e034"),
        ("42e034", 0, "42e01f", "42e01f"),
        ("42f00b", 0, "42e00a", "42e00a"),
        ("42f00b", 0, "42e00b", "42f00b"),
    ],
)
def test_the_answered_level_is_the_own_one_if_levels_may_differ_else_the_lower(
    local: str, asymmetry: int, remote: str, answer: str
) -> None:
    producer = h264(profile_level_id=local, level_asymmetry_allowed=asymmetry)
    router = h264(profile_level_id=remote, level_asymmetry_allowed=1)
    assert dict(answered_parameters(producer, router))["profile-level-id"] == answer
