"""Where the programs of the distribution's Prometheus are; `.ci/setup` unpacks them, and nobody needs to install them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_UNPACKED = Path(__file__).resolve().parents[1] / ".tools" / "prometheus" / "usr" / "bin"


def program(name: str) -> str:
    """Return the path of promtool or prometheus; skip without it, or fail in CI."""
    found = shutil.which(name) or shutil.which(name, path=_UNPACKED)
    if found is None:
        reason = f"{name} is missing: sudo apt-get install -y prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
