"""What every request must hold before anything of the service sees it, and what every answer carries.

Stands before the router, so that no route, no 404 and no path of Socket.IO can be without it.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from meeshy_sfu.edge.envelope import failure
from meeshy_sfu.edge.middleware import answer_for
from meeshy_sfu.errors import InvalidRequestError, MeeshyError, UnsupportedMediaTypeError

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def with_request_checks(handle: Handle) -> Handle:
    """Put the checks of every request before `handle`."""

    async def checked(request: web.BaseRequest) -> web.StreamResponse:
        refusal = encoding_refusal(request) or expectation_refusal(request)
        if refusal is not None:
            response: web.StreamResponse = failure(refusal)
            response.force_close()
        else:
            try:
                response = await handle(request)
            except (MeeshyError, web.HTTPException) as error:
                # from before or beside the middlewares: expectations, upgrades
                response = answer_for(request, error)
        if not request.content.is_eof():
            # an unread body is not waited for
            response.force_close()
        if not response.prepared:
            response.headers.setdefault("X-Content-Type-Options", "nosniff")
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return checked


def expectation_refusal(request: web.BaseRequest) -> MeeshyError | None:
    """Refuse what aiohttp would quote, or fail at: any expectation but that of an interim answer (RFC 9110 §10.1.1)."""
    expected = request.headers.get("Expect", "")
    if expected.strip().lower() in ("", "100-continue"):
        return None
    return InvalidRequestError("no expectation but 100-continue is met; leave Expect out")


def encoding_refusal(request: web.BaseRequest) -> MeeshyError | None:
    """Find what is wrong with the coding of a request's body: a few bytes of it could stand for gigabytes."""
    encodings = request.headers.getall("Content-Encoding", [])
    if encodings:
        return UnsupportedMediaTypeError(
            "Content-Encoding: bodies are taken as they are; send this one without Content-Encoding",
            {"header": "Content-Encoding"},
        )
    codings = ",".join(request.headers.getall("Transfer-Encoding", []))
    if any(coding.strip().lower() not in ("", "chunked") for coding in codings.split(",")):
        return UnsupportedMediaTypeError(
            "Transfer-Encoding: bodies are taken as they are; send this one with no other coding than chunked",
            {"header": "Transfer-Encoding"},
        )
    return None
