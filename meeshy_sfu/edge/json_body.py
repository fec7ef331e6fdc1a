"""Bodies of requests: read within a size and a time, and parsed as strict JSON; JSON as answers have it."""

import asyncio
import json
from typing import Any

import orjson
from aiohttp import web

from meeshy_sfu.edge.limits import check_json_depth
from meeshy_sfu.errors import InvalidRequestError, PayloadTooLargeError

BODY_TIMEOUT_S = 10.0


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
