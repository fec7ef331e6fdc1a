"""What the media server's OpenAPI document says beside its routes: path parameters and events."""

from meeshy_sfu.edge.openapi import Description, Events
from meeshy_sfu.server import media_schemas, schemas

_PATH_PARAMETERS = {
    "callId": "The call's id: 1 to 128 letters, digits and . _ : @ -",
    "transportId": "Of a transport of this call.",
    "producerId": "Of a producer of this call.",
    "consumerId": "Of a consumer of this call.",
    "participantId": "The participant's id within the call.",
    "index": "Number of the worker.",
}
CLIENT_EVENTS: Events = {
    "join-room": (
        schemas.JoinRoomRequest,
        "Hear of this call and speak for the participant; a former session ends.",
    ),
    "leave-room": (schemas.RoomEventRequest, "Leave the call; closes all the session has."),
    "pause-consumer": (schemas.ConsumerEventRequest, "The same as the REST path."),
    "resume-consumer": (schemas.ConsumerEventRequest, "The same as the REST path."),
    "refresh-token": (schemas.RefreshTokenRequest, "Present a new token before the old one expires."),
}
SERVER_EVENTS: Events = {
    "new-producer": (schemas.NewProducerEvent, "Somebody else sends a track, or did before you joined."),
    "producer-closed": (schemas.ProducerClosedEvent, "A track has ended."),
    "consumer-paused": (schemas.ConsumerFlowEvent, "The producer of one of your consumers was paused."),
    "consumer-resumed": (schemas.ConsumerFlowEvent, "The producer of one of your consumers flows again."),
    "active-speaker": (schemas.ActiveSpeakerEvent, "Who speaks, and how loud each is."),
    "score": (schemas.ScoreEvent, "The quality of one of your tracks changed."),
    "transport-state": (schemas.TransportStateEvent, "ICE or DTLS of one of your transports changed."),
    "participant-joined": (schemas.ParticipantJoinedEvent, "Somebody else came into the call."),
    "participant-left": (schemas.ParticipantLeftEvent, "Somebody left or was taken out, you included."),
    "request-error": (schemas.RequestErrorEvent, "An event of yours was refused."),
    "room-closed": (schemas.RoomClosedEvent, "The call is over on this server."),
}

DESCRIPTION = Description(
    title="Meeshy media server",
    text="Rooms, transports, producers and consumers of group calls. "
    "Events go over Socket.IO at /socket.io/ with the token in auth.token.",
    path_parameters=_PATH_PARAMETERS,
    client_events=CLIENT_EVENTS,
    server_events=SERVER_EVENTS,
    more_models=[
        model
        for model in vars(media_schemas).values()
        if isinstance(model, type)
        and issubclass(model, media_schemas.Described)
        and model is not media_schemas.Described
    ],
)
