"""Why a server does not answer: nothing listens, the wrong scheme, a certificate, or another service.

Turns errors of the HTTP client into sentences that name the cause and the remedy; nothing is retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

import aiohttp
import socketio

from simulator.errors import NoAnswerError, SignalingError

_PROBE_TIMEOUT_S = 3.0


async def no_answer(url: str, request: str, error: BaseException) -> SignalingError:
    """Return the error for a request that got no answer."""
    why = str(error) or type(error).__name__
    kind = NoAnswerError if isinstance(error, TimeoutError) else SignalingError
    return kind(
        f"{request}: no answer from {url}: {await _cause(url, error) or f'{why}; is the media server running?'}"
    )


def late_or_broken(error: BaseException) -> type[SignalingError]:
    """Return which error it is that a socket was not opened, or an event not answered: late, or another one."""
    # the library's only word for a welcome that did not come in time; behind a refusal it adds the reason
    late = (
        isinstance(error, TimeoutError | socketio.exceptions.TimeoutError)
        or str(error) == "One or more namespaces failed to connect"
    )
    return NoAnswerError if late else SignalingError


def foreign_service(url: str, request: str, what: str) -> SignalingError:
    """Return the error for an answer that no media server of ours gives."""
    return SignalingError(
        f"{request}: what answers at {url} is no media server ({what}); another service listens there: check host and port"
    )


async def _cause(url: str, error: BaseException) -> str | None:
    """Say what stands between us and a server that is there; None if nothing is known to be."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", None) or error.certificate_error
        return (
            f"its certificate is not trusted: {reason}; let SSL_CERT_FILE name the certificate, or that of its authority, "
            "or use the host name that the certificate has"
        )
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"it does not speak TLS; write http://{urlsplit(url).netloc} if it serves plain HTTP"
    if (
        urlsplit(url).scheme == "http"
        and not isinstance(error, aiohttp.ClientConnectorError)
        and await _speaks_tls(url)
    ):
        return f"it speaks TLS; write https://{urlsplit(url).netloc}"
    return None


async def _speaks_tls(url: str) -> bool:
    place = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(place.hostname, place.port or 80, ssl=context)
        writer.close()
        return True
    return False
