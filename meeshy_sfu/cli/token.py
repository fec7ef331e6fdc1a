"""``meeshy token``: makes a token for a call, as the gateway would. What tokens say is in server/auth.py."""

from typing import Annotated

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.tokens import SERVICE_ROLE, check_id
from meeshy_sfu.server.auth import make_token


@with_settings(["state_dir", "token_lifetime_s"])
def token(
    *,
    settings: Settings,
    call: Annotated[
        str | None, typer.Option("--call", help="Call id; not needed for --role service.")
    ] = None,
    participant: Annotated[
        str | None, typer.Option("--participant", help="Participant id; not needed for --role service.")
    ] = None,
    role: Annotated[
        str, typer.Option("--role", help="participant, initiator (may end the call) or service (any call).")
    ] = "participant",
) -> None:
    """Print a token signed with JWT_SECRET, or with the development secret of the state directory."""
    if role != SERVICE_ROLE and (call is None or participant is None):
        raise typer.BadParameter("--call and --participant are needed unless --role is service")
    for name, value in (("--call", call), ("--participant", participant), ("--role", role)):
        if value is not None:
            check_id(value, name)
    console.line(
        make_token(
            secret=signing_secret(settings),
            now_s=SystemClock().unix_s(),
            lifetime_s=settings.token_lifetime_s,
            role=role,
            call_id=call,
            participant_id=participant,
        )
    )
