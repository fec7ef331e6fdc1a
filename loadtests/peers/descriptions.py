"""SDP of another server as transport parameters of native bots, and back. Pure.

Native bots have one transport to send and one to receive, are the DTLS client and control ICE on both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from simulator.bots.pool_wire import LocalTransport
from simulator.client.media_server import Json
from simulator.client.sdp import Description, Section, host_candidate, parse, write
from simulator.errors import SdpError


def publish_offer(local: LocalTransport, sections: Sequence[Section]) -> str:
    """Offer what a bot sends, as one media stream (RFC 9725 §4.3 wants no more)."""
    lines = []
    for line in _written(local, sections).split("\r\n"):
        lines.append("a=sendonly" if line == "a=sendrecv" else line)
        if line.startswith("a=mid:"):
            lines.append(f"a=msid:bot {line.removeprefix('a=mid:')}")
    return "\r\n".join(lines)


def receive_offer(local: LocalTransport, sections: Sequence[Section]) -> str:
    """Offer to receive such streams, and to send none."""
    return _receiving(local, sections)


def accepted(answer: Description, offered: Sequence[Section]) -> None:
    """Look whether a server takes all that was offered to it, by the numbers of the offer.

    Raises:
        SdpError: A stream is missing in the answer, or has another payload type.
    """
    for section in offered:
        answered = answer.section(section.kind)
        if answered is None:
            raise SdpError(f"the answer has no {section.kind}")
        ours, theirs = (s.parameters["codecs"][0]["payloadType"] for s in (section, answered))
        if ours != theirs:
            raise SdpError(
                f"{section.kind} was offered as payload type {ours}, but the answer says {theirs}; bots cannot change it"
            )


def streams_of(answer: Description, wanted: Sequence[Section]) -> list[Section]:
    """Return the streams that a server will send.

    Raises:
        SdpError: One that was asked for is not there, or has no SSRC.
    """
    found = []
    for section in wanted:
        answered = answer.section(section.kind)
        if answered is None:
            raise SdpError(f"the answer has no {section.kind}")
        if answered.parameters["encodings"][0].get("ssrc") is None:
            raise SdpError(f"the answer has no a=ssrc for {section.kind}, by which bots tell streams apart")
        found.append(answered)
    return found


def subscribe_answer(local: LocalTransport, offer: Description) -> str:
    """Accept all streams that are offered, and send none."""
    return _receiving(local, offer.sections)


def server_transport(text: str, local: LocalTransport) -> Json:
    """Read the server's side of a transport.

    Raises:
        SdpError: The description cannot be used, or wants to be the DTLS client.
    """
    theirs = parse(text)
    if theirs.setup == "active":
        raise SdpError("a=setup:active: the server must accept DTLS, native bots begin it")
    # A bot's socket is of one family.
    family = _family(local["address"])
    candidates = [c for c in theirs.candidates if _family(c["address"]) == family]
    if not candidates:
        raise SdpError(f"the description has no UDP candidate of IPv{family}; all of them must be in it")
    return {
        "iceParameters": {**theirs.ice, "iceLite": "a=ice-lite" in text.splitlines()},
        "iceCandidates": candidates,
        "dtlsParameters": {"role": "server", "fingerprints": list(theirs.fingerprints)},
    }


def _family(address: str) -> int | None:
    """Return 4 or 6; None for a host name, which bots do not look up."""
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None


def _receiving(local: LocalTransport, streams: Sequence[Section]) -> str:
    sections = [Section(s.kind, {**s.parameters, "encodings": [{"ssrc": 0}]}) for s in streams]
    lines = _written(local, sections).replace("a=sendrecv", "a=recvonly").split("\r\n")
    return "\r\n".join(line for line in lines if not line.startswith("a=ssrc"))


def _written(local: LocalTransport, sections: Sequence[Section]) -> str:
    address, port = local["address"], local["port"]
    description = Description(
        ice=local["ice"],
        fingerprints=local["dtls"]["fingerprints"],
        setup="active",
        sections=tuple(sections),
        candidates=(host_candidate(address, port),),
    )
    return write(description, address=address, session_id=port)
