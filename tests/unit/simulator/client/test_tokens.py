"""Tokens of a gateway's users: signed, or printed by a command."""

from __future__ import annotations

import sys

import jwt
import pytest

from simulator.client.tokens import CommandTokens, SignedTokens
from simulator.errors import UsageError

SECRET = "a" * 32
PRINTS = f"{sys.executable} -c \"import sys; print('token of', *sys.argv[1:])\""


async def test_a_command_gets_user_and_conversation() -> None:
    tokens = CommandTokens(f"{PRINTS} {{user}} --in={{conversation}}")
    assert await tokens.token("person-1", "c1") == "token of person-1 --in=c1"


async def test_a_signed_token_is_of_the_user() -> None:
    token = await SignedTokens(SECRET).token("person-2", "c1")
    assert jwt.decode(token, SECRET, algorithms=["HS256"], audience="meeshy-gateway")["sub"] == "person-2"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (
            f"{sys.executable} -c 'import sys; sys.exit(\"no such {{user}}\")'",
            "exit code 1: no such person-1",
        ),
        ("true {user}", "it printed nothing"),
        ("/nowhere/login {user}", "/nowhere/login cannot be run: No such file"),
    ],
)
async def test_a_command_that_gives_no_token_is_named_with_the_reason(command: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        await CommandTokens(command).token("person-1", "c1")


@pytest.mark.parametrize(
    ("command", "reason"),
    [("login --all", "the same token for all: put {user}"), ("login '{user}", "cannot be read")],
)
def test_a_command_that_cannot_be_right_is_refused_at_once(command: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        CommandTokens(command)
