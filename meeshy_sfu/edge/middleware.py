"""The outermost middleware and what it needs: envelopes, errors, CORS, bodies, client addresses.

Turns whatever happens inside into the answer a client may see; routes are in rest.py.
"""

import asyncio
import hmac
import ipaddress
import json
import logging
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware

from meeshy_sfu.config import Settings
from meeshy_sfu.edge.limits import ForwardedFor, RateLimitedError, check_json_depth, read_address
from meeshy_sfu.edge.wire import ErrorBody, Message
from meeshy_sfu.errors import (
    ForbiddenError,
    InvalidRequestError,
    MeeshyError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    RateLimitError,
    RequestError,
    UnauthorizedError,
)
from meeshy_sfu.log import hide_tokens

logger = logging.getLogger(__name__)

BODY_TIMEOUT_S = 10.0
SOCKET_PATH = "/socket.io/"
ALLOWED_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type"
EXPOSED_HEADERS = "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After"
PREFLIGHT_SECONDS = "600"
ADDRESS = web.RequestKey("address", str)
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
    return _json(body, status=status, headers=headers)


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
    made = _json(envelope, status=error.http_status, headers=added)
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


async def read_body(request: web.Request, *, max_bytes: int) -> bytes:
    """Read a body to its end.

    Raises:
        PayloadTooLargeError: It is too large.
        InvalidRequestError: It does not arrive, or not as its headers say.
    """
    if request.content_length is not None and request.content_length > max_bytes:
        raise PayloadTooLargeError(f"the body is larger than {max_bytes} bytes; the cap is max_body_bytes")
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise InvalidRequestError(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLargeError(
            f"the body is larger than {max_bytes} bytes; the cap is max_body_bytes"
        ) from None
    except (web.RequestPayloadError, ValueError):
        raise InvalidRequestError(
            "the body cannot be read; its chunks are no chunks, or it ends before its Content-Length"
        ) from None


def json_bytes(value: object) -> bytes:
    """Write compact JSON. The fast writer knows 64-bit numbers only; what clients made larger takes the slow one."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def parse_object(text: bytes, *, max_depth: int) -> dict[str, object]:
    """Read a JSON object; an empty text counts as an empty one.

    Raises:
        PayloadTooLargeError: It is too deep.
        InvalidRequestError: It is no JSON object.
    """
    if not text.strip():
        return {}
    check_json_depth(text, max_depth)
    try:
        value = strict_json(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the body is no valid JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return value


def strict_json(text: str) -> Any:
    """Read JSON without NaN and Infinity. A number beyond all that can be held is infinite; its field refuses it by its path.

    Raises:
        ValueError: It is no JSON.
    """
    return _DECODER.decode(text)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""One for all: json.loads would make another for every text."""


class Origins:
    """Which pages may call us from another origin."""

    __slots__ = ("_all", "_any_loopback", "_known")

    def __init__(self, settings: Settings) -> None:
        self._known = frozenset(settings.cors_origins)
        self._all = "*" in self._known
        self._any_loopback = settings.is_development

    def allowed(self, origin: str) -> bool:
        """Return whether this origin may."""
        if self._all or origin in self._known:
            return True
        return self._any_loopback and _is_loopback_origin(origin)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return the CORS headers of an answer; none for other origins."""
        if origin is None or not self.allowed(origin):
            return {"Vary": "Origin"} if origin is not None else {}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
            "Vary": "Origin",
        }

    def preflight(self, origin: str) -> web.Response:
        """Answer a browser that asks before it sends the request itself."""
        if not self.allowed(origin):
            reason = "pages of this origin may not call this server; add it to cors_origins"
            return failure(ForbiddenError(reason), headers={"Vary": "Origin"})
        headers = self.headers(origin) | {
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }
        return web.Response(status=204, headers=headers)


def _is_loopback_origin(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own."""
    parsed = read_address(address)
    return parsed is not None and parsed.is_loopback


def is_local(request: web.BaseRequest) -> bool:
    """Return whether a program on this machine asks for itself: not through a proxy, and not for a page from elsewhere.

    A page can let its own name point to 127.0.0.1 and read what answers (DNS rebinding); its Host shows that. Where
    cors_origins is ``*``, it can also ask 127.0.0.1 by that name; its Origin shows that.
    """
    origin = request.headers.get("Origin")
    return (
        is_loopback(request[ADDRESS])
        and not is_forwarded(request)
        and _is_loopback_host(request.headers.get("Host", ""))
        and (origin is None or _is_loopback_origin(origin))
    )


def is_forwarded(request: web.BaseRequest) -> bool:
    """Return whether a proxy may have passed the request on, so that a peer on loopback proves nothing.

    One that adds no header, as nginx without settings does not, still shows by its HTTP/1.0.
    """
    return request.version < HttpVersion11 or any(
        name in _PROXY_HEADERS or name.startswith("x-forwarded") for name in map(str.lower, request.headers)
    )


_NO_HOST = re.compile(r"[/?#@\\\s]")
"""What no Host holds (RFC 9110 §7.2), and what would hide the name it leads to."""
_PROXY_HEADERS = frozenset(
    (
        "via",
        "forwarded",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "true-client-ip",
        "cf-connecting-ip",
    )
)


def _is_loopback_host(host: str) -> bool:
    if _NO_HOST.search(host):
        return False
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = read_address(name)
    # 0.0.0.0 and :: lead to this machine as well, and a number is no name that could be pointed here
    return address is not None and (address.is_loopback or address.is_unspecified)


def same_secret(given: str | None, expected: str | None) -> bool:
    """Compare secrets in constant time; an absent one equals nothing."""
    if not given or not expected:
        return False
    # a header that is no UTF-8 comes with surrogates
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass"))


def address_of(request: web.BaseRequest, forwarded: ForwardedFor) -> str:
    """Return the client's address."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    host = str(peer[0]) if isinstance(peer, tuple) and peer else "unknown"
    # one list, however many lines it came in (RFC 9110 §5.3): the last is the nearest proxy's
    return forwarded.client(host, ",".join(request.headers.getall("X-Forwarded-For", [])))


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
            response.headers.update(origins.headers(origin))
        return response

    return handle


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
    return _json({"success": False, "error": error}, status=response.status, headers=kept)


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


def _json(body: Mapping[str, object], *, status: int, headers: Mapping[str, str] | None) -> web.Response:
    return web.Response(
        body=json_bytes(body),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )
