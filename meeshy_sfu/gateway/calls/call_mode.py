"""What a call's mode can be, and which one a number of participants leads to. When it changes is decided in `mode`."""

from __future__ import annotations

from enum import StrEnum

P2P_PARTICIPANTS_MAX = 2


class CallMode(StrEnum):
    """How media flows: between two participants directly, or through the media server."""

    P2P = "p2p"
    SFU = "sfu"


class Phase(StrEnum):
    """The four states of a call's mode."""

    P2P = "p2p"
    SWITCHING_TO_SFU = "switching_to_sfu"
    SFU = "sfu"
    SWITCHING_TO_P2P = "switching_to_p2p"


class ConversationType(StrEnum):
    """Conversations that may call. A direct one never leaves P2P."""

    DIRECT = "DIRECT"
    GROUP = "GROUP"


def determine_mode(conversation: ConversationType, connected: int) -> CallMode:
    """Return the mode of a call with so many participants.

    Example:
        ```python
        assert determine_mode(ConversationType.GROUP, 3) is CallMode.SFU
        assert determine_mode(ConversationType.DIRECT, 2) is CallMode.P2P
        ```
    """
    if conversation is ConversationType.DIRECT or connected <= P2P_PARTICIPANTS_MAX:
        return CallMode.P2P
    return CallMode.SFU
