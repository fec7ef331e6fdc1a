"""Routes about the media server itself: health, readiness and statistics.

Metrics and documentation, which every service has, are in edge/service_routes.py.
"""

from aiohttp import web

from meeshy_sfu.config import Settings
from meeshy_sfu.edge.disk_probe import DiskProbe
from meeshy_sfu.edge.envelope import success
from meeshy_sfu.edge.metrics_access import MetricsAccess
from meeshy_sfu.edge.routes import Route, handles
from meeshy_sfu.errors import MeeshyError
from meeshy_sfu.media.worker import WorkerPool
from meeshy_sfu.server.metrics import Metrics


class HealthApi:
    """Answer monitoring and load balancers."""

    def __init__(
        self, *, settings: Settings, metrics_access: MetricsAccess, pool: WorkerPool, metrics: Metrics
    ) -> None:
        self._metrics_access = metrics_access
        self._pool = pool
        self._metrics = metrics
        self._probe = DiskProbe(settings.state_dir, "media") if settings.log_to_file else None
        self.stopping = False
        """Set while the server shuts down, so that it is sent no more calls."""

    @handles(
        Route(
            "GET",
            "/health",
            "Whether the process lives and can write its logs; 503 if not",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def health(self, request: web.Request) -> web.Response:
        """Try the disk, where logs are written to it."""
        well = self._probe is None or await self._probe.serves()
        return web.json_response({"status": "ok" if well else "failing"}, status=200 if well else 503)

    @handles(
        Route(
            "GET",
            "/ready",
            "Whether calls can be created; 503 while it shuts down or no worker lives",
            "Server",
            access="open",
            raw="application/json",
        )
    )
    async def ready(self, request: web.Request) -> web.Response:
        """Report how many workers live, and how many should."""
        alive = [worker.index for worker in self._pool.workers if worker.alive]
        dead = [index for index in range(self._pool.size) if index not in alive]
        status = (
            "stopping" if self.stopping else "degraded" if dead and alive else "ok" if alive else "no worker"
        )
        body = {
            "status": status,
            "workers": {
                "wanted": self._pool.size,
                "alive": len(alive),
                "dead": dead,
                "died": self._pool.deaths,
            },
        }
        return web.json_response(body, status=503 if self.stopping or not alive else 200)

    @handles(Route("GET", "/api/stats", "The same metrics by worker and room", "Server", access="local"))
    async def stats(self, request: web.Request) -> web.Response:
        """Return all metrics as JSON, taken now."""
        self._metrics_access.require(request)
        for worker in self._pool.workers:
            if worker.alive:
                try:
                    await worker.fetch_stats()
                except MeeshyError:
                    # it died meanwhile; its last totals are shown until it is replaced
                    continue
        return success(self._metrics.stats())
