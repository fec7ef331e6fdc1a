"""Who may see the metrics of a service: this machine, holders of the metrics token, and services."""

from aiohttp import web

from meeshy_sfu.clock import Clock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import MEDIA_AUDIENCE, SERVICE_ROLE, TokenRules, bearer, check_audience, open_token
from meeshy_sfu.edge.client_address import is_local
from meeshy_sfu.edge.secret import same_secret
from meeshy_sfu.errors import UnauthorizedError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REFUSAL = (
    "metrics are for this machine, asked at localhost and through no proxy, "
    "for services and for holders of metrics_token"
)


class MetricsAccess:
    """Check who may read metrics."""

    def __init__(self, settings: Settings, rules: TokenRules, clock: Clock) -> None:
        self._settings = settings
        self._rules = rules
        self._clock = clock

    def require(self, request: web.Request) -> None:
        """Let in this machine, holders of the metrics token, and services.

        Raises:
            UnauthorizedError: It is none of these.
        """
        if is_local(request):
            return
        token = bearer(request.headers.get("Authorization"))
        if token is None:
            raise UnauthorizedError(REFUSAL)
        wanted = self._settings.metrics_token
        if same_secret(token, wanted.get_secret_value() if wanted else None):
            return
        payload = open_token(token, self._rules, now_s=self._clock.unix_s())
        # of the media server also at the gateway: a user's token opens no metrics, whatever it claims
        check_audience(payload, MEDIA_AUDIENCE, required=self._rules.require_audience)
        if payload.get("role") != SERVICE_ROLE:
            raise UnauthorizedError(REFUSAL)
