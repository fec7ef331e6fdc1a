"""A child process of bots that is killed in the middle of its second answer."""

from __future__ import annotations

import json
import os
import signal
import sys


def main() -> None:
    order = json.loads(sys.stdin.readline())
    os.write(1, json.dumps({"id": order["id"], "ok": os.getpid()}).encode() + b"\n")
    sys.stdin.readline()
    os.write(1, b'{"id": 2, "ok": {"streams": [')
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
