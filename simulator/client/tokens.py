"""Tokens of a gateway's users: signed with its secret, or printed by a command of its owner.

Knows who asks for which conversation; what a token admits to is the gateway's business.
"""

from __future__ import annotations

import asyncio
import shlex
from typing import Protocol

from simulator.client.gateway import user_token
from simulator.errors import UsageError

COMMAND_TIMEOUT_S = 30.0
_AT_ONCE = 8


class UserTokens(Protocol):
    """Makes tokens of users."""

    async def token(self, user: str, conversation: str) -> str:
        """Return the token of a user who may call in a conversation.

        Raises:
            UsageError: There is none.
        """


class SignedTokens:
    """Tokens signed with a gateway's shared secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def token(self, user: str, conversation: str) -> str:
        """Return the token of a user who may call in a conversation."""
        return user_token(self._secret, user, conversation)


class CommandTokens:
    """Tokens that a command prints; `{user}` and `{conversation}` in it are replaced.

    Example:
        ```python
        from simulator.client.tokens import CommandTokens

        tokens = CommandTokens("my-backend login {user} --conversation {conversation}")
        ```
    """

    def __init__(self, command: str) -> None:
        """Take the command.

        Raises:
            UsageError: It cannot be read, or asks for a token of no one.
        """
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--token-command {command!r} cannot be read: {error}") from error
        if not any("{user}" in word for word in self._words[1:]):
            raise UsageError(
                f"--token-command {command!r} makes the same token for all: put {{user}}, and {{conversation}} if it is needed, "
                "where the command takes them"
            )
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def token(self, user: str, conversation: str) -> str:
        """Return the token of a user who may call in a conversation.

        Raises:
            UsageError: The command fails, or prints nothing.
        """
        words = [word.replace("{user}", user).replace("{conversation}", conversation) for word in self._words]
        async with self._slots:
            try:
                child = await asyncio.create_subprocess_exec(
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
            except OSError as error:
                raise UsageError(f"--token-command: {words[0]} cannot be run: {error.strerror}") from error
            try:
                out, err = await asyncio.wait_for(child.communicate(), COMMAND_TIMEOUT_S)
            except TimeoutError as error:
                child.kill()
                raise UsageError(
                    f"--token-command: no token of {user} within {COMMAND_TIMEOUT_S:g} s"
                ) from error
        token = out.decode(errors="replace").strip()
        if child.returncode != 0 or not token:
            said = err.decode(errors="replace").strip()[-500:] or "it printed nothing"
            raise UsageError(f"--token-command: no token of {user}: exit code {child.returncode}: {said}")
        return token
