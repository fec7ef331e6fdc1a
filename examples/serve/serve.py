"""Start a media server, make a call on it, ask how it is, end it."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import jwt

secret = secrets.token_hex(32)
now = int(time.time())
token = jwt.encode(
    {"aud": "meeshy-media", "sub": "example", "role": "service", "iat": now, "exp": now + 60},
    secret,
    algorithm="HS256",
)


def ask(method: str, url: str) -> dict:
    """Send a request to the server and read its answer."""
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


with tempfile.TemporaryDirectory() as directory:
    port_file = Path(directory, "url")
    environment = os.environ | {
        "MEESHY_PORT": "0",  # any free one
        "MEESHY_RTC_MIN_PORT": "0",  # the same for media
        "MEESHY_JWT_SECRET": secret,
        "MEESHY_STATE_DIR": directory,
    }
    command = [sys.executable, "-m", "meeshy_sfu", "serve", "media", "--port-file", str(port_file)]
    with subprocess.Popen(command, env=environment) as server:
        while not port_file.exists():
            if server.poll() is not None:
                sys.exit("the server did not start; it has said why")
            time.sleep(0.05)
        url = port_file.read_text().strip()
        room = ask("POST", f"{url}/api/rooms/demo/create")["data"]
        print("call made:", room["roomId"])
        print("codecs:", ", ".join(codec["mimeType"] for codec in room["rtpCapabilities"]["codecs"]))
        print("health:", ask("GET", f"{url}/health")["status"])
        server.terminate()
    print("server ended with code", server.returncode)
