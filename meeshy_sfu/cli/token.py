"""``meeshy token``: makes users' tokens and invites, as the application around the gateway would, and calls' as the gateway.

What tokens say is in gateway/wire/auth.py and server/auth.py.
"""

from typing import Annotated

import typer

from meeshy_sfu.cli import console
from meeshy_sfu.cli.options import with_settings
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.config import Settings
from meeshy_sfu.edge.auth import SERVICE_ROLE, check_id
from meeshy_sfu.edge.secret import signing_secret
from meeshy_sfu.edge.token_signing import sign_invite, sign_media_token, sign_user_token
from meeshy_sfu.errors import InvalidRequestError
from meeshy_sfu.gateway.wire.auth import MAX_WORD_CHARS, Conversation
from meeshy_sfu.names import MAX_NAME_CHARS, name_problem


@with_settings(["state_dir", "token_lifetime_s", "invite_lifetime_s"])
def token(
    *,
    settings: Settings,
    user: Annotated[str | None, typer.Option("--user", help="User id: a token for the gateway.")] = None,
    conversation: Annotated[
        list[str] | None,
        typer.Option(
            "--conversation",
            help="With --user: ID:TYPE or ID:TYPE:ROLE, as c1:GROUP:admin; repeatable. With --invite: one ID:TYPE.",
        ),
    ] = None,
    username: Annotated[
        str | None, typer.Option("--username", help="With --user: name shown to others.")
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="With --user: a guest's session instead of a user.")
    ] = False,
    invite: Annotated[
        bool, typer.Option("--invite", help="An invite to --conversation, for guests of the web client.")
    ] = False,
    call: Annotated[str | None, typer.Option("--call", help="Call id: a token for the media server.")] = None,
    participant: Annotated[
        str | None, typer.Option("--participant", help="With --call: participant id.")
    ] = None,
    role: Annotated[
        str, typer.Option("--role", help="participant, initiator (may end the call) or service (any call).")
    ] = "participant",
) -> None:
    """Print a token signed with JWT_SECRET, or with the development secret of the state directory."""
    secret, now_s = signing_secret(settings), SystemClock().unix_s()
    if invite:
        if user is not None or call is not None or participant is not None:
            raise typer.BadParameter(
                "--invite is of a conversation; --user, --call and --participant make other tokens"
            )
        invited = _invited(conversation or [])
        lifetime_s = min(settings.invite_lifetime_s, settings.max_token_lifetime_s)
        console.line(
            sign_invite(
                secret=secret,
                now_s=now_s,
                lifetime_s=lifetime_s,
                conversation_id=invited.id,
                kind=invited.type,
            )
        )
        return
    if user is not None:
        if call is not None or participant is not None:
            raise typer.BadParameter(
                "--user makes a token for the gateway; --call and --participant one for media"
            )
        conversations = [_conversation(text) for text in conversation or []]
        if not conversations:
            raise typer.BadParameter("--user needs at least one --conversation, as c1:GROUP")
        console.line(
            sign_user_token(
                secret=secret,
                now_s=now_s,
                lifetime_s=settings.token_lifetime_s,
                user_id=_id(user, "--user"),
                username=None if username is None else _name(username, "--username"),
                conversations=conversations,
                anonymous=anonymous,
            )
        )
        return
    if role != SERVICE_ROLE and (call is None or participant is None):
        raise typer.BadParameter("--user, or --call and --participant are needed unless --role is service")
    for name, value in (("--call", call), ("--participant", participant), ("--role", role)):
        if value is not None:
            _id(value, name)
    console.line(
        sign_media_token(
            secret=secret,
            now_s=now_s,
            lifetime_s=settings.token_lifetime_s,
            role=role,
            call_id=call,
            participant_id=participant,
        )
    )


def _invited(texts: list[str]) -> Conversation:
    found = [_conversation(text) for text in texts]
    if len(found) != 1 or found[0].role != "member":
        raise typer.BadParameter(
            "--invite needs one --conversation without a role, as c1:GROUP; guests are members"
        )
    return found[0]


def _conversation(text: str) -> Conversation:
    parts = text.rsplit(":", 2) if text.count(":") >= 2 else text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise typer.BadParameter(
            f"{text!r} is no conversation; write ID:TYPE or ID:TYPE:ROLE, as c1:GROUP:admin"
        )
    conversation_id, kind, *role = parts
    return Conversation(
        _id(conversation_id, "--conversation"),
        _name(kind, "TYPE of --conversation", MAX_WORD_CHARS).upper(),
        *(_name(part, "ROLE of --conversation", MAX_WORD_CHARS).lower() for part in role),
    )


def _name(value: str, option: str, max_chars: int = MAX_NAME_CHARS) -> str:
    problem = name_problem(value, max_chars=max_chars)
    if problem is not None:
        raise typer.BadParameter(f"{option} {problem}")
    return value


def _id(value: str, option: str) -> str:
    try:
        return check_id(value, option)
    except InvalidRequestError as error:
        raise typer.BadParameter(error.message) from None
