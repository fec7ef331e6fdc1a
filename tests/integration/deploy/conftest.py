"""Fixtures of the monitoring tests."""

from __future__ import annotations

from pathlib import Path

from tests.integration.gateway.conftest import (  # fixtures used here too
    caller,
    gateway,
    http,
    media,
    patience,
    start_gateway,
    start_media,
)

__all__ = ["caller", "gateway", "http", "media", "patience", "start_gateway", "start_media"]

ROOT = Path(__file__).resolve().parents[3]
