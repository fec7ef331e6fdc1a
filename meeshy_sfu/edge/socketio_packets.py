"""Packets of Socket.IO as this server reads and writes them: JSON alone, bounded in depth, never binary.

Pure. When a packet is read or sent is in socketio_server.py.
"""

import re
from typing import Any

import socketio
from engineio import packet as engine_packet
from socketio.packet import ACK, CONNECT, EVENT

from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS
from meeshy_sfu.edge.json_body import json_bytes, strict_json
from meeshy_sfu.edge.limits import check_json_depth
from meeshy_sfu.errors import InvalidRequestError, MeeshyError

TOKEN_PACKET_BYTES = MAX_TOKEN_CHARS + 1024
"""Size of a packet that presents the longest token; whatever else is larger than max_event_bytes is refused."""
TEXT_PACKETS = frozenset(str(kind) for kind in (CONNECT, socketio.packet.DISCONNECT, EVENT, ACK))
"""The types of Socket.IO packets that a client may send."""
ATTACHMENTS = (
    "packets with attachments (Socket.IO types 5 and 6, binary frames) are not taken; send JSON alone"
)
_TOKEN_PACKET = re.compile(r'0|2\d*\[\s*"(?:authenticate|refresh-token)"')
_SocketPacket: Any = socketio.packet.Packet
_EnginePacket: Any = engine_packet.Packet
# neither has types; as Any their use is at least not noise


class PacketJson:
    """The JSON codec of packets: compact out, no deep nesting and no NaN in."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth

    def dumps(self, value: object, **_: object) -> str:
        """Write compactly."""
        return json_bytes(value).decode()

    def loads(self, text: str, **_: object) -> Any:
        """Read.

        Raises:
            ValueError: It is no JSON, or too deep.
        """
        try:
            check_json_depth(text.encode("utf-8", "surrogatepass"), self._max_depth)
            return strict_json(text)
        except (MeeshyError, RecursionError) as error:
            raise ValueError(str(error)) from None


class JsonPacket(_SocketPacket):  # type: ignore[misc]
    """A packet of Socket.IO whose data is JSON alone, so that nothing is searched for bytes before it is sent.

    The search took thirty times as long as writing the answer to a join of a call of fifty.
    """

    uses_binary_events = False


def message(encoded: object) -> Any:
    """Wrap an encoded packet of Socket.IO for the engine."""
    return _EnginePacket(engine_packet.MESSAGE, encoded)


def presents_token(text: str) -> bool:
    """Return whether a packet of Socket.IO presents a token, and may be as long as one."""
    return _TOKEN_PACKET.match(text) is not None


def not_a_packet(error: Exception | None) -> InvalidRequestError:
    """Return the error for what is no packet of Socket.IO."""
    why = f": {str(error)[:80] or type(error).__name__}" if error is not None else ""
    return InvalidRequestError(f"what came is no packet of Socket.IO{why}")
