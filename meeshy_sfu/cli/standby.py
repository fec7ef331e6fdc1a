"""The process in reserve under ``meeshy serve``: loads everything, then becomes the service that the supervisor names.

A program of its own (``python -m meeshy_sfu.cli.standby``) that no module imports. It loads code and nothing else: settings,
files, the database and sockets are first looked at when it becomes a service, so nothing in it can be out of date.
"""

import json
import os
import socket
import sys
from contextlib import suppress

from meeshy_sfu.cli.supervisor import SUPERVISOR_VARIABLE


def main() -> int:
    """Load, wait for the supervisor's word, and run as the service it names; ends with 0 if it never comes."""
    link = socket.socket(fileno=int(os.environ[SUPERVISOR_VARIABLE]))
    # here, because loading them ahead of time is what this process is for
    import meeshy_sfu.gateway.app  # noqa: PLC0415
    import meeshy_sfu.gateway.banner  # noqa: PLC0415
    import meeshy_sfu.server.app  # noqa: PLC0415
    import meeshy_sfu.server.banner  # noqa: F401, PLC0415
    from meeshy_sfu.cli import main as run  # noqa: PLC0415

    line = _line(link)
    if not line:
        return 0
    part = json.loads(line)
    os.environ.clear()
    os.environ.update(part["environment"])
    # the service takes the descriptor over
    os.environ[SUPERVISOR_VARIABLE] = str(link.detach())
    return run(part["arguments"])


def _line(link: socket.socket) -> bytes:
    """Read a line; nothing when the supervisor is gone."""
    line = b""
    with suppress(ConnectionError):
        while not line.endswith(b"\n"):
            chunk = link.recv(65536)
            if not chunk:
                return b""
            line += chunk
        return line
    return b""


if __name__ == "__main__":
    sys.exit(main())
