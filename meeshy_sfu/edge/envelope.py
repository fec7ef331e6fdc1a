"""Envelopes of answers: `{success, data}` or `{success, error}`.

Which error becomes which answer is decided in middleware.py and the dispatchers.
"""

import math
from collections.abc import Mapping

from aiohttp import web

from meeshy_sfu.edge.json_body import json_bytes
from meeshy_sfu.edge.limits import RateLimitedError
from meeshy_sfu.edge.wire import ErrorBody, Message
from meeshy_sfu.errors import MeeshyError, RateLimitError, UnauthorizedError
from meeshy_sfu.log import hide_tokens

OURS = web.ResponseKey("ours", bool)
"""Under this key an answer holds that it is an envelope already."""


def success(
    data: Message | Mapping[str, object] | None = None,
    message: str | None = None,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Make the envelope of a success: data, or a message when there is none."""
    body: dict[str, object] = {"success": True}
    if data is not None:
        body["data"] = data.wire() if isinstance(data, Message) else data
    if message is not None:
        body["message"] = message
    return json_response(body, status=status, headers=headers)


def failure(error: MeeshyError, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make the envelope of an error, with the headers that belong to it."""
    envelope: dict[str, object] = {"success": False}
    added = dict(headers or {})
    retry_after_s: int | None = None
    if isinstance(error, RateLimitError):
        retry_after_s = max(1, math.ceil(error.retry_after_s))
        envelope["retryAfter"] = retry_after_s
        added["Retry-After"] = str(retry_after_s)
        if isinstance(error, RateLimitedError):
            added |= error.standing.headers()
    if isinstance(error, UnauthorizedError):
        added["WWW-Authenticate"] = "Bearer"
    envelope["error"] = error_body(error, retry_after_s=retry_after_s).wire()
    made = json_response(envelope, status=error.http_status, headers=added)
    made[OURS] = True
    return made


def error_body(
    error: MeeshyError, *, code: str | None = None, retry_after_s: float | None = None
) -> ErrorBody:
    """Make the `error` of an envelope or acknowledgement. Messages may quote a path or an id: never a token."""
    details = {
        name: hide_tokens(value) if isinstance(value, str) else value for name, value in error.details.items()
    }
    return ErrorBody(
        code=code or error.code,
        message=hide_tokens(error.message),
        details=details or None,
        retry_after=retry_after_s,
    )


def hidden(error: Exception) -> MeeshyError:
    """Return the error a client may see in place of an unexpected one."""
    return MeeshyError("the server failed; its log says how", {"type": type(error).__name__})


def json_response(
    body: Mapping[str, object], *, status: int, headers: Mapping[str, str] | None
) -> web.Response:
    """Make a response with a JSON body."""
    return web.Response(
        body=json_bytes(body),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )
