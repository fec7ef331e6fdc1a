"""The parameter objects that clients and server exchange, as ORTC and mediasoup name them.

Reads them from JSON with every field checked, and writes them back; what they imply is decided in ortc.py.
This is one of the two places where wire names (camelCase) appear.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from meeshy_sfu.errors import InvalidRtpCapabilitiesError
from meeshy_sfu.media.fields import Field

MediaKind = Literal["audio", "video"]
ExtensionDirection = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DtlsRole = Literal["auto", "client", "server"]
HashAlgorithm = Literal["sha-256", "sha-384", "sha-512"]
ParameterValue = str | int | float
CodecParameters = tuple[tuple[str, ParameterValue], ...]
Wire = dict[str, object]

MAX_PAYLOAD_TYPE = 127
MAX_SSRC = 0xFFFF_FFFF
MAX_CLOCK_RATE = 1_000_000
MAX_CHANNELS = 255
MAX_EXTENSION_ID = 255
MAX_ENCODINGS = 8
MAX_CODECS = 64
MAX_MID = 32
MAX_BITRATE_BPS = 0xFFFF_FFFF
REMEMBERED_CAPABILITIES = 256
REMEMBERED_CHARACTERS = 16_384
"""Capabilities that take more than this to write are read anew each time."""
DIGEST_BYTES: dict[HashAlgorithm, int] = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

NUMERIC_PARAMETERS = frozenset(("profile-id", "packetization-mode", "level-asymmetry-allowed"))
"""Format parameters that are numbers, whether they are written as such or as text, as SDP has them."""

_DIGITS = re.compile(r"[0-9]{1,9}")
_MIME_TYPE = re.compile(r"(audio|video)/([A-Za-z0-9][A-Za-z0-9.+_-]{0,63})", re.IGNORECASE)
_RID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_CANONICAL = {
    name.lower(): name
    for name in (
        "audio/opus",
        "audio/PCMU",
        "audio/PCMA",
        "audio/G722",
        "video/VP8",
        "video/VP9",
        "video/H264",
        "video/AV1",
        "video/rtx",
    )
}


@dataclass(frozen=True, slots=True)
class RtcpFeedback:
    """One kind of RTCP message that a receiver of a codec may send back."""

    type: str
    parameter: str = ""

    @classmethod
    def read(cls, source: Field) -> "RtcpFeedback":
        """Read it from JSON."""
        return cls(source["type"].text(limit=32), source["parameter"].text_or_none(limit=32) or "")

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {"type": self.type, "parameter": self.parameter}


class _Codec:
    """The fields that a codec of the capabilities shares with one in use."""

    __slots__ = ()

    mime_type: str
    clock_rate: int
    channels: int | None
    parameters: CodecParameters
    rtcp_feedback: tuple[RtcpFeedback, ...]

    @property
    def kind(self) -> MediaKind:
        """The kind, taken from the MIME type; a contradicting one on the wire is ignored."""
        return _kind_of(self.mime_type)

    @property
    def is_rtx(self) -> bool:
        """Return whether this repairs another codec rather than carrying media."""
        return self.mime_type.lower().endswith("/rtx")

    def parameter(self, name: str) -> ParameterValue | None:
        """Return one format parameter, or None."""
        return _parameter(self.parameters, name)

    def _to_wire(self, **own: object) -> Wire:
        wire: Wire = {
            **own,
            "mimeType": self.mime_type,
            "clockRate": self.clock_rate,
            "channels": self.channels,
            "parameters": dict(self.parameters),
            "rtcpFeedback": [item.to_wire() for item in self.rtcp_feedback],
        }
        return _without_none(wire)


@dataclass(frozen=True, slots=True)
class RtpCodecCapability(_Codec):
    """A codec of the capabilities."""

    mime_type: str
    """In the canonical spelling where the codec is known, such as ``video/VP8``."""
    clock_rate: int
    preferred_payload_type: int | None = None
    channels: int | None = None
    """Of audio only; one unless stated."""
    parameters: CodecParameters = ()
    rtcp_feedback: tuple[RtcpFeedback, ...] = ()

    @classmethod
    def read(cls, source: Field) -> "RtpCodecCapability":
        """Read it from JSON; the feedback list is optional, the payload type too."""
        mime_type, clock_rate, channels, parameters, feedback = _read_codec(source)
        payload_type = source["preferredPayloadType"].integer_or_none(0, MAX_PAYLOAD_TYPE)
        return cls(mime_type, clock_rate, payload_type, channels, parameters, feedback)

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return self._to_wire(kind=self.kind, preferredPayloadType=self.preferred_payload_type)


@dataclass(frozen=True, slots=True)
class RtpHeaderExtension:
    """A header extension of the capabilities, for one kind."""

    kind: MediaKind
    uri: str
    preferred_id: int
    preferred_encrypt: bool = False
    direction: ExtensionDirection = "sendrecv"
    """As its owner sees it: the router's ``recvonly`` are those that only clients send."""

    @classmethod
    def read(cls, source: Field) -> "RtpHeaderExtension":
        """Read it from JSON."""
        direction = source["direction"]
        return cls(
            source["kind"].choice("audio", "video"),
            source["uri"].text(),
            source["preferredId"].integer(1, MAX_EXTENSION_ID),
            source["preferredEncrypt"].boolean(default=False),
            "sendrecv"
            if direction.absent
            else direction.choice("sendrecv", "sendonly", "recvonly", "inactive"),
        )

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {
            "kind": self.kind,
            "uri": self.uri,
            "preferredId": self.preferred_id,
            "preferredEncrypt": self.preferred_encrypt,
            "direction": self.direction,
        }


@dataclass(frozen=True, slots=True)
class RtpCapabilities:
    """What an endpoint can receive, or a router can forward. Hashing is cheap: it is done once."""

    codecs: tuple[RtpCodecCapability, ...]
    header_extensions: tuple[RtpHeaderExtension, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.codecs, self.header_extensions)))

    def __hash__(self) -> int:
        return self._hash

    @classmethod
    def from_wire(cls, value: object, path: str = "rtpCapabilities") -> "RtpCapabilities":
        """Read it from JSON.

        Raises:
            InvalidRtpCapabilitiesError: A field is missing or wrong; the path names it.
        """
        # Not as JSON, which writes an infinite number as null: what is refused could pass for something else.
        text = repr(value)
        known = _known_capabilities.get(text)
        if known is not None:
            return known
        source = Field(value, path, InvalidRtpCapabilitiesError)
        capabilities = cls(
            tuple(map(RtpCodecCapability.read, source["codecs"].items(limit=MAX_CODECS))),
            tuple(map(RtpHeaderExtension.read, source["headerExtensions"].items())),
        )
        if len(text) <= REMEMBERED_CHARACTERS:
            if len(_known_capabilities) >= REMEMBERED_CAPABILITIES:
                del _known_capabilities[next(iter(_known_capabilities))]
            _known_capabilities[text] = capabilities
        return capabilities

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {
            "codecs": [codec.to_wire() for codec in self.codecs],
            "headerExtensions": [extension.to_wire() for extension in self.header_extensions],
        }


_known_capabilities: dict[str, RtpCapabilities] = {}
"""By how they were written: programs of one kind all send the same, with every request to receive."""


@dataclass(frozen=True, slots=True)
class RtpCodecParameters(_Codec):
    """A codec in use, with its payload type."""

    mime_type: str
    payload_type: int
    clock_rate: int
    channels: int | None = None
    parameters: CodecParameters = ()
    rtcp_feedback: tuple[RtcpFeedback, ...] = ()

    def has_feedback(self, feedback_type: str, parameter: str = "") -> bool:
        """Return whether this kind of feedback was agreed on."""
        return RtcpFeedback(feedback_type, parameter) in self.rtcp_feedback

    @classmethod
    def read(cls, source: Field) -> "RtpCodecParameters":
        """Read it from JSON."""
        mime_type, clock_rate, channels, parameters, feedback = _read_codec(source)
        payload_type = source["payloadType"].integer(0, MAX_PAYLOAD_TYPE)
        return cls(mime_type, payload_type, clock_rate, channels, parameters, feedback)

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return self._to_wire(payloadType=self.payload_type)


@dataclass(frozen=True, slots=True)
class RtpHeaderExtensionParameters:
    """A header extension in use, with its number."""

    uri: str
    id: int
    encrypt: bool = False

    @classmethod
    def read(cls, source: Field) -> "RtpHeaderExtensionParameters":
        """Read it from JSON; its own parameters are checked and dropped, no known extension has any."""
        _read_parameters(source["parameters"])
        return cls(
            source["uri"].text(),
            source["id"].integer(1, MAX_EXTENSION_ID),
            source["encrypt"].boolean(default=False),
        )

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {"uri": self.uri, "id": self.id, "encrypt": self.encrypt, "parameters": {}}


@dataclass(frozen=True, slots=True)
class RtpEncoding:
    """One stream of a producer or consumer. Zero and empty values count as absent, as for mediasoup."""

    ssrc: int | None = None
    rid: str | None = None
    rtx_ssrc: int | None = None
    codec_payload_type: int | None = None
    dtx: bool = False
    scalability_mode: str | None = None
    max_bitrate_bps: int | None = None

    @classmethod
    def read(cls, source: Field) -> "RtpEncoding":
        """Read it from JSON."""
        rid = source["rid"].text_or_none(limit=MAX_MID)
        if rid is not None and not _RID.fullmatch(rid):
            raise source["rid"].fail("must consist of letters, digits, - and _")
        rtx = source["rtx"]
        return cls(
            ssrc=source["ssrc"].integer_or_none(0, MAX_SSRC) or None,
            rid=rid,
            rtx_ssrc=None if rtx.absent else rtx["ssrc"].integer(1, MAX_SSRC),
            codec_payload_type=source["codecPayloadType"].integer_or_none(0, MAX_PAYLOAD_TYPE),
            dtx=source["dtx"].boolean(default=False),
            scalability_mode=source["scalabilityMode"].text_or_none(limit=32),
            max_bitrate_bps=source["maxBitrate"].integer_or_none(0, MAX_BITRATE_BPS) or None,
        )

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        wire: Wire = {
            "ssrc": self.ssrc,
            "rid": self.rid,
            "rtx": None if self.rtx_ssrc is None else {"ssrc": self.rtx_ssrc},
            "codecPayloadType": self.codec_payload_type,
            "dtx": self.dtx or None,
            "scalabilityMode": self.scalability_mode,
            "maxBitrate": self.max_bitrate_bps,
        }
        return _without_none(wire)


@dataclass(frozen=True, slots=True)
class RtcpParameters:
    """How RTCP of a producer or consumer is sent; always multiplexed and of reduced size."""

    cname: str = ""

    @classmethod
    def read(cls, source: Field) -> "RtcpParameters":
        """Read it from JSON."""
        if source.absent:
            return cls()
        source["reducedSize"].boolean(default=True)
        return cls(source["cname"].text_or_none() or "")

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {"cname": self.cname, "reducedSize": True}


@dataclass(frozen=True, slots=True)
class RtpParameters:
    """All that is needed to send or receive one track."""

    codecs: tuple[RtpCodecParameters, ...]
    header_extensions: tuple[RtpHeaderExtensionParameters, ...] = ()
    encodings: tuple[RtpEncoding, ...] = ()
    rtcp: RtcpParameters = RtcpParameters()
    mid: str | None = None
    msid: str | None = None

    @classmethod
    def from_wire(cls, value: object, path: str = "rtpParameters") -> "RtpParameters":
        """Read it from JSON.

        Raises:
            InvalidRequestError: A field is missing or wrong; the path names it.
        """
        source = Field(value, path)
        return cls(
            codecs=tuple(
                map(RtpCodecParameters.read, source["codecs"].items(required=True, limit=MAX_CODECS))
            ),
            header_extensions=tuple(
                map(RtpHeaderExtensionParameters.read, source["headerExtensions"].items())
            ),
            encodings=tuple(map(RtpEncoding.read, source["encodings"].items(limit=MAX_ENCODINGS))),
            rtcp=RtcpParameters.read(source["rtcp"]),
            mid=source["mid"].text_or_none(limit=MAX_MID),
            msid=source["msid"].text_or_none(),
        )

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        wire: Wire = {
            "mid": self.mid,
            "codecs": _all_to_wire(self.codecs),
            "headerExtensions": _all_to_wire(self.header_extensions),
            "encodings": [encoding.to_wire() for encoding in self.encodings],
            "rtcp": self.rtcp.to_wire(),
            "msid": self.msid,
        }
        return _without_none(wire)


@dataclass(frozen=True, slots=True)
class DtlsFingerprint:
    """The digest of a certificate."""

    algorithm: HashAlgorithm
    value: str
    """Pairs of upper-case hex digits with colons between them."""

    @classmethod
    def read(cls, source: Field) -> "DtlsFingerprint":
        """Read it from JSON."""
        algorithm = Field(
            source["algorithm"].text(limit=32).lower(), source["algorithm"].path, source.error
        ).choice(*DIGEST_BYTES)
        value = source["value"].text().upper()
        count = DIGEST_BYTES[algorithm]
        if not re.fullmatch(rf"[0-9A-F]{{2}}(:[0-9A-F]{{2}}){{{count - 1}}}", value):
            raise source["value"].fail(f"must be {count} pairs of hex digits with colons between them")
        return cls(algorithm, value)

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {"algorithm": self.algorithm, "value": self.value}


@dataclass(frozen=True, slots=True)
class DtlsParameters:
    """The DTLS role that its owner wants, and the certificates it may show."""

    role: DtlsRole
    fingerprints: tuple[DtlsFingerprint, ...]

    @classmethod
    def from_wire(cls, value: object, path: str = "dtlsParameters") -> "DtlsParameters":
        """Read it from JSON; no role counts as ``auto``.

        Fingerprints of other hash functions than ours are passed over if one of ours is there: RFC 8122 §5 lets a
        client list several, and one that matches is enough.

        Raises:
            InvalidRequestError: A field is missing or wrong, or there is no fingerprint that can be checked.
        """
        source = Field(value, path)
        role = source["role"]
        fingerprints = source["fingerprints"]
        items = fingerprints.items(required=True, limit=8)
        if not items:
            raise fingerprints.fail("must not be empty")
        known = [item for item in items if item["algorithm"].text(limit=32).lower() in DIGEST_BYTES]
        return cls(
            "auto" if role.absent else role.choice("auto", "client", "server"),
            tuple(map(DtlsFingerprint.read, known or items)),
        )

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {"role": self.role, "fingerprints": [item.to_wire() for item in self.fingerprints]}


@dataclass(frozen=True, slots=True)
class IceParameters:
    """Credentials of our ICE-lite agent."""

    username_fragment: str
    password: str = field(repr=False)

    def to_wire(self) -> Wire:
        """Write it as JSON."""
        return {"usernameFragment": self.username_fragment, "password": self.password, "iceLite": True}


@dataclass(frozen=True, slots=True)
class IceCandidate:
    """An address clients may reach the server at."""

    foundation: str
    priority: int
    address: str
    port: int
    protocol: Literal["udp", "tcp"]

    def to_wire(self) -> Wire:
        """Write it as JSON: older clients read ``ip``, newer ones ``address``."""
        wire: Wire = {
            "foundation": self.foundation,
            "priority": self.priority,
            "ip": self.address,
            "address": self.address,
            "protocol": self.protocol,
            "port": self.port,
            "type": "host",
            "tcpType": "passive" if self.protocol == "tcp" else None,
        }
        return _without_none(wire)


def read_media_codecs(value: object, path: str = "mediaCodecs") -> tuple[RtpCodecCapability, ...] | None:
    """Read the codecs a room is to forward; None when the caller leaves the choice to the server.

    Raises:
        InvalidRequestError: A field is missing or wrong, or the list is empty.
    """
    source = Field(value, path)
    if source.absent:
        return None
    items = source.items(limit=MAX_CODECS)
    if not items:
        raise source.fail("must name at least one codec")
    return tuple(map(RtpCodecCapability.read, items))


def canonical_mime_type(mime_type: str) -> str:
    """Return the spelling under which a known MIME type is published."""
    return _CANONICAL.get(mime_type.lower(), mime_type)


def merged(base: CodecParameters, over: Iterable[tuple[str, ParameterValue]]) -> CodecParameters:
    """Put some format parameters over others."""
    return tuple((dict(base) | dict(over)).items())


def _read_codec(
    source: Field,
) -> tuple[str, int, int | None, CodecParameters, tuple[RtcpFeedback, ...]]:
    mime_type = source["mimeType"].text(limit=80)
    if not _MIME_TYPE.fullmatch(mime_type):
        raise source["mimeType"].fail("must be audio/… or video/…")
    mime_type = canonical_mime_type(mime_type)
    channels = source["channels"].integer_or_none(0, MAX_CHANNELS)
    return (
        mime_type,
        source["clockRate"].integer(1, MAX_CLOCK_RATE),
        (channels or 1) if _kind_of(mime_type) == "audio" else None,
        _read_parameters(source["parameters"]),
        tuple(map(RtcpFeedback.read, source["rtcpFeedback"].items(limit=32))),
    )


def _read_parameters(source: Field) -> CodecParameters:
    pairs: list[tuple[str, ParameterValue]] = []
    for name, member in source.members(limit=32).items():
        if member.absent:
            continue
        if name == "apt":
            pairs.append((name, member.integer(0, MAX_PAYLOAD_TYPE)))
        elif isinstance(member.value, str):
            text = member.text()
            is_number = name in NUMERIC_PARAMETERS and _DIGITS.fullmatch(text) is not None
            pairs.append((name, int(text) if is_number else text))
        elif isinstance(member.value, float) and not member.value.is_integer():
            if member.value != member.value or abs(member.value) == float("inf"):
                raise member.fail("must be a finite number")
            pairs.append((name, member.value))
        elif isinstance(member.value, (int, float)) and not isinstance(member.value, bool):
            pairs.append((name, member.integer(-(2**53), 2**53)))
        else:
            raise member.fail("must be a string or a number")
    return tuple(pairs)


def _kind_of(mime_type: str) -> MediaKind:
    return "audio" if mime_type[:6].lower() == "audio/" else "video"


def _parameter(parameters: CodecParameters, name: str) -> ParameterValue | None:
    for key, value in parameters:
        if key == name:
            return value
    return None


def _without_none(wire: Mapping[str, object]) -> Wire:
    return {name: value for name, value in wire.items() if value is not None}


@lru_cache(maxsize=4096)
def _all_to_wire(
    parts: tuple[RtpCodecParameters, ...] | tuple[RtpHeaderExtensionParameters, ...],
) -> list[Wire]:
    """Write codecs or extensions; every consumer of a producer has the same, so they are written once.

    What comes out is shared: callers read it and write nothing into it.
    """
    return [part.to_wire() for part in parts]
