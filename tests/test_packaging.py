"""What an installation gets: every dependency is pinned."""

from __future__ import annotations

import re
import tomllib

from tests.helpers import ROOT


def package_name(requirement: str) -> str:
    """Return the normalized name of a requirement."""
    return re.sub(r"[-_.]+", "-", re.split(r"[=<>;\s\[]", requirement)[0]).lower()


def test_the_constraints_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    needed = {package_name(line) for lines in (project["dependencies"], *extras) for line in lines}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {package_name(line) for line in lines if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
    assert needed - pinned == set()
    assert "torch==2.13.0" in lines
