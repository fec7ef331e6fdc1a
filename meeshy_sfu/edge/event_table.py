"""Socket.IO events of a service, each declared once: name, payload, answer, limit, and what it is for.

A declaration registers the handler, checks what is read and sent, and writes the documents: asyncapi.py, the JSON
schemas and the tables of the docs. Handlers are in the services' own modules.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from meeshy_sfu.edge.wire import Message, WireModel

RequestT = TypeVar("RequestT", bound=WireModel)
AnswerT = TypeVar("AnswerT", bound=Message)
PayloadT = TypeVar("PayloadT", bound=Message)
_EVENTS = "__events__"


@dataclass(frozen=True, slots=True)
class ClientEvent(Generic[RequestT, AnswerT]):
    """An event from a client; each is acknowledged."""

    name: str
    request: type[RequestT]
    answer: type[AnswerT]
    """What `data` of the acknowledgement holds."""
    summary: str
    quota: str | None = None
    """The limit it counts against beside that of all events: `rate_` and this is the setting."""

    @property
    def message(self) -> str:
        """Its name among the messages of the AsyncAPI document."""
        return "receive" + _words(self.name)

    @property
    def answer_message(self) -> str:
        """The same of its acknowledgement."""
        return "answer" + _words(self.name)


@dataclass(frozen=True, slots=True)
class ServerEvent(Generic[PayloadT]):
    """An event to clients."""

    name: str
    payload: type[PayloadT]
    to: str
    """Who gets it."""
    summary: str

    @property
    def message(self) -> str:
        """Its name among the messages of the AsyncAPI document."""
        return "send" + _words(self.name)


Handler = Callable[[Any, Any, RequestT], Awaitable[AnswerT]]


class EventTable:
    """All events of a service, in the order in which they were declared."""

    def __init__(self) -> None:
        self.client: dict[str, ClientEvent[Any, Any]] = {}
        """Events from clients, by name."""
        self.server: dict[str, ServerEvent[Any]] = {}
        """Events to clients, by name."""

    def from_client(
        self,
        name: str,
        request: type[RequestT],
        answer: type[AnswerT],
        summary: str,
        *,
        quota: str | None = None,
    ) -> ClientEvent[RequestT, AnswerT]:
        """Declare an event from a client."""
        event = ClientEvent(name, request, answer, summary, quota)
        self.client[name] = event
        return event

    def to_client(
        self, name: str, payload: type[PayloadT], *, to: str, summary: str
    ) -> ServerEvent[PayloadT]:
        """Declare an event to clients."""
        event = ServerEvent(name, payload, to, summary)
        self.server[name] = event
        return event

    def handlers_of(self, owner: object) -> Iterator[tuple[ClientEvent[Any, Any], Callable[..., Any]]]:
        """Return each event from clients with the method of an object that handles it.

        Raises:
            LookupError: An event has no handler.
        """
        methods = {
            event.name: getattr(owner, attribute)
            for kind in type(owner).__mro__
            for attribute, member in vars(kind).items()
            for event in getattr(member, _EVENTS, ())
        }
        if missing := self.client.keys() - methods:
            raise LookupError(f"{type(owner).__name__} handles no {', '.join(sorted(missing))}")
        for event in self.client.values():
            yield event, methods[event.name]


def handles_event(
    *events: ClientEvent[RequestT, AnswerT],
) -> Callable[[Handler[RequestT, AnswerT]], Handler[RequestT, AnswerT]]:
    """Declare a method to be the handler of events; it gets the session and the checked payload."""

    def mark(function: Handler[RequestT, AnswerT]) -> Handler[RequestT, AnswerT]:
        setattr(function, _EVENTS, events)
        return function

    return mark


def _words(name: str) -> str:
    """Write a name as an identifier, which may hold no colon."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[:-]", name))
