"""What several test modules need."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
SCRIPTS = ROOT / "scripts"
DATA = Path(__file__).parent / "data"
"""Files that tests read."""
