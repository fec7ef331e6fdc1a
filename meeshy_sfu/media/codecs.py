"""The codecs and header extensions that routers forward, and when two codecs are the same.

Pure tables and comparisons; how they make up capabilities and parameters is in ortc.py.
"""

from dataclasses import dataclass
from enum import Enum

from meeshy_sfu.media.rtp_parameters import (
    CodecParameters,
    ExtensionDirection,
    MediaKind,
    ParameterValue,
    RtcpFeedback,
    RtpCodecCapability,
    RtpCodecParameters,
    RtpHeaderExtension,
)

AnyCodec = RtpCodecCapability | RtpCodecParameters

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID_URI = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
ABS_SEND_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
TRANSPORT_CC_URI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
DEPENDENCY_DESCRIPTOR_URI = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)
VIDEO_ORIENTATION_URI = "urn:3gpp:video-orientation"
TIME_OFFSET_URI = "urn:ietf:params:rtp-hdrext:toffset"
ABS_CAPTURE_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY_URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

NACK = RtcpFeedback("nack")
TRANSPORT_CC = RtcpFeedback("transport-cc")
REMB = RtcpFeedback("goog-remb")
_AUDIO_FEEDBACK = (TRANSPORT_CC,)
_VIDEO_FEEDBACK = (NACK, RtcpFeedback("nack", "pli"), RtcpFeedback("ccm", "fir"), REMB, TRANSPORT_CC)

SUPPORTED_CODECS = (
    RtpCodecCapability("audio/opus", 48000, None, 2, (), (NACK, TRANSPORT_CC)),
    RtpCodecCapability("audio/PCMU", 8000, 0, 1, (), _AUDIO_FEEDBACK),
    RtpCodecCapability("audio/PCMA", 8000, 8, 1, (), _AUDIO_FEEDBACK),
    RtpCodecCapability("audio/G722", 8000, 9, 1, (), _AUDIO_FEEDBACK),
    RtpCodecCapability("video/VP8", 90000, None, None, (), _VIDEO_FEEDBACK),
    RtpCodecCapability("video/VP9", 90000, None, None, (("profile-id", 0),), _VIDEO_FEEDBACK),
    RtpCodecCapability(
        "video/H264",
        90000,
        None,
        None,
        (("packetization-mode", 1), ("profile-level-id", "42e01f"), ("level-asymmetry-allowed", 1)),
        _VIDEO_FEEDBACK,
    ),
    RtpCodecCapability("video/AV1", 90000, None, None, (), _VIDEO_FEEDBACK),
)
"""What the media core can forward; payload types only where they are fixed (RFC 3551)."""

DEFAULT_MEDIA_CODECS = tuple(
    codec
    for codec in SUPPORTED_CODECS
    if codec.mime_type in {"audio/opus", "video/VP8", "video/VP9", "video/H264", "video/AV1"}
)
"""What a room forwards unless it is created with a list of its own; clients prefer the first they know."""

_BOTH: tuple[MediaKind, ...] = ("audio", "video")
_VIDEO: tuple[MediaKind, ...] = ("video",)
_EXTENSIONS: tuple[tuple[int, str, tuple[MediaKind, ...], ExtensionDirection], ...] = (
    (1, MID_URI, _BOTH, "sendrecv"),
    (2, RID_URI, _VIDEO, "recvonly"),
    (3, REPAIRED_RID_URI, _VIDEO, "recvonly"),
    (4, ABS_SEND_TIME_URI, _BOTH, "sendrecv"),
    (5, TRANSPORT_CC_URI, _BOTH, "sendrecv"),
    (6, AUDIO_LEVEL_URI, ("audio",), "sendrecv"),
    (7, DEPENDENCY_DESCRIPTOR_URI, _VIDEO, "recvonly"),
    (8, VIDEO_ORIENTATION_URI, _VIDEO, "sendrecv"),
    (9, TIME_OFFSET_URI, _VIDEO, "sendrecv"),
    (10, ABS_CAPTURE_TIME_URI, _BOTH, "sendrecv"),
    (11, PLAYOUT_DELAY_URI, _BOTH, "sendrecv"),
)

HEADER_EXTENSIONS = tuple(
    RtpHeaderExtension(
        kind=kind,
        uri=uri,
        preferred_id=number,
        # Audio is counted towards the server only: clients would otherwise pace audio by video's feedback.
        direction="recvonly" if uri == TRANSPORT_CC_URI and kind == "audio" else direction,
    )
    for number, uri, kinds, direction in _EXTENSIONS
    for kind in kinds
)
"""One entry per URI and kind, one id per URI; direction as the server sees it."""


class H264Profile(Enum):
    """The H264 profiles that WebRTC distinguishes (RFC 6184 §8.1, ITU-T H.264 annex A)."""

    CONSTRAINED_BASELINE = "42e0"
    BASELINE = "4200"
    MAIN = "4d00"
    CONSTRAINED_HIGH = "640c"
    HIGH = "6400"
    PREDICTIVE_HIGH_444 = "f400"


_LEVEL_1B = 0
_CONSTRAINT_SET_3 = 0x10
_LEVELS = frozenset((10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52))
_LEVEL_1B_IDS = {
    H264Profile.CONSTRAINED_BASELINE: "42f00b",
    H264Profile.BASELINE: "42100b",
    H264Profile.MAIN: "4d100b",
}
# profile_idc, mask of profile_iop, value under the mask
_PROFILES = (
    (0x42, 0b0100_1111, 0b0100_0000, H264Profile.CONSTRAINED_BASELINE),
    (0x4D, 0b1000_1111, 0b1000_0000, H264Profile.CONSTRAINED_BASELINE),
    (0x58, 0b1100_1111, 0b1100_0000, H264Profile.CONSTRAINED_BASELINE),
    (0x42, 0b0100_1111, 0b0000_0000, H264Profile.BASELINE),
    (0x58, 0b1100_1111, 0b1000_0000, H264Profile.BASELINE),
    (0x4D, 0b1010_1111, 0b0000_0000, H264Profile.MAIN),
    (0x64, 0b1111_1111, 0b0000_0000, H264Profile.HIGH),
    (0x64, 0b1111_1111, 0b0000_1100, H264Profile.CONSTRAINED_HIGH),
    (0xF4, 0b1111_1111, 0b0000_0000, H264Profile.PREDICTIVE_HIGH_444),
)


@dataclass(frozen=True, slots=True)
class ProfileLevelId:
    """A parsed H264 ``profile-level-id``."""

    profile: H264Profile
    level: int
    """Ten times the level; 0 is level 1b, which lies between 1 and 1.1."""

    @classmethod
    def parse(cls, text: ParameterValue | None) -> "ProfileLevelId | None":
        """Read six hex digits; absent means constrained baseline 3.1, None comes back for what is unknown."""
        if text is None:
            return cls(H264Profile.CONSTRAINED_BASELINE, 31)
        if not isinstance(text, str) or len(text) != 6:
            return None
        try:
            profile_idc, profile_iop, level_idc = bytes.fromhex(text)
        except ValueError:
            return None
        level = level_idc
        if level_idc == 11 and profile_iop & _CONSTRAINT_SET_3:
            level = _LEVEL_1B
        elif level_idc not in _LEVELS:
            return None
        for idc, mask, value, profile in _PROFILES:
            if profile_idc == idc and profile_iop & mask == value:
                return cls(profile, level)
        return None

    def text(self) -> str | None:
        """Write six hex digits; None for a level 1b that the profile does not have."""
        if self.level == _LEVEL_1B:
            return _LEVEL_1B_IDS.get(self.profile)
        return f"{self.profile.value}{self.level:02x}"

    def lower(self, other: "ProfileLevelId") -> int:
        """Return the lower of both levels."""
        return min(self.level, other.level, key=lambda level: 10.5 if level == _LEVEL_1B else level)


def same_codec(one: AnyCodec, other: AnyCodec, *, strict: bool = False) -> bool:
    """Return whether two descriptions mean the same codec; strict compares profiles as well."""
    if (
        one.mime_type.lower() != other.mime_type.lower()
        or one.clock_rate != other.clock_rate
        or one.channels != other.channels
    ):
        return False
    if not strict:
        return True
    match one.mime_type.lower():
        case "video/h264":
            return _same_h264(one, other)
        case "video/vp9":
            return _profile_id(one) == _profile_id(other)
    return True


def answered_parameters(producer: RtpCodecParameters, router: AnyCodec) -> CodecParameters:
    """Compute the producer's format parameters with an H264 profile and level that both support.

    Both must be the same codec in the strict sense. Without any profile in them nothing is changed.
    """
    if producer.mime_type.lower() != "video/h264":
        return producer.parameters
    local_text = producer.parameter("profile-level-id")
    remote_text = router.parameter("profile-level-id")
    local, remote = ProfileLevelId.parse(local_text), ProfileLevelId.parse(remote_text)
    if (local_text is None and remote_text is None) or local is None or remote is None:
        return producer.parameters
    asymmetric = (
        producer.parameter("level-asymmetry-allowed") == 1
        and router.parameter("level-asymmetry-allowed") == 1
    )
    level = local.level if asymmetric else local.lower(remote)
    answer = ProfileLevelId(local.profile, level).text()
    if answer is None:
        return producer.parameters
    return tuple((dict(producer.parameters) | {"profile-level-id": answer}).items())


def _same_h264(one: AnyCodec, other: AnyCodec) -> bool:
    if (one.parameter("packetization-mode") or 0) != (other.parameter("packetization-mode") or 0):
        return False
    first = ProfileLevelId.parse(one.parameter("profile-level-id"))
    second = ProfileLevelId.parse(other.parameter("profile-level-id"))
    return first is not None and second is not None and first.profile is second.profile


def _profile_id(codec: AnyCodec) -> ParameterValue:
    value = codec.parameter("profile-id")
    return 0 if value is None or value == "" else value
