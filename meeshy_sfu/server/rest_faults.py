"""Faults on purpose, for development mode: routes that let media on its way to receivers be withheld, swapped or damaged.

A test of load tests requests them: whether their verdict names the fault. The media core applies them
(crates/sfu-worker/src/faults.rs), and refuses them where the server was not started in development mode.
"""

from aiohttp import web

from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import ForbiddenError, InvalidRequestError, NotFoundError
from meeshy_sfu.media import ortc
from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS
from meeshy_sfu.media.worker import Worker, WorkerPool
from meeshy_sfu.server.fault_schemas import FaultLogData, FaultsRequest
from meeshy_sfu.server.rest_dispatch import RestRequest

FAULTS = "/api/dev/workers/{index}/faults"
_DEVELOPMENT = "Development"


class FaultApi:
    """Answer requests for faults, which only services may send."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool

    @handles(
        Route(
            "PUT",
            FAULTS,
            "Replace the faults that a worker's media goes through; for services, in development mode only",
            _DEVELOPMENT,
            body=FaultsRequest,
            errors=(NotFoundError, InvalidRequestError),
            development_only=True,
        )
    )
    async def replace(self, request: RestRequest, body: FaultsRequest) -> web.Response:
        """Inject the faults, or end those there are."""
        faults = [
            {**fault.core_fields(), "payload_types": _payload_types(fault.media)} for fault in body.faults
        ]
        await self._worker(request).inject_faults(body.seed, faults)
        return success(message=f"{len(faults)} faults injected")

    @handles(
        Route(
            "GET",
            FAULTS,
            "List what a worker's faults did since they were injected; for services, in development mode only",
            _DEVELOPMENT,
            data=FaultLogData,
            errors=(NotFoundError,),
            development_only=True,
        )
    )
    async def log(self, request: RestRequest) -> web.Response:
        """Return each packet that was altered."""
        log = await self._worker(request).fault_log()
        return success(FaultLogData.model_validate(log))

    def _worker(self, request: RestRequest) -> Worker:
        if not request.claims.is_service:
            raise ForbiddenError("only a service may inject faults")
        index = request.id("index")
        for worker in self._pool.workers:
            if str(worker.index) == index:
                return worker
        raise NotFoundError(f"there is no worker {index[:20]}")


def _payload_types(kind: str | None) -> list[int]:
    """Return the payload types of a kind of media in calls with the default codecs, retransmissions aside; none is all."""
    if kind is None:
        return []
    media = [c for c in ortc.router_capabilities(DEFAULT_MEDIA_CODECS).codecs if c.kind == kind]
    return [
        c.preferred_payload_type
        for c in media
        if c.preferred_payload_type is not None and not c.mime_type.lower().endswith("/rtx")
    ]
