"""Files that hold users' data, for their owner alone: 0600 in directories of 0700, whatever the umask is.

Files that a user asks for by a path of their own, such as a JUnit file, get the rights that their umask leaves instead.
Leaf module; what is written is up to the caller.
"""

import logging
import os
import stat
from pathlib import Path

logger = logging.getLogger(__name__)

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
OTHERS = 0o077
_users_umask: int | None = None
"""The umask before :func:`make_new_files_private`; None while that was not called."""


def make_new_files_private() -> None:
    """Let every file that this process and its children make be for their owner alone. May be repeated."""
    global _users_umask  # noqa: PLW0603 - the umask itself is the process's, too
    former = os.umask(OTHERS)
    if former != OTHERS:
        _users_umask = former


def users_mode(mode: int) -> int:
    """Return what the user's own umask leaves of a mode, for files and directories that are not private."""
    umask = _users_umask
    if umask is None:
        umask = os.umask(OTHERS)
        os.umask(umask)
    return mode & ~umask


def make_users_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, with the rights that the user's umask leaves.

    Raises:
        OSError: It cannot be made.
    """
    if path.exists():
        return
    make_users_directory(path.parent)
    path.mkdir(exist_ok=True)
    path.chmod(users_mode(0o777))


def open_to_users_umask(path: Path) -> None:
    """Set the rights of a file or directory to those that the user's umask leaves; a link, or what others own, stays as it is."""
    try:
        found = path.lstat()
        if found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode):
            path.chmod(users_mode(0o777 if stat.S_ISDIR(found.st_mode) else 0o666))
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("%s keeps its rights: %s", path, error)


def make_private_directory(path: Path) -> Path:
    """Make a directory for its owner alone, and those above it that are missing; take rights on an existing one from others.

    Directories that are shared (/tmp) or hold more than ours (the home directory) are left as they are.

    Raises:
        OSError: It cannot be made.
    """
    missing = []
    above = path
    while not above.exists():
        missing.append(above)
        above = above.parent
    for directory in reversed(missing):
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    if not path.is_dir():
        # says so in the words of the system
        path.mkdir()
    close_to_others(path)
    return path


def make_private_file(path: Path) -> None:
    """Make a file for its owner alone if it is missing; take rights on an existing one from others.

    Raises:
        OSError: It cannot be made.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    close_to_others(path)


def close_to_others(path: Path) -> None:
    """Take all rights on what is ours and there from others; what is not ours, we could not change."""
    try:
        found = path.stat()
        if not found.st_mode & OTHERS or found.st_uid != os.geteuid() or _is_shared(path, found):
            return
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
    except FileNotFoundError:
        return
    except OSError as error:
        # some file systems know no modes
        logger.warning("%s stays open to other users of this machine: %s", path, error)


def _is_shared(path: Path, found: os.stat_result) -> bool:
    if not stat.S_ISDIR(found.st_mode):
        return not stat.S_ISREG(found.st_mode)
    known = (Path("/"), Path.home())
    return bool(found.st_mode & stat.S_ISVTX) or path.resolve() in known
