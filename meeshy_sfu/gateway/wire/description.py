"""What the gateway's OpenAPI and AsyncAPI documents say beside its routes and events."""

from __future__ import annotations

from meeshy_sfu.edge.openapi import Description
from meeshy_sfu.gateway.wire.messages import EVENTS

DESCRIPTION = Description(
    name="gateway",
    title="Meeshy call gateway",
    text="Calls of conversations, peer to peer or through the media server. Events go over Socket.IO at /socket.io/ "
    "with the user's token in auth.token.",
    path_parameters={
        "callId": "The call's id.",
        "participantId": "A participant's id within the call.",
        "conversationId": "One of the caller's conversations.",
    },
    events=EVENTS,
)
