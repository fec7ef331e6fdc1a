"""What the media server's OpenAPI and AsyncAPI documents say beside its routes and events."""

from meeshy_sfu.edge.openapi import Description
from meeshy_sfu.server.messages import EVENTS

DESCRIPTION = Description(
    name="media-server",
    title="Meeshy media server",
    text="Rooms, transports, producers and consumers of group calls. "
    "Events go over Socket.IO at /socket.io/ with the token in auth.token.",
    path_parameters={
        "callId": "The call's id: 1 to 128 letters, digits and . _ : @ -",
        "transportId": "Of a transport of this call.",
        "producerId": "Of a producer of this call.",
        "consumerId": "Of a consumer of this call.",
        "participantId": "The participant's id within the call.",
        "index": "Number of the worker.",
    },
    events=EVENTS,
)
