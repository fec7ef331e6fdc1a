"""A child process of bots that closes its standard input after one order, and is killed a moment later."""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def main() -> None:
    order = json.loads(sys.stdin.readline())
    os.close(0)
    os.write(1, json.dumps({"id": order["id"], "ok": os.getpid()}).encode() + b"\n")
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
