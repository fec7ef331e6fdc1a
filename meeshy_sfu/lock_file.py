"""Files that one process at a time holds, so that two never work on the same thing.

The kernel lets go of such a file when its holder dies, however it dies. What must not be done twice is known to those
who take one.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meeshy_sfu.errors import StartError
from meeshy_sfu.private_files import make_private_directory

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


@dataclass(frozen=True, slots=True)
class Holder:
    """Which process holds something; None where it does not say."""

    host: str | None = None
    pid: int | None = None

    @classmethod
    def this_process(cls) -> Self:
        """Return the holder that this process would be."""
        return cls(socket.gethostname(), os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid or 'unknown'} on {self.host or 'an unknown host'}"


class HeldError(StartError):
    """Another process holds what only one may have."""

    def __init__(self, what: str, holder: Holder, remedy: str) -> None:
        super().__init__(f"{what} is in use by {holder}; {remedy}")
        self.holder = holder


class LockFile:
    """A file that this process holds until it closes it, or ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, what: str, remedy: str) -> LockFile:
        """Hold a file, made if need be.

        Args:
            path: Which one. It stays when it is let go of: removing it would let two hold files of one name.
            what: What is held by it, for the refusal.
            remedy: What to do when another process has it, for the refusal.

        Raises:
            HeldError: Another process holds it.
            StartError: It cannot be made.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"cannot make the lock {path}: {error.strerror}; give this user the directory, or set "
                "MEESHY_STATE_DIR or DATABASE_URL"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise HeldError(what, holder, remedy) from None
        _write_holder(descriptor)
        return cls(descriptor)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def hold_state(state_dir: Path, service: str) -> LockFile:
    """Keep others of the same service away from a state directory, with its logs and pid files.

    Raises:
        HeldError: Another process has it.
    """
    try:
        make_private_directory(state_dir)
    except OSError as error:
        raise StartError(
            f"cannot make the state directory {state_dir}: {error.strerror}; set MEESHY_STATE_DIR to another"
        ) from None
    return LockFile.take(
        state_dir / f"{service}.lock",
        what=f"the state directory {state_dir}",
        remedy="end that process first, or set MEESHY_STATE_DIR to another directory",
    )


def _write_holder(descriptor: int) -> None:
    me = Holder.this_process()
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"host": me.host, "pid": me.pid}).encode() + b"\n", 0)
    except OSError:
        # a full disk: it is held all the same, by an unknown process
        return


def _holder(descriptor: int) -> Holder:
    try:
        told = json.loads(os.pread(descriptor, 1024, 0))
        return Holder(str(told["host"]), int(told["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()
