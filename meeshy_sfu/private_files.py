"""Files that hold users' data, for their owner alone: 0600 in directories of 0700, whatever the umask is.

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
