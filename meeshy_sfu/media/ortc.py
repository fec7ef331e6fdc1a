"""What may be sent to whom, and with which numbers: the negotiation rules of mediasoup, pure.

Knows no transport and draws no random number; the values are in rtp_parameters.py, the tables in codecs.py.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from meeshy_sfu.errors import InvalidRequestError, UnsupportedCodecError
from meeshy_sfu.media.codecs import (
    ABS_CAPTURE_TIME_URI,
    ABS_SEND_TIME_URI,
    HEADER_EXTENSIONS,
    NACK,
    REMB,
    SUPPORTED_CODECS,
    TRANSPORT_CC,
    TRANSPORT_CC_URI,
    ProfileLevelId,
    answered_parameters,
    same_codec,
)
from meeshy_sfu.media.rtp_parameters import (
    CodecParameters,
    MediaKind,
    RtcpFeedback,
    RtcpParameters,
    RtpCapabilities,
    RtpCodecCapability,
    RtpCodecParameters,
    RtpEncoding,
    RtpHeaderExtensionParameters,
    RtpParameters,
    canonical_mime_type,
    merged,
)

StreamType = Literal["simple", "simulcast", "svc"]

DYNAMIC_PAYLOAD_TYPES: tuple[int, ...] = (*range(100, 128), *range(96, 100))
RTCP_PAYLOAD_TYPES = range(64, 96)
"""Cannot be distinguished from RTCP on a shared port (RFC 5761 §4)."""
SIMULCAST_CODECS = frozenset(("video/vp8", "video/h264"))
LAYERED_CODECS = frozenset(("video/vp8", "video/vp9", "video/h264", "video/av1"))
"""Their streams have temporal layers."""
SVC_CODECS = frozenset(("video/vp9", "video/av1"))
"""One stream of them may be of type `svc`; mediasoup calls that of other codecs `simulcast`."""

_SCALABILITY_MODE = re.compile(r"[LS]([1-9][0-9]?)T([1-9][0-9]?)(_KEY)?.*")


@dataclass(frozen=True, slots=True)
class EncodingMapping:
    """How one stream of a producer is found, and the SSRC it has inside the router."""

    ssrc: int | None
    rid: str | None
    rtx_ssrc: int | None
    mapped_ssrc: int


@dataclass(frozen=True, slots=True)
class RtpMapping:
    """From the numbers of a producer to those of the router."""

    codecs: tuple[tuple[int, int], ...]
    """Pairs of the producer's payload type and the router's."""
    encodings: tuple[EncodingMapping, ...]

    def payload_type(self, payload_type: int) -> int:
        """Return the router's payload type for one of the producer's."""
        return dict(self.codecs)[payload_type]


def router_capabilities(
    media_codecs: Iterable[RtpCodecCapability], *, path: str = "mediaCodecs"
) -> RtpCapabilities:
    """Make up what a router of these codecs publishes.

    Payload types that the caller requests are kept, static ones too (RFC 3551), the others are counted up
    from 100; each video codec gets its RTX. The caller's feedback is ignored, its parameters are put over
    the built-in ones.

    Raises:
        UnsupportedCodecError: A codec is not one the media core forwards, or is a profile it does not know.
        InvalidRequestError: Two codecs want one payload type, or there are more than 32 dynamic ones.
    """
    wanted = list(media_codecs)
    reserved = {codec.preferred_payload_type for codec in wanted}
    free = [payload_type for payload_type in DYNAMIC_PAYLOAD_TYPES if payload_type not in reserved]
    used: set[int] = set()
    codecs: list[RtpCodecCapability] = []

    def take_next(where: str) -> int:
        if not free:
            raise InvalidRequestError("no dynamic payload type is left", path=where)
        return free.pop(0)

    for index, codec in enumerate(wanted):
        where = f"{path}[{index}]"
        supported = _supported(codec, where)
        payload_type = codec.preferred_payload_type
        if payload_type is None:
            payload_type = supported.preferred_payload_type
        if payload_type is None:
            payload_type = take_next(where)
        if payload_type in RTCP_PAYLOAD_TYPES:
            raise InvalidRequestError("64 to 95 are RTCP's", path=f"{where}.preferredPayloadType")
        if payload_type in used:
            raise InvalidRequestError(
                f"payload type {payload_type} is used twice", path=f"{where}.preferredPayloadType"
            )
        used.add(payload_type)
        media = replace(
            supported,
            preferred_payload_type=payload_type,
            parameters=merged(_assumed_parameters(supported), codec.parameters),
        )
        codecs.append(media)
        if media.kind == "video":
            rtx_payload_type = take_next(where)
            used.add(rtx_payload_type)
            codecs.append(
                RtpCodecCapability(
                    "video/rtx", media.clock_rate, rtx_payload_type, None, (("apt", payload_type),)
                )
            )
    kinds = {codec.kind for codec in codecs}
    return RtpCapabilities(
        tuple(codecs), tuple(extension for extension in HEADER_EXTENSIONS if extension.kind in kinds)
    )


def check_producible(
    kind: MediaKind, parameters: RtpParameters, *, path: str = "rtpParameters"
) -> RtpParameters:
    """Check what a client wants to send as far as that needs no router, and fill in a bare encoding.

    Raises:
        InvalidRequestError: The parameters contradict themselves; the path names the field.
    """
    if not parameters.encodings:
        parameters = replace(parameters, encodings=(RtpEncoding(),))
    media = {codec.payload_type: codec for codec in parameters.codecs if not codec.is_rtx}
    if not media:
        raise InvalidRequestError("must name a media codec", path=f"{path}.codecs")
    _check_codecs(kind, parameters, media, path)
    _check_extensions(parameters, path)
    _check_encodings(parameters, media, path)
    return parameters


def producer_mapping(
    parameters: RtpParameters,
    capabilities: RtpCapabilities,
    *,
    first_mapped_ssrc: int,
    path: str = "rtpParameters",
) -> tuple[RtpParameters, RtpMapping]:
    """Match a producer's codecs with the router's and number its streams.

    Returns the parameters with the H264 profile that both sides can live with.

    Raises:
        UnsupportedCodecError: The router does not forward a codec, or has no RTX for it.
        InvalidRequestError: An RTX codec repairs none of the codecs.
    """
    router_codec: dict[int, RtpCodecCapability] = {}
    codecs: list[RtpCodecParameters] = []
    for codec in parameters.codecs:
        if codec.is_rtx:
            codecs.append(codec)
            continue
        matching = next((item for item in capabilities.codecs if same_codec(codec, item, strict=True)), None)
        if matching is None:
            raise UnsupportedCodecError(
                f"the router does not forward {codec.mime_type} with these parameters",
                {"mimeType": codec.mime_type, "payloadType": codec.payload_type},
            )
        router_codec[codec.payload_type] = matching
        codecs.append(replace(codec, parameters=answered_parameters(codec, matching)))
    pairs: list[tuple[int, int]] = []
    for index, codec in enumerate(codecs):
        if codec.is_rtx:
            target = _rtx_target(codec, router_codec, capabilities, f"{path}.codecs[{index}]")
        else:
            target = router_codec[codec.payload_type]
        pairs.append((codec.payload_type, _payload_type(target)))
    encodings = tuple(
        EncodingMapping(
            encoding.ssrc, encoding.rid, encoding.rtx_ssrc, (first_mapped_ssrc + index) & 0xFFFF_FFFF
        )
        for index, encoding in enumerate(parameters.encodings)
    )
    return replace(parameters, codecs=tuple(codecs)), RtpMapping(tuple(pairs), encodings)


def consumable_parameters(
    kind: MediaKind, parameters: RtpParameters, capabilities: RtpCapabilities, mapping: RtpMapping
) -> RtpParameters:
    """Describe a producer in the router's numbers: what any consumer of it starts from."""
    codecs: list[RtpCodecParameters] = []
    for codec in parameters.codecs:
        if codec.is_rtx:
            continue
        payload_type = mapping.payload_type(codec.payload_type)
        router = next(item for item in capabilities.codecs if item.preferred_payload_type == payload_type)
        codecs.append(
            RtpCodecParameters(
                router.mime_type,
                payload_type,
                router.clock_rate,
                router.channels,
                codec.parameters,
                router.rtcp_feedback,
            )
        )
        rtx = _rtx_of(payload_type, capabilities.codecs)
        if rtx is not None:
            codecs.append(
                RtpCodecParameters(rtx.mime_type, _payload_type(rtx), rtx.clock_rate, None, rtx.parameters)
            )
    sent = {extension.uri for extension in parameters.header_extensions}
    extensions = tuple(
        RtpHeaderExtensionParameters(extension.uri, extension.preferred_id, extension.preferred_encrypt)
        for extension in capabilities.header_extensions
        if extension.kind == kind
        and extension.direction in ("sendrecv", "sendonly")
        # Only the sender knows when a frame was captured.
        and (extension.uri != ABS_CAPTURE_TIME_URI or ABS_CAPTURE_TIME_URI in sent)
    )
    encodings = tuple(
        replace(encoding, ssrc=mapped.mapped_ssrc, rid=None, rtx_ssrc=None, codec_payload_type=None)
        for encoding, mapped in zip(parameters.encodings, mapping.encodings, strict=True)
    )
    return RtpParameters(
        tuple(codecs), extensions, encodings, RtcpParameters(parameters.rtcp.cname), None, parameters.msid
    )


def stream_type(parameters: RtpParameters) -> StreamType:
    """Return how a producer offers its layers."""
    if len(parameters.encodings) > 1:
        return "simulcast"
    if parameters.encodings and max(scalability(parameters.encodings[0].scalability_mode)) > 1:
        return "svc" if parameters.codecs[0].mime_type.lower() in SVC_CODECS else "simulcast"
    return "simple"


def scalability(mode: str | None) -> tuple[int, int]:
    """Return the number of spatial and temporal layers that a scalability mode promises."""
    match = _SCALABILITY_MODE.fullmatch(mode or "")
    return (int(match[1]), int(match[2])) if match else (1, 1)


def can_consume(consumable: RtpParameters, capabilities: RtpCapabilities) -> bool:
    """Return whether a receiver with these capabilities can decode a producer."""
    for codec in consumable.codecs:
        if any(same_codec(item, codec, strict=True) for item in capabilities.codecs):
            return not codec.is_rtx
    return False


def consumer_template(
    consumable: RtpParameters, capabilities: RtpCapabilities, *, enable_rtx: bool | None = None
) -> RtpParameters:
    """Make up all of a consumer's parameters but its SSRCs and mid, which :func:`consumer_parameters` adds.

    The one encoding has an ``rtx_ssrc`` (of zero, to be replaced) if lost packets are repaired.

    Raises:
        UnsupportedCodecError: The receiver knows none of the producer's codecs.
    """
    if enable_rtx is None:
        enable_rtx = any(codec.kind == "video" for codec in consumable.codecs)
    codecs = _consumer_codecs(consumable, capabilities, enable_rtx=enable_rtx)
    if not codecs or codecs[0].is_rtx:
        raise UnsupportedCodecError(
            "no compatible media codecs", {"codecs": [codec.mime_type for codec in consumable.codecs]}
        )
    # Kind is not compared: Chromium lists what both kinds share under video alone.
    known = {(extension.uri, extension.preferred_id) for extension in capabilities.header_extensions}
    extensions = tuple(item for item in consumable.header_extensions if (item.uri, item.id) in known)
    dropped = _dropped_feedback({extension.uri for extension in extensions})
    codecs = [
        replace(codec, rtcp_feedback=tuple(item for item in codec.rtcp_feedback if item not in dropped))
        for codec in codecs
    ]
    encoding = RtpEncoding(
        rtx_ssrc=0 if any(codec.is_rtx for codec in codecs) else None,
        scalability_mode=_consumer_scalability(consumable.encodings),
        max_bitrate_bps=max((item.max_bitrate_bps or 0 for item in consumable.encodings), default=0) or None,
    )
    return replace(consumable, codecs=tuple(codecs), header_extensions=extensions, encodings=(encoding,))


def consumer_parameters(template: RtpParameters, *, ssrc: int, mid: str | None) -> RtpParameters:
    """Compute a consumer's parameters: its SSRC, the next one for RTX, and its mid."""
    encoding = template.encodings[0]
    rtx_ssrc = None if encoding.rtx_ssrc is None else ssrc + 1
    return replace(template, encodings=(replace(encoding, ssrc=ssrc, rtx_ssrc=rtx_ssrc),), mid=mid)


def _assumed_parameters(supported: RtpCodecCapability) -> CodecParameters:
    """Return what holds where a caller's codec says nothing; no packetization-mode is mode 0 (RFC 6184 §8.1)."""
    return tuple(item for item in supported.parameters if item[0] != "packetization-mode")


def _supported(codec: RtpCodecCapability, where: str) -> RtpCodecCapability:
    supported = next((item for item in SUPPORTED_CODECS if same_codec(codec, item)), None)
    if supported is None:
        raise UnsupportedCodecError(
            f"{where}: {codec.mime_type} at {codec.clock_rate} Hz is not forwarded by this server",
            {"path": where, "mimeType": codec.mime_type},
        )
    level = codec.parameter("profile-level-id")
    if supported.mime_type == "video/H264" and ProfileLevelId.parse(level) is None:
        raise UnsupportedCodecError(
            f"{where}.parameters.profile-level-id: {level} is no known profile and level",
            {"path": f"{where}.parameters.profile-level-id", "mimeType": supported.mime_type},
        )
    return supported


def _check_codecs(
    kind: MediaKind, parameters: RtpParameters, media: dict[int, RtpCodecParameters], path: str
) -> None:
    seen: set[int] = set()
    for index, codec in enumerate(parameters.codecs):
        where = f"{path}.codecs[{index}]"
        if codec.kind != kind:
            raise InvalidRequestError(f"must be {kind}, not {codec.mime_type}", path=f"{where}.mimeType")
        if codec.payload_type in seen:
            raise InvalidRequestError(
                f"payload type {codec.payload_type} is used twice", path=f"{where}.payloadType"
            )
        if codec.payload_type in RTCP_PAYLOAD_TYPES:
            raise InvalidRequestError("64 to 95 are RTCP's", path=f"{where}.payloadType")
        seen.add(codec.payload_type)
        if codec.is_rtx and codec.parameter("apt") not in media:
            raise InvalidRequestError("must name one of the media codecs", path=f"{where}.parameters.apt")


def _check_extensions(parameters: RtpParameters, path: str) -> None:
    seen: set[int] = set()
    for index, extension in enumerate(parameters.header_extensions):
        if extension.id in seen:
            raise InvalidRequestError(
                f"id {extension.id} is used twice", path=f"{path}.headerExtensions[{index}].id"
            )
        seen.add(extension.id)


def _check_encodings(parameters: RtpParameters, media: dict[int, RtpCodecParameters], path: str) -> None:
    encodings = parameters.encodings
    codec = next(iter(media.values()))
    ssrcs: set[int] = set()
    rids: set[str] = set()
    for index, encoding in enumerate(encodings):
        where = f"{path}.encodings[{index}]"
        if encoding.codec_payload_type is not None and encoding.codec_payload_type not in media:
            raise InvalidRequestError("is no media codec of the list", path=f"{where}.codecPayloadType")
        if encoding.ssrc is None and encoding.rid is None:
            if len(encodings) > 1:
                raise InvalidRequestError("needs an ssrc or a rid, as there are several", path=where)
            if parameters.mid is None:
                raise InvalidRequestError("needs an ssrc, a rid or a mid", path=where)
        for ssrc in (encoding.ssrc, encoding.rtx_ssrc):
            if ssrc is not None and ssrc in ssrcs:
                raise InvalidRequestError(f"SSRC {ssrc} is used twice", path=f"{where}.ssrc")
            if ssrc is not None:
                ssrcs.add(ssrc)
        if encoding.rid is not None and encoding.rid in rids:
            raise InvalidRequestError(f"rid {encoding.rid} is used twice", path=f"{where}.rid")
        if encoding.rid is not None:
            rids.add(encoding.rid)
        spatial, temporal = scalability(encoding.scalability_mode)
        if len(encodings) > 1 and spatial > 1:
            raise InvalidRequestError(
                "simulcast has no spatial layers inside", path=f"{where}.scalabilityMode"
            )
        if spatial * temporal > 1 and codec.mime_type.lower() not in LAYERED_CODECS:
            raise InvalidRequestError(f"{codec.mime_type} has no layers", path=f"{where}.scalabilityMode")
        _check_playable(encoding.scalability_mode, spatial, temporal, codec, f"{where}.scalabilityMode")
    if len(encodings) > 1 and codec.mime_type.lower() not in SIMULCAST_CODECS:
        raise InvalidRequestError(f"{codec.mime_type} cannot be simulcast", path=f"{path}.encodings")


def _check_playable(
    mode: str | None, spatial: int, temporal: int, codec: RtpCodecParameters, where: str
) -> None:
    """Refuse layers that no receiver could show, as all layers of a stream go to every receiver.

    Of S modes each layer is a picture of its own under one SSRC. Spatial layers of AV1 cannot be distinguished without the
    dependency descriptor, which is not forwarded. VP8 and H.264 have no spatial layers (W3C webrtc-svc §6).
    """
    if spatial == 1:
        return
    name = codec.mime_type.partition("/")[2]
    if (mode or "").startswith("S"):
        instead = f"L{spatial}T{temporal}_KEY" if name.lower() == "vp9" else f"L1T{temporal}"
    elif name.lower() in ("av1", "vp8", "h264"):
        instead = f"L1T{temporal}"
    else:
        return
    hint = f"use {instead}" if name.lower() in ("vp9", "av1") else f"use {instead}, or simulcast"
    raise InvalidRequestError(f"receivers could not show {mode} of {name}; {hint}", path=where)


def _rtx_target(
    rtx: RtpCodecParameters,
    router_codec: dict[int, RtpCodecCapability],
    capabilities: RtpCapabilities,
    where: str,
) -> RtpCodecCapability:
    apt = rtx.parameter("apt")
    repaired = router_codec.get(apt) if isinstance(apt, int) else None
    if repaired is None:
        raise InvalidRequestError("must name one of the media codecs", path=f"{where}.parameters.apt")
    target = _rtx_of(_payload_type(repaired), capabilities.codecs)
    if target is None:
        raise UnsupportedCodecError(
            f"the router has no RTX for {repaired.mime_type}",
            {"mimeType": canonical_mime_type(rtx.mime_type)},
        )
    return target


def _rtx_of(payload_type: int, codecs: Iterable[RtpCodecCapability]) -> RtpCodecCapability | None:
    return next((item for item in codecs if item.is_rtx and item.parameter("apt") == payload_type), None)


def _payload_type(codec: RtpCodecCapability) -> int:
    if codec.preferred_payload_type is None:
        raise InvalidRequestError(f"{codec.mime_type} of the router has no payload type")
    return codec.preferred_payload_type


def _consumer_codecs(
    consumable: RtpParameters, capabilities: RtpCapabilities, *, enable_rtx: bool
) -> list[RtpCodecParameters]:
    kept: dict[int, RtpCodecCapability] = {}
    codecs: list[RtpCodecParameters] = []
    for codec in consumable.codecs:
        if codec.is_rtx:
            apt = codec.parameter("apt")
            receiver = kept.get(apt) if isinstance(apt, int) else None
            if enable_rtx and receiver is not None and _repairs(receiver, capabilities.codecs):
                codecs.append(codec)
            continue
        receiver = next((item for item in capabilities.codecs if same_codec(item, codec, strict=True)), None)
        if receiver is not None:
            kept[codec.payload_type] = receiver
            feedback = tuple(item for item in receiver.rtcp_feedback if enable_rtx or item != NACK)
            codecs.append(replace(codec, rtcp_feedback=feedback))
    return codecs


def _repairs(media: RtpCodecCapability, codecs: Iterable[RtpCodecCapability]) -> bool:
    if media.preferred_payload_type is None:
        return any(codec.is_rtx for codec in codecs)
    return _rtx_of(media.preferred_payload_type, codecs) is not None


def _dropped_feedback(uris: set[str]) -> tuple[RtcpFeedback, ...]:
    """A sender estimates bandwidth in one way: transport-wide feedback if there is any, else REMB."""
    if TRANSPORT_CC_URI in uris:
        return (REMB,)
    if ABS_SEND_TIME_URI in uris:
        return (TRANSPORT_CC,)
    return (TRANSPORT_CC, REMB)


def _consumer_scalability(encodings: Sequence[RtpEncoding]) -> str | None:
    mode = next((item.scalability_mode for item in encodings if item.scalability_mode), None)
    if len(encodings) > 1:
        return f"L{len(encodings)}T{scalability(mode)[1]}"
    return mode
