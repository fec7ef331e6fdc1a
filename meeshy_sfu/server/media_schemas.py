"""Shapes of the negotiation objects, for the documents and for the checks of what is sent.

Describes them only: what clients send is read, and refused, by media/rtp_parameters.py.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PayloadType = Annotated[int, Field(ge=0, le=127)]
Ssrc = Annotated[int, Field(ge=0, le=0xFFFF_FFFF)]
Kind = Literal["audio", "video"]


class Described(BaseModel):
    """Base: camelCase, other members are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="ignore", use_attribute_docstrings=True
    )


class RtcpFeedback(Described):
    """A kind of RTCP message that may come back."""

    type: str
    parameter: str = ""


class RtpCodecCapability(Described):
    """A codec that can be received."""

    kind: Kind | None = None
    mime_type: str
    preferred_payload_type: PayloadType | None = None
    clock_rate: int
    channels: int | None = None
    parameters: dict[str, str | int | float] = Field(default_factory=dict)
    rtcp_feedback: list[RtcpFeedback] = Field(default_factory=list)


class RtpHeaderExtension(Described):
    """A header extension that can be received."""

    kind: Kind
    uri: str
    preferred_id: int
    preferred_encrypt: bool = False
    direction: Literal["sendrecv", "sendonly", "recvonly", "inactive"] = "sendrecv"


class RtpCapabilities(Described):
    """What a router forwards or a client receives."""

    codecs: list[RtpCodecCapability] = Field(default_factory=list)
    header_extensions: list[RtpHeaderExtension] = Field(default_factory=list)


class RtpCodecParameters(Described):
    """A codec in use."""

    mime_type: str
    payload_type: PayloadType
    clock_rate: int
    channels: int | None = None
    parameters: dict[str, str | int | float] = Field(default_factory=dict)
    rtcp_feedback: list[RtcpFeedback] = Field(default_factory=list)


class RtpHeaderExtensionParameters(Described):
    """A header extension in use."""

    uri: str
    id: int
    encrypt: bool = False
    parameters: dict[str, Any] = Field(default_factory=dict)


class RtxEncoding(Described):
    """The stream of retransmissions."""

    ssrc: Ssrc


class RtpEncoding(Described):
    """One stream of a track."""

    ssrc: Ssrc | None = None
    rid: str | None = None
    rtx: RtxEncoding | None = None
    dtx: bool = False
    scalability_mode: str | None = None
    max_bitrate: int | None = None


class RtcpParameters(Described):
    """RTCP of a track."""

    cname: str = ""
    reduced_size: bool = True


class RtpParameters(Described):
    """All that is needed to send or receive one track."""

    mid: str | None = None
    codecs: list[RtpCodecParameters]
    header_extensions: list[RtpHeaderExtensionParameters] = Field(default_factory=list)
    encodings: list[RtpEncoding] = Field(default_factory=list)
    rtcp: RtcpParameters = RtcpParameters()
    msid: str | None = None


class DtlsFingerprint(Described):
    """The digest of a certificate."""

    algorithm: str
    """sha-256, sha-384 or sha-512, in letters of any case; of several, one of these is enough."""
    value: str
    """Pairs of hex digits with colons."""


class DtlsParameters(Described):
    """DTLS role and certificates."""

    role: Literal["auto", "client", "server"] = "auto"
    fingerprints: Annotated[list[DtlsFingerprint], Field(min_length=1)]


class IceParameters(Described):
    """Credentials of the server's ICE-lite agent."""

    username_fragment: str
    password: str
    ice_lite: Literal[True]


class IceCandidate(Described):
    """An address of the server."""

    foundation: str
    priority: int
    ip: str
    address: str
    protocol: Literal["udp", "tcp"]
    port: int
    type: Literal["host"]
    tcp_type: Literal["passive"] | None = None
