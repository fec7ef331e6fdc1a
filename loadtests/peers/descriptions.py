"""SDP of another server as transport parameters of native bots, and back. Pure.

Native bots have one transport to send and one to receive, are the DTLS client and control ICE on both.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.bots.pool_wire import LocalTransport
from simulator.client.media_server import Json
from simulator.client.sdp import Description, Section, host_candidate, parse, write
from simulator.errors import SdpError


def publish_offer(local: LocalTransport, sections: Sequence[Section]) -> str:
    """Offer what a bot sends."""
    return _written(local, sections).replace("a=sendrecv", "a=sendonly")


def subscribe_answer(local: LocalTransport, offer: Description) -> str:
    """Accept all streams that are offered, and send none."""
    sections = [Section(s.kind, {**s.parameters, "encodings": [{"ssrc": 0}]}) for s in offer.sections]
    lines = _written(local, sections).replace("a=sendrecv", "a=recvonly").split("\r\n")
    return "\r\n".join(line for line in lines if not line.startswith("a=ssrc"))


def server_transport(text: str) -> Json:
    """Read the server's side of a transport.

    Raises:
        SdpError: The description cannot be used, or wants to be the DTLS client.
    """
    theirs = parse(text)
    if theirs.setup == "active":
        raise SdpError("a=setup:active: the server must accept DTLS, native bots begin it")
    if not theirs.candidates:
        raise SdpError("the description has no UDP candidate")
    return {
        "iceParameters": {**theirs.ice, "iceLite": "a=ice-lite" in text.splitlines()},
        "iceCandidates": list(theirs.candidates),
        "dtlsParameters": {"role": "server", "fingerprints": list(theirs.fingerprints)},
    }


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
