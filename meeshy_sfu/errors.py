"""Every error of the project, with its wire code and HTTP status.

Draws the tree once, for Python and for the native module; what a client sees of it is decided in edge/.

    MeeshyError                          500 INTERNAL_SERVER_ERROR
    ├── RequestError                     400 INVALID_REQUEST            the caller can do something about it
    │   ├── InvalidRequestError          400 INVALID_REQUEST            details.path names the field
    │   │   └── InvalidRtpCapabilitiesError
    │   │                                400 INVALID_RTP_CAPABILITIES
    │   │   └── InvalidSignalError       400 INVALID_SIGNAL             too large, or no offer, answer or candidate
    │   ├── CallFullError                400 MAX_PARTICIPANTS_REACHED
    │   ├── CallEndedError               400 CALL_ENDED
    │   ├── InvalidModeError             400 INVALID_MODE               a confirmation of another mode
    │   ├── UnauthorizedError            401 UNAUTHORIZED
    │   │   └── NotAuthenticatedError    401 NOT_AUTHENTICATED          a socket whose token has run out
    │   ├── ForbiddenError               403 FORBIDDEN
    │   │   ├── RoomFullError            403 ROOM_FULL
    │   │   ├── PermissionDeniedError    403 PERMISSION_DENIED          not your conversation, or not your right
    │   │   ├── CallsNotSupportedError   403 VIDEO_CALLS_NOT_SUPPORTED  neither DIRECT nor GROUP
    │   │   ├── NotAParticipantError     403 NOT_A_PARTICIPANT
    │   │   ├── NotInCallError           403 NOT_IN_CALL                in the call, but not with this socket
    │   │   └── SignalSenderMismatchError
    │   │                                403 SIGNAL_SENDER_MISMATCH
    │   ├── NotFoundError                404 NOT_FOUND
    │   │   ├── RoomNotFoundError        404 ROOM_NOT_FOUND
    │   │   ├── CallNotFoundError        404 CALL_NOT_FOUND
    │   │   ├── TargetNotFoundError      404 TARGET_NOT_FOUND           a signal for a participant who is not there
    │   │   ├── ParticipantNotFoundError 404 PARTICIPANT_NOT_FOUND
    │   │   ├── TransportNotFoundError   404 TRANSPORT_NOT_FOUND
    │   │   ├── ProducerNotFoundError    404 PRODUCER_NOT_FOUND
    │   │   └── ConsumerNotFoundError    404 CONSUMER_NOT_FOUND
    │   ├── MethodNotAllowedError        405 METHOD_NOT_ALLOWED
    │   ├── ConflictError                409 CONFLICT
    │   │   ├── RoomAlreadyExistsError   409 ROOM_ALREADY_EXISTS
    │   │   ├── ProducerAlreadyExistsError
    │   │   │                            409 PRODUCER_ALREADY_EXISTS
    │   │   ├── ConsumerAlreadyExistsError
    │   │   │                            409 CONSUMER_ALREADY_EXISTS    details.consumerId is the one that is there
    │   │   ├── CallAlreadyActiveError   409 CALL_ALREADY_ACTIVE        details.callId is the conversation's call
    │   │   ├── AlreadyInCallError       409 ALREADY_IN_CALL            this socket is in another call
    │   │   ├── KickedError              409 KICKED                     a newer socket took the place
    │   │   └── InvalidStateError        409 INVALID_STATE              closed, or connected twice
    │   ├── PayloadTooLargeError         413 PAYLOAD_TOO_LARGE
    │   ├── UriTooLongError              414 URI_TOO_LONG
    │   ├── UnsupportedMediaTypeError    415 UNSUPPORTED_MEDIA_TYPE     details.header names what to leave out
    │   ├── UnsupportedCodecError        422 UNSUPPORTED_CODEC
    │   ├── RateLimitError               429 RATE_LIMIT_EXCEEDED        retry_after_s
    │   └── HeadersTooLargeError         431 HEADERS_TOO_LARGE
    ├── UnavailableError                 503 SERVICE_UNAVAILABLE        the same request may work later
    │   ├── CapacityError                503 SERVER_AT_CAPACITY         details.limit names the cap
    │   │   └── NoPortError              503 SERVER_AT_CAPACITY
    │   ├── MediaServerError             503 MEDIA_SERVER_ERROR         no media server answers the gateway
    │   ├── ModeSwitchFailedError        503 MODE_SWITCH_FAILED         details.reason, details.retryAt
    │   ├── DatabaseUnavailableError     503 DATABASE_UNAVAILABLE       it does not answer, or has no space
    │   └── WorkerDiedError              503 WORKER_DIED                the call has to be created again
    ├── MediaError                       500 INTERNAL_SERVER_ERROR      the media core refused or failed
    │   ├── TransportConnectionError     500 TRANSPORT_CONNECTION_FAILED
    │   ├── ProducerCreationError        500 PRODUCER_CREATION_FAILED
    │   └── ConsumerCreationError        500 CONSUMER_CREATION_FAILED
    └── StartError                       –   never on the wire: a program could not start
        ├── ConfigError
        ├── CertificateError
        ├── PortInUseError
        ├── AddressUnavailableError
        ├── BindPermissionError
        └── ForkError
"""

from collections.abc import Mapping
from typing import ClassVar


class MeeshyError(Exception):
    """Base of all errors that this project raises on purpose.

    The message names the object by its id and, where there is one, the remedy. It may be shown to clients.
    """

    code: ClassVar[str] = "INTERNAL_SERVER_ERROR"
    """What a program on the other side of the wire compares."""
    http_status: ClassVar[int] = 500
    """The HTTP status of the answer."""
    details: dict[str, object]
    """Values a client may use, such as the path of the field that was wrong."""

    def __init__(self, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.details = dict(details or {})

    @property
    def message(self) -> str:
        """The sentence for whoever reads it."""
        return str(self.args[0])


class RequestError(MeeshyError):
    """The caller asked for something that cannot be done."""

    code = "INVALID_REQUEST"
    http_status = 400


class InvalidRequestError(RequestError):
    """A field is missing, of the wrong type or out of its range."""

    path: str
    """Where the field is in the request, for example ``rtpParameters.codecs[0].clockRate``; may be empty."""

    def __init__(self, message: str, details: Mapping[str, object] | None = None, *, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, details)
        self.path = path
        if path:
            self.details.setdefault("path", path)


class InvalidRtpCapabilitiesError(InvalidRequestError):
    """The client's RTP capabilities are malformed."""

    code = "INVALID_RTP_CAPABILITIES"


class InvalidSignalError(InvalidRequestError):
    """A signal lacks what its type needs, or is too large."""

    code = "INVALID_SIGNAL"


class CallFullError(RequestError):
    """The call holds as many participants as are allowed."""

    code = "MAX_PARTICIPANTS_REACHED"


class CallEndedError(RequestError):
    """The call is over."""

    code = "CALL_ENDED"


class InvalidModeError(RequestError):
    """A confirmation names another mode than the transition, or a mode is asked for that the rules do not give."""

    code = "INVALID_MODE"


class UnauthorizedError(RequestError):
    """No token, or one that does not hold."""

    code = "UNAUTHORIZED"
    http_status = 401


class NotAuthenticatedError(UnauthorizedError):
    """The socket's token has run out."""

    code = "NOT_AUTHENTICATED"


class ForbiddenError(RequestError):
    """The token is good, but not for this call, participant or object."""

    code = "FORBIDDEN"
    http_status = 403


class RoomFullError(ForbiddenError):
    """The room holds as many participants as are allowed."""

    code = "ROOM_FULL"


class PermissionDeniedError(ForbiddenError):
    """The conversation is none of the caller's, or the right is missing."""

    code = "PERMISSION_DENIED"


class CallsNotSupportedError(ForbiddenError):
    """The conversation is of a type that cannot call."""

    code = "VIDEO_CALLS_NOT_SUPPORTED"


class NotAParticipantError(ForbiddenError):
    """The caller is not in this call."""

    code = "NOT_A_PARTICIPANT"


class NotInCallError(ForbiddenError):
    """The caller is in this call, but not with this socket."""

    code = "NOT_IN_CALL"


class SignalSenderMismatchError(ForbiddenError):
    """A signal says that it comes from another participant."""

    code = "SIGNAL_SENDER_MISMATCH"


class NotFoundError(RequestError):
    """There is no such thing, or no longer."""

    code = "NOT_FOUND"
    http_status = 404


class RoomNotFoundError(NotFoundError):
    """No room for this call on this server."""

    code = "ROOM_NOT_FOUND"


class CallNotFoundError(NotFoundError):
    """There is no such call, or none the caller may see."""

    code = "CALL_NOT_FOUND"


class TargetNotFoundError(NotFoundError):
    """The target of a signal is not in the call, or its socket is away."""

    code = "TARGET_NOT_FOUND"


class ParticipantNotFoundError(NotFoundError):
    """No participant of this id is in the room."""

    code = "PARTICIPANT_NOT_FOUND"


class TransportNotFoundError(NotFoundError):
    """No such transport in the room, or the participant has no receive transport yet."""

    code = "TRANSPORT_NOT_FOUND"


class ProducerNotFoundError(NotFoundError):
    """No such producer in the room."""

    code = "PRODUCER_NOT_FOUND"


class ConsumerNotFoundError(NotFoundError):
    """No such consumer in the room."""

    code = "CONSUMER_NOT_FOUND"


class MethodNotAllowedError(RequestError):
    """The path exists, the method does not."""

    code = "METHOD_NOT_ALLOWED"
    http_status = 405


class ConflictError(RequestError):
    """The request contradicts what is there already."""

    code = "CONFLICT"
    http_status = 409


class RoomAlreadyExistsError(ConflictError):
    """The call has a room; use it."""

    code = "ROOM_ALREADY_EXISTS"


class ProducerAlreadyExistsError(ConflictError):
    """The participant already sends this kind from this source."""

    code = "PRODUCER_ALREADY_EXISTS"


class ConsumerAlreadyExistsError(ConflictError):
    """The participant already receives this producer on this transport."""

    code = "CONSUMER_ALREADY_EXISTS"


class CallAlreadyActiveError(ConflictError):
    """The conversation has a call; join that."""

    code = "CALL_ALREADY_ACTIVE"


class AlreadyInCallError(ConflictError):
    """This socket is in another call; leave that first."""

    code = "ALREADY_IN_CALL"


class KickedError(ConflictError):
    """A newer socket of the same participant replaced this one."""

    code = "KICKED"


class InvalidStateError(ConflictError):
    """The object is closed, or the step was taken before."""

    code = "INVALID_STATE"


class PayloadTooLargeError(RequestError):
    """The body or event is larger or deeper than allowed."""

    code = "PAYLOAD_TOO_LARGE"
    http_status = 413


class UriTooLongError(RequestError):
    """The request line is longer than allowed."""

    code = "URI_TOO_LONG"
    http_status = 414


class HeadersTooLargeError(RequestError):
    """A header, or all of them together, are longer than allowed."""

    code = "HEADERS_TOO_LARGE"
    http_status = 431


class UnsupportedMediaTypeError(RequestError):
    """The body is compressed; none is taken that is."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    http_status = 415


class UnsupportedCodecError(RequestError):
    """The two sides have no codec in common."""

    code = "UNSUPPORTED_CODEC"
    http_status = 422


class RateLimitError(RequestError):
    """Too many requests; try again later."""

    code = "RATE_LIMIT_EXCEEDED"
    http_status = 429

    retry_after_s: float
    """When the next request may pass."""

    def __init__(
        self, message: str, details: Mapping[str, object] | None = None, *, retry_after_s: float = 1.0
    ) -> None:
        super().__init__(message, details)
        self.retry_after_s = retry_after_s


class UnavailableError(MeeshyError):
    """The server cannot do it now."""

    code = "SERVICE_UNAVAILABLE"
    http_status = 503


class CapacityError(UnavailableError):
    """A cap of the server is reached; ``details.limit`` names its setting."""

    code = "SERVER_AT_CAPACITY"


class NoPortError(CapacityError):
    """The worker has no port or descriptor left."""


class MediaServerError(UnavailableError):
    """No media server answers the gateway."""

    code = "MEDIA_SERVER_ERROR"


class ModeSwitchFailedError(UnavailableError):
    """The switch to another path failed; ``details`` has the reason and when it is tried again."""

    code = "MODE_SWITCH_FAILED"


class DatabaseUnavailableError(UnavailableError):
    """The gateway's database does not answer, or takes nothing; what was asked for has not happened."""

    code = "DATABASE_UNAVAILABLE"


class WorkerDiedError(UnavailableError):
    """The worker that carried the call is gone; create the room again."""

    code = "WORKER_DIED"


class MediaError(MeeshyError):
    """The media core refused or failed."""


class TransportConnectionError(MediaError):
    """ICE or DTLS could not be set up."""

    code = "TRANSPORT_CONNECTION_FAILED"


class ProducerCreationError(MediaError):
    """The media core refused a producer."""

    code = "PRODUCER_CREATION_FAILED"


class ConsumerCreationError(MediaError):
    """The media core refused a consumer."""

    code = "CONSUMER_CREATION_FAILED"


class StartError(MeeshyError):
    """A program or worker cannot start; the message says what to change."""


class ConfigError(StartError):
    """A setting is unknown, malformed or contradicts another."""


class CertificateError(StartError):
    """A certificate or key cannot be read, written or used."""


class PortInUseError(StartError):
    """Another process listens on the port."""


class AddressUnavailableError(StartError):
    """The address to listen on is none of this machine's."""


class BindPermissionError(StartError):
    """The system forbids listening on this port."""


class ForkError(StartError):
    """A process with running workers or bots was forked; start them in the child, or use ``spawn``."""
