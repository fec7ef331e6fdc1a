"""The outermost middleware: client addresses, CORS, and an envelope for every error.

Turns whatever happens inside into the answer a client may see; routes are in rest.py.
"""

import json
import logging
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from meeshy_sfu.config import Settings
from meeshy_sfu.edge.client_address import ADDRESS, address_of
from meeshy_sfu.edge.cors import Origins
from meeshy_sfu.edge.envelope import OURS, failure, hidden, json_response
from meeshy_sfu.edge.limits import ForwardedFor
from meeshy_sfu.errors import (
    InvalidRequestError,
    MeeshyError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    RequestError,
    UnauthorizedError,
)

logger = logging.getLogger(__name__)
SOCKET_PATH = "/socket.io/"


def edge_middleware(settings: Settings, origins: Origins) -> Middleware:
    """Make the outermost middleware: addresses, CORS, and an envelope for every error."""
    forwarded = ForwardedFor(settings.trusted_proxies)

    @web.middleware
    async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[ADDRESS] = address_of(request, forwarded)
        if request.path.startswith(SOCKET_PATH):
            return _enveloped(await handler(request))
        origin = request.headers.get("Origin")
        if request.method == "OPTIONS" and origin is not None:
            return origins.preflight(origin)
        try:
            response = await handler(request)
        except Exception as error:  # whatever it is, a client gets an envelope
            response = answer_for(request, error)
        if not response.prepared:
            _add_headers(response, origins.headers(origin))
        return response

    return handle


def _add_headers(response: web.StreamResponse, headers: Mapping[str, str]) -> None:
    """Add the headers of CORS; what an answer varies by already stays."""
    varies = response.headers.get("Vary")
    response.headers.update(headers)
    if varies is not None and "Vary" in headers:
        response.headers["Vary"] = f"{varies}, {headers['Vary']}"


def answer_for(request: web.BaseRequest, error: Exception) -> web.Response:
    """Make the envelope of whatever went wrong with a request, and log what is not the caller's fault."""
    match error:
        case MeeshyError():
            if not isinstance(error, RequestError):
                logger.warning("%s %s failed: %s", request.method, _route(request), error.message)
            return failure(error)
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            known = MethodNotAllowedError(f"{request.method} is not possible here; possible: {allowed}")
            return failure(known, headers={"Allow": allowed})
        case web.HTTPRequestEntityTooLarge():
            return failure(PayloadTooLargeError("the body is too large; the cap is max_body_bytes"))
        case web.HTTPNotFound():
            return failure(NotFoundError("there is nothing at this path; /docs lists what there is"))
        case web.HTTPException():
            return failure(InvalidRequestError(error.reason))
        case _:
            logger.exception("%s %s failed", request.method, _route(request))
            return failure(hidden(error))


def _route(request: web.BaseRequest) -> str:
    """Name a request in the log by its route: whatever stands in its path may be a token."""
    resource = request.match_info.route.resource if isinstance(request, web.Request) else None
    return "a path without a route" if resource is None else resource.canonical


def _enveloped(response: object) -> web.StreamResponse:
    """Put a refusal of the socket engine into the envelope, without what it quotes of the request."""
    if not isinstance(response, web.StreamResponse):
        # the engine's answer to a WebSocket handshake that does not ask for the upgrade
        return failure(InvalidRequestError("the WebSocket handshake is malformed (RFC 6455 §4.2.1)"))
    if response.status < 400 or response.prepared or not isinstance(response, web.Response):
        return response
    if response.get(OURS):
        return response
    code = _ENGINE_CODES.get(response.status, InvalidRequestError.code)
    error = {"code": code, "message": _engine_words(response)}
    kept = {name: value for name, value in response.headers.items() if name.startswith("Access-Control-")}
    return json_response({"success": False, "error": error}, status=response.status, headers=kept)


def _engine_words(response: web.Response) -> str:
    try:
        words = json.loads(response.body) if isinstance(response.body, bytes) else ""
    except ValueError:
        words = ""
    if not isinstance(words, str) or not words:
        return "this is no request of Engine.IO"
    if words.startswith("Invalid session"):
        return "there is no such session; connect anew"
    if words.endswith("is not an accepted origin."):
        return "pages of this origin may not connect; add it to cors_origins"
    return words


_ENGINE_CODES = {401: UnauthorizedError.code, 405: MethodNotAllowedError.code}
