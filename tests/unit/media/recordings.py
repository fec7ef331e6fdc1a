"""Requests that clients nobody here wrote have really sent, as test data."""

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"

CHROMIUM: dict[str, Any] = json.loads((DATA / "mediasoup-client-3.24.1-chromium-156.json").read_text())
PYMEDIASOUP: dict[str, Any] = json.loads((DATA / "pymediasoup-1.5.0.json").read_text())
