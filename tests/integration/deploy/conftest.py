"""The distribution's Prometheus: where its programs are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.gateway.conftest import (  # fixtures used here too
    caller,
    gateway,
    http,
    media,
    start_gateway,
    start_media,
)

__all__ = ["caller", "gateway", "http", "media", "start_gateway", "start_media"]

ROOT = Path(__file__).resolve().parents[3]
UNPACKED = ROOT / ".tools" / "prometheus" / "usr" / "bin"


def program(name: str) -> str:
    """Return the path of promtool or prometheus; skip without it, or fail in CI."""
    found = shutil.which(name) or shutil.which(name, path=UNPACKED)
    if found is None:
        reason = f"{name} is missing: sudo apt-get install -y prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
