"""The settings of a service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServeSettings:
    """Where a service listens, and the limits of one request."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free port."""
    workers: int = 1
    """Processes that answer."""
    max_texts: int = 10_000
    """Texts in one request."""
    max_bytes: int = 4 << 20
    """Size of the body of one request."""
