"""Session descriptions of peer-to-peer calls: enough SDP to be the other side of a browser or of aiortc.

Writes and reads one bundled audio and video session as ICE, DTLS and RTP parameters, the form bots work with. Pure
text; who offers when is decided in client/caller.py. What a strict peer would not send is refused with the line's meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from simulator.client.media_server import Json
from simulator.errors import SdpError
from simulator.samples.schema import KINDS, Kind

Setup = Literal["actpass", "active", "passive"]
_SETUPS: Mapping[str, Setup] = {"actpass": "actpass", "active": "active", "passive": "passive"}
_NUMBER = re.compile("[0-9]{1,10}")
_PROTOCOL = "UDP/TLS/RTP/SAVPF"
_WANTED = {"audio": "audio/opus", "video": "video/vp8"}
HOST_PRIORITY = 2_130_706_431
"""Of the one host candidate (RFC 8445 §5.1.2.1)."""


@dataclass(frozen=True, slots=True)
class Section:
    """One stream in each direction."""

    kind: Kind
    parameters: Json
    """The writer's `rtpParameters`: what it sends, and by these numbers receives."""


@dataclass(frozen=True, slots=True)
class Description:
    """An offer or an answer."""

    ice: Json
    """`usernameFragment` and `password`."""
    fingerprints: Sequence[Json]
    setup: Setup
    """Who begins DTLS: an offer leaves it open, an answer decides."""
    sections: tuple[Section, ...]
    candidates: tuple[Json, ...] = ()

    def section(self, kind: Kind) -> Section | None:
        """Return the stream of a kind."""
        return next((section for section in self.sections if section.kind == kind), None)

    @property
    def role(self) -> str:
        """The DTLS role of who wrote it, as the wire of a media server calls it."""
        return {"actpass": "auto", "active": "client", "passive": "server"}[self.setup]


@dataclass(slots=True)
class _Raw:
    """The lines of one media section."""

    kind: str
    payload_types: list[int]
    values: dict[str, list[str]] = field(default_factory=dict)

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def first(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


def write(description: Description, *, address: str, session_id: int) -> str:
    """Write a description as SDP.

    Args:
        description: What to write; its sections in the order of the offer.
        address: Host of the candidates, for the `c=` and `o=` lines.
        session_id: Number of the session, the same in all of its descriptions.
    """
    family = "IP6" if ":" in address else "IP4"
    mids = " ".join(str(section.parameters["mid"]) for section in description.sections)
    lines = [
        "v=0",
        f"o=- {session_id} 2 IN {family} {address}",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {mids}",
        "a=msid-semantic:WMS *",
    ]
    for section in description.sections:
        lines += _section_lines(description, section, f"IN {family} {address}")
    return "\r\n".join(lines) + "\r\n"


def parse(text: str) -> Description:
    """Read an offer or an answer.

    Raises:
        SdpError: It is none that bots can be the other side of.
    """
    common, sections = _split(text)
    if not sections:
        raise SdpError("the description has no media")
    bundled = (common.first("group") or "").split()
    mids = [section.first("mid") for section in sections]
    if bundled[:1] != ["BUNDLE"] or any(mid not in bundled[1:] for mid in mids):
        raise SdpError("all media must be in one BUNDLE group")
    # With BUNDLE, all sections use the transport of the first (RFC 9143 §7.2).
    first = sections[0]

    def needed(name: str) -> str:
        value = first.first(name) or common.first(name)
        if not value:
            raise SdpError(f"a={name} is missing")
        return value

    setup = needed("setup")
    if setup not in _SETUPS:
        raise SdpError(f"a=setup:{setup} is not possible here")
    needed("fingerprint")
    found = first.all("fingerprint") or common.all("fingerprint")
    return Description(
        ice={"usernameFragment": needed("ice-ufrag"), "password": needed("ice-pwd")},
        fingerprints=[_fingerprint(value) for value in found],
        setup=_SETUPS[setup],
        sections=tuple(_read_section(section) for section in sections),
        candidates=tuple(c for value in first.all("candidate") if (c := parse_candidate(value))),
    )


def parse_candidate(value: str) -> Json | None:
    """Read a candidate line, with or without its `a=candidate:`; None for one bots cannot use (TCP, a host name).

    Raises:
        SdpError: It is no candidate.
    """
    parts = value.removeprefix("a=").removeprefix("candidate:").split()
    if len(parts) < 8 or parts[6] != "typ" or not _is_number(parts[3]) or not _is_number(parts[5]):
        raise SdpError(f"{value!r} is no candidate")
    foundation, component, protocol, priority, address, port = parts[:6]
    if component != "1" or protocol.lower() != "udp" or address.endswith(".local"):
        return None
    return {
        "foundation": foundation,
        "priority": int(priority),
        "address": address,
        "port": int(port),
        "protocol": "udp",
        "type": parts[7],
    }


def host_candidate(address: str, port: int) -> Json:
    """Return the candidate of a socket of this machine."""
    return {
        "foundation": "1",
        "priority": HOST_PRIORITY,
        "address": address,
        "port": port,
        "protocol": "udp",
        "type": "host",
    }


def answerable(offered: Section, ours: Json) -> Json:
    """Return the `rtpParameters` to answer with: our stream, by the numbers of the offer, with what both know."""
    known = {extension["uri"] for extension in ours["headerExtensions"]}
    rtx = any(_mime(codec) == "video/rtx" for codec in ours["codecs"])
    theirs = offered.parameters
    encoding = dict(ours["encodings"][0])
    codecs = [codec for codec in theirs["codecs"] if rtx or _mime(codec) != "video/rtx"]
    if all(_mime(codec) != "video/rtx" for codec in codecs):
        encoding.pop("rtx", None)
    return {
        **ours,
        "mid": theirs["mid"],
        "codecs": codecs,
        "headerExtensions": [e for e in theirs["headerExtensions"] if e["uri"] in known],
        "encodings": [encoding],
    }


def _section_lines(description: Description, section: Section, connection: str) -> Iterable[str]:
    parameters, candidates = section.parameters, description.candidates
    codecs = parameters["codecs"]
    port = candidates[0]["port"] if candidates else 9
    types = " ".join(str(codec["payloadType"]) for codec in codecs)
    yield f"m={section.kind} {port} {_PROTOCOL} {types}"
    yield f"c={connection}"
    yield "a=sendrecv"
    yield f"a=mid:{parameters['mid']}"
    yield "a=rtcp-mux"
    yield "a=rtcp-rsize"
    for extension in parameters["headerExtensions"]:
        yield f"a=extmap:{extension['id']} {extension['uri']}"
    for codec in codecs:
        number, channels = codec["payloadType"], codec.get("channels")
        name = str(codec["mimeType"]).partition("/")[2]
        yield f"a=rtpmap:{number} {name}/{codec['clockRate']}" + (f"/{channels}" if channels else "")
        for feedback in codec.get("rtcpFeedback") or []:
            words = f"{feedback['type']} {feedback.get('parameter') or ''}".strip()
            yield f"a=rtcp-fb:{number} {words}"
        if settings := codec.get("parameters"):
            yield f"a=fmtp:{number} " + ";".join(f"{key}={value}" for key, value in settings.items())
    encoding, cname = parameters["encodings"][0], (parameters.get("rtcp") or {}).get("cname") or "-"
    ssrcs = [encoding["ssrc"]]
    if encoding.get("rtx"):
        ssrcs.append(encoding["rtx"]["ssrc"])
        yield f"a=ssrc-group:FID {ssrcs[0]} {ssrcs[1]}"
    yield from (f"a=ssrc:{ssrc} cname:{cname}" for ssrc in ssrcs)
    yield f"a=ice-ufrag:{description.ice['usernameFragment']}"
    yield f"a=ice-pwd:{description.ice['password']}"
    yield from (f"a=fingerprint:{f['algorithm']} {f['value']}" for f in description.fingerprints)
    yield f"a=setup:{description.setup}"
    for c in candidates:
        where = f"{c['address']} {c['port']} typ {c.get('type', 'host')}"
        yield f"a=candidate:{c['foundation']} 1 udp {c['priority']} {where}"
    if candidates:
        yield "a=end-of-candidates"


def _split(text: str) -> tuple[_Raw, list[_Raw]]:
    common = current = _Raw("", [])
    sections: list[_Raw] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        kind, equals, value = line[:1], line[1:2], line[2:].strip()
        if equals != "=":
            raise SdpError(f"{line!r} is no line of SDP")
        if kind == "m":
            words = value.split()
            if len(words) < 4 or words[2] != _PROTOCOL or not all(map(_is_number, words[3:])):
                raise SdpError(f"m={value} is not possible here")
            current = _Raw(words[0], [int(word) for word in words[3:]])
            sections.append(current)
        elif kind == "a":
            name, _, rest = value.partition(":")
            current.values.setdefault(name, []).append(rest)
    return common, sections


def _read_section(raw: _Raw) -> Section:
    if raw.kind not in KINDS:
        raise SdpError(f"m={raw.kind} is not possible here")
    kind: Kind = "audio" if raw.kind == "audio" else "video"
    if "rtcp-mux" not in raw.values:
        raise SdpError(f"m={kind}: a=rtcp-mux is missing")
    settings = {number: _settings(value) for number, value in _numbered(raw.all("fmtp"))}
    feedback: dict[int, list[Json]] = {}
    for number, value in _numbered(raw.all("rtcp-fb")):
        name, _, parameter = value.partition(" ")
        feedback.setdefault(number, []).append({"type": name, "parameter": parameter})
    codecs = [
        _codec(kind, number, value, settings.get(number, {}), feedback.get(number, []))
        for number, value in _numbered(raw.all("rtpmap"))
        if number in raw.payload_types
    ]
    media = next((codec for codec in codecs if _mime(codec) == _WANTED[kind]), None)
    if media is None:
        raise SdpError(f"m={kind}: {_WANTED[kind]} is not offered")
    rtx = next(
        (
            codec
            for codec in codecs
            if _mime(codec) == "video/rtx" and codec["parameters"].get("apt") == media["payloadType"]
        ),
        None,
    )
    ssrcs, cname = _ssrcs(raw)
    encoding: Json = {"ssrc": ssrcs[0]} if ssrcs else {}
    if rtx is not None and len(ssrcs) > 1:
        encoding["rtx"] = {"ssrc": ssrcs[1]}
    parameters: Json = {
        "mid": raw.first("mid"),
        "codecs": [media] if rtx is None else [media, rtx],
        "headerExtensions": [
            {"id": int(number.partition("/")[0]), "uri": uri}
            for number, _, uri in (value.partition(" ") for value in raw.all("extmap"))
            if _is_number(number.partition("/")[0])
        ],
        "encodings": [encoding],
        "rtcp": {"cname": cname, "reducedSize": "rtcp-rsize" in raw.values},
    }
    return Section(kind, parameters)


def _codec(kind: Kind, number: int, value: str, settings: Json, feedback: list[Json]) -> Json:
    name, _, rest = value.partition("/")
    rate, _, channels = rest.partition("/")
    if not _is_number(rate):
        raise SdpError(f"a=rtpmap:{number} {value} has no clock rate")
    codec: Json = {
        "mimeType": f"{kind}/{name}",
        "payloadType": number,
        "clockRate": int(rate),
        "parameters": settings,
        "rtcpFeedback": feedback,
    }
    if _is_number(channels) and kind == "audio":
        codec["channels"] = int(channels)
    return codec


def _ssrcs(raw: _Raw) -> tuple[list[int], str]:
    """Return the SSRCs, media first, and their canonical name."""
    named = [value.split(" ", 1) for value in raw.all("ssrc")]
    order = list(dict.fromkeys(int(words[0]) for words in named if _is_number(words[0])))
    cname = next((w[1].removeprefix("cname:") for w in named if w[1:] and w[1].startswith("cname:")), "")
    group = next((value.split()[1:] for value in raw.all("ssrc-group") if value.startswith("FID ")), None)
    if group and all(map(_is_number, group)):
        return [int(number) for number in group], cname
    return order[:1], cname


def _fingerprint(value: str) -> Json:
    algorithm, _, digits = value.partition(" ")
    if not digits:
        raise SdpError(f"a=fingerprint:{value} is incomplete")
    return {"algorithm": algorithm.lower(), "value": digits.strip().upper()}


def _numbered(values: Iterable[str]) -> Iterable[tuple[int, str]]:
    for value in values:
        number, _, rest = value.partition(" ")
        if _is_number(number):
            yield int(number), rest


def _settings(value: str) -> Json:
    pairs = (part.strip().partition("=") for part in value.split(";") if part.strip())
    return {key: int(text) if _is_number(text) else text for key, _, text in pairs}


def _is_number(text: str) -> bool:
    """Return whether this is a number of SDP: no digits of other scripts, and no more than any field has."""
    return _NUMBER.fullmatch(text) is not None


def _mime(codec: Json) -> str:
    return str(codec["mimeType"]).lower()
