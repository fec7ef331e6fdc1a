"""The longer commands of the native core, written from negotiated values.

Only translates; when they are sent is decided by the media objects.
"""

from functools import lru_cache
from typing import Any

from meeshy_sfu.media.ortc import RtpMapping
from meeshy_sfu.media.rtp_parameters import (
    DtlsParameters,
    MediaKind,
    RtpCodecParameters,
    RtpHeaderExtensionParameters,
    RtpParameters,
)

Values = dict[str, Any]


def connect_values(dtls_parameters: DtlsParameters) -> Values:
    """Write the arguments of ``connect_transport``."""
    return {
        "role": dtls_parameters.role,
        "fingerprints": [
            {"algorithm": item.algorithm, "value": item.value} for item in dtls_parameters.fingerprints
        ],
    }


def produce_values(
    kind: MediaKind, rtp_parameters: RtpParameters, mapping: RtpMapping, *, paused: bool
) -> Values:
    """Write the arguments of ``produce``."""
    codecs: list[Values] = []
    for codec in rtp_parameters.codecs:
        if codec.is_rtx:
            continue
        rtx = _rtx_payload_type(codec, rtp_parameters.codecs)
        codecs.append(
            {
                "mime_type": codec.mime_type,
                "payload_type": codec.payload_type,
                "mapped_payload_type": mapping.payload_type(codec.payload_type),
                "clock_rate": codec.clock_rate,
                "rtx_payload_type": rtx,
                "mapped_rtx_payload_type": None if rtx is None else mapping.payload_type(rtx),
                **_feedback(codec),
                "in_band_fec": codec.parameter("useinbandfec") in (1, "1"),
            }
        )
    return {
        "kind": kind,
        "mid": rtp_parameters.mid,
        "codecs": codecs,
        "header_extensions": _extensions(rtp_parameters.header_extensions),
        "encodings": [
            {
                "ssrc": encoding.ssrc,
                "rid": encoding.rid,
                "rtx_ssrc": encoding.rtx_ssrc,
                "mapped_ssrc": encoding.mapped_ssrc,
            }
            for encoding in mapping.encodings
        ],
        "cname": rtp_parameters.rtcp.cname,
        "paused": paused,
    }


def consume_values(handle: int, producer: int, rtp_parameters: RtpParameters, *, paused: bool) -> Values:
    """Write one entry of ``consume``; both handles are the core's."""
    encoding = rtp_parameters.encodings[0]
    return {
        "consumer": handle,
        "producer": producer,
        "ssrc": encoding.ssrc,
        "rtx_ssrc": encoding.rtx_ssrc,
        "codecs": _consumed_codecs(rtp_parameters.codecs),
        "header_extensions": _extensions(rtp_parameters.header_extensions),
        "mid": rtp_parameters.mid or "",
        "cname": rtp_parameters.rtcp.cname,
        "paused": paused,
    }


@lru_cache(maxsize=4096)
def _consumed_codecs(codecs: tuple[RtpCodecParameters, ...]) -> list[Values]:
    """Write a consumer's codecs; all consumers of a producer have the same, so they are written once and shared."""
    return [
        {
            "mime_type": codec.mime_type,
            "payload_type": codec.payload_type,
            "rtx_payload_type": _rtx_payload_type(codec, codecs),
            "clock_rate": codec.clock_rate,
            **_feedback(codec),
        }
        for codec in codecs
        if not codec.is_rtx
    ]


def _feedback(codec: RtpCodecParameters) -> Values:
    return {
        "nack": codec.has_feedback("nack"),
        "pli": codec.has_feedback("nack", "pli"),
        "fir": codec.has_feedback("ccm", "fir"),
        "transport_cc": codec.has_feedback("transport-cc"),
        "remb": codec.has_feedback("goog-remb"),
    }


@lru_cache(maxsize=4096)
def _extensions(extensions: tuple[RtpHeaderExtensionParameters, ...]) -> list[Values]:
    return [{"uri": extension.uri, "id": extension.id} for extension in extensions]


def _rtx_payload_type(codec: RtpCodecParameters, codecs: tuple[RtpCodecParameters, ...]) -> int | None:
    for other in codecs:
        if other.is_rtx and other.parameter("apt") == codec.payload_type:
            return other.payload_type
    return None
