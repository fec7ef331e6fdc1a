"""HTTP connections below the application: limits of a request's head, and the envelope for what no handler sees.

aiohttp answers what its parser refuses in plain text and quotes it there and in the log; a token may be in it. Answers to
requests that could be read are made in middleware.py.
"""

import logging
from collections.abc import Sequence
from typing import Any

from aiohttp import http_exceptions, web, web_protocol
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError

from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS
from meeshy_sfu.edge.envelope import failure
from meeshy_sfu.edge.request_checks import with_request_checks
from meeshy_sfu.errors import HeadersTooLargeError, InvalidRequestError, MeeshyError, UriTooLongError
from meeshy_sfu.log import log_ids

logger = logging.getLogger(__name__)

MAX_URI_BYTES = 8190
MAX_HEADER_BYTES = MAX_TOKEN_CHARS + 1024
"""Name and value of one header; a little more than the longest token, so that a longer one is refused as a token."""
MAX_HEADERS = 128
MAX_HEAD_BYTES = MAX_HEADER_BYTES + 65_536
"""All of a head; without it, an unknown sender could fill memory with many long headers."""
REQUESTS_AHEAD = 1
"""Requests of one connection that are read while another is answered; each may be as large as MAX_HEAD_BYTES."""
LINGER_S = 1.0
"""How long the rest of an unread body is discarded, so that its sender receives the answer."""

# 32 otherwise, and no option sets it; every one of them would be held in memory
vars(web_protocol)["MAX_MSG_QUEUE_SIZE"] = REQUESTS_AHEAD

_HEADERS_TOO_LARGE = (
    f"the headers are too large: at most {MAX_HEADERS}, each up to {MAX_HEADER_BYTES:,} bytes, "
    f"together up to {MAX_HEAD_BYTES:,}"
)


class HeadTooLongError(BadHttpMessage):
    """A head that is longer than all of it may be."""


class LimitedParser:
    """The parser of one connection, with a limit for the whole head and one kind of error for what it refuses."""

    __slots__ = ("_body", "_head_bytes", "_parser")

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._body: Any = None
        self._head_bytes = 0

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Parse what has arrived.

        Raises:
            HttpProcessingError: It is no HTTP, or its head is too long.
        """
        in_body = self._body is not None and not self._body.is_eof()
        try:
            messages, upgraded, tail = self._parser.feed_data(data)
        except HttpProcessingError:
            raise
        except Exception as error:
            # some targets end in an error of the URL parser, which would end the connection without an answer
            raise BadHttpMessage("the request cannot be read") from error
        if messages:
            self._body, self._head_bytes = messages[-1][1], 0
        elif not in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                raise HeadTooLongError("the head is too long")
        return messages, upgraded, tail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


class Protocol(web.RequestHandler):
    """One connection, whose errors are answered in the envelope."""

    __slots__ = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parser: Any = LimitedParser(self._parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the answer to what could not be read, or failed outside all handlers. It ends the connection."""
        if isinstance(exc, HttpProcessingError):
            logger.debug("not an HTTP request: %s", type(exc).__name__, extra=log_ids(address=request.remote))
            told = explain(exc)
        else:
            logger.error("a request failed outside its handler", exc_info=exc)
            told = MeeshyError("the server failed; its log says how")
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        response = failure(told, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
        response.force_close()
        return response


class Runner(web.AppRunner):
    """An application's runner, whose requests pass request_checks.py; connections are made in connections.py."""

    def __init__(self, app: web.Application, **options: Any) -> None:
        super().__init__(
            app,
            max_line_size=MAX_URI_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            # nothing is ever inflated, neither for a handler nor while an unread body is thrown away
            auto_decompress=False,
            lingering_time=LINGER_S,
            **options,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.request_handler = with_request_checks(made.request_handler)
        return made


def explain(error: HttpProcessingError) -> MeeshyError:
    """Return the message for a request that could not be read; nothing of the request is quoted."""
    match error:
        case HeadTooLongError():
            return HeadersTooLargeError(_HEADERS_TOO_LARGE)
        case http_exceptions.LineTooLong() if error.args[1] == MAX_URI_BYTES:
            return UriTooLongError(f"the request line is longer than {MAX_URI_BYTES:,} bytes")
        case http_exceptions.LineTooLong():
            return HeadersTooLargeError(_HEADERS_TOO_LARGE)
        case http_exceptions.InvalidHeader():
            return InvalidRequestError("a header is malformed")
        case http_exceptions.InvalidURLError():
            return InvalidRequestError("the request's target is no URL of this server")
        case http_exceptions.BadHttpMethod() if "HTTPS" in error.message:
            return InvalidRequestError("this port speaks plain HTTP; the request began with TLS")
        case http_exceptions.BadStatusLine():
            return InvalidRequestError("the request line is malformed")
        case http_exceptions.PayloadEncodingError():
            return InvalidRequestError("the body does not hold to its Content-Length or Transfer-Encoding")
        case _ if "Too many headers" in error.message:
            return HeadersTooLargeError(_HEADERS_TOO_LARGE)
        case _ if "Host" in error.message:
            return InvalidRequestError("the header Host is missing, or there twice")
        case _:
            return InvalidRequestError("the request is no valid HTTP/1.1")
