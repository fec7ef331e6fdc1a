"""``meeshy gateway``: lists a gateway's live calls and checks its event log. Starting one is `meeshy serve gateway`."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import aiohttp
import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.token_signing import sign_service_token
from meeshy_sfu.errors import ConfigError, MeeshyError, UnavailableError
from meeshy_sfu.gateway.calls import journal
from meeshy_sfu.gateway.wire.rest_overview import LIMIT_MAX

TIMEOUT_S = 10.0
TOKEN_LIFETIME_S = 60.0

app = typer.Typer(help="List a gateway's live calls, and check its event log.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("check-events")
def check_events(
    path: Annotated[
        Path, typer.Argument(help="Path of the event log, for example .meeshy/events/gateway.jsonl.")
    ],
) -> None:
    """Check in an event log that transitions of a call never overlapped; exit code 1 if they did."""
    try:
        verdict = journal.check(journal.read(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None
    console.line(
        f"{verdict.calls} calls, {verdict.transitions} transitions: {verdict.completed} completed, "
        f"{verdict.rolled_back} rolled back, {verdict.cut_off} cut off, {len(verdict.problems)} problems"
    )
    if verdict.missing:
        console.notice(f"{verdict.missing} entries are missing: the log could not be written for a while")
    for problem in verdict.problems:
        console.notice(problem)
    if verdict.problems:
        raise typer.Exit(console.EXIT_ERROR)


@app.command("calls")
@with_settings(["state_dir", "gateway_port"])
def calls(
    *,
    settings: Settings,
    url: Annotated[
        str | None,
        typer.Option("--url", help="URL of the gateway; default: this machine, on --gateway-port."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="MEESHY_TOKEN",
            help="Token of a service, or of a user who is admin of conversations; default: one signed with JWT_SECRET.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List live calls: participants, mode and media server of each."""
    base = _base(url, settings)
    answer = asyncio.run(_live_calls(base, token or _service_token(settings)))
    if json:
        console.data(answer)
        return
    columns = ("call", "conversation", "type", "status", "mode", "participants", "since", "media server")
    console.table(
        f"Live calls of {base}", columns, [_row(call) for call in answer["calls"]], whole=("call", "since")
    )
    shown, total = len(answer["calls"]), answer["total"]
    if shown < total:
        console.notice(f"{shown} of {total} calls are shown, the oldest")


def _base(url: str | None, settings: Settings) -> str:
    base = url or f"{'https' if settings.tls_cert else 'http'}://127.0.0.1:{settings.gateway_port}"
    try:
        parts = urlsplit(base)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise typer.BadParameter(f"{base!r} is no URL of a gateway; write it as http://127.0.0.1:4000")
    return base.rstrip("/")


def _service_token(settings: Settings) -> str:
    return sign_service_token(
        secret=signing_secret(settings), now_s=SystemClock().unix_s(), lifetime_s=TOKEN_LIFETIME_S
    )


async def _live_calls(base: str, token: str) -> dict[str, Any]:
    """Ask a gateway.

    Raises:
        UnavailableError: No gateway answers at this URL.
        MeeshyError: It refuses.
    """
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
            session.get(f"{base}/api/calls", params={"limit": LIMIT_MAX}, headers=headers) as response,
        ):
            status = response.status
            answer = await response.json(content_type=None)
    except ValueError as error:
        raise UnavailableError(
            f"the server at {base} is not a gateway; set the gateway's URL with --url"
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        reason = str(error) or f"no answer within {TIMEOUT_S:g} s"
        raise UnavailableError(
            f"no gateway answers at {base}: {reason}; start one with `meeshy serve`, or set its URL with --url"
        ) from error
    match answer:
        case {"success": True, "data": {"calls": [*_], "total": int()}}:
            data: dict[str, Any] = answer["data"]
            return data
        case {"success": False, "error": {"code": "UNAUTHORIZED", "message": str(message)}}:
            raise MeeshyError(
                f"{base} refuses the token: {message}; set a valid one in MEESHY_TOKEN, or the gateway's JWT_SECRET"
            )
        case {"success": False, "error": {"code": "NOT_FOUND"}}:
            raise UnavailableError(f"the server at {base} lists no calls; set the gateway's URL with --url")
        case {"success": False, "error": {"code": str(code), "message": str(message)}}:
            raise MeeshyError(f"{base} refuses with {status} {code}: {message}")
    raise UnavailableError(f"the server at {base} is not a gateway; set the gateway's URL with --url")


def _row(call: dict[str, Any]) -> tuple[str, ...]:
    mode = call["mode"] if call["phase"] == call["mode"] else call["phase"]
    participants = f"{call['connectedCount']}/{call['participantCount']}"
    return (
        call["callId"],
        call["conversationId"],
        f"{call['conversationType'].lower()} {call['type']}",
        call["status"],
        f"{mode} ({call['failure']})" if call["failure"] else mode,
        participants,
        (call["startedAt"] or call["createdAt"]).replace("T", " ").removesuffix("Z")[:19],
        "–" if call["mediaServerUrl"] is None else call["mediaServerUrl"] + " *" * call["prewarmed"],
    )
