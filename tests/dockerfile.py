"""The instructions of the Dockerfile."""

from __future__ import annotations

import json
import shlex
from typing import NamedTuple

from tests.helpers import ROOT


class Stage(NamedTuple):
    """One stage: its instructions in order, as (NAME, arguments)."""

    image: str
    instructions: list[tuple[str, list[str]]]

    def all(self, name: str) -> list[list[str]]:
        """Return the arguments of each instruction of a name."""
        return [arguments for other, arguments in self.instructions if other == name]


def read_stages() -> list[Stage]:
    """Read the Dockerfile; the shell form of an instruction is split into words."""
    stages: list[Stage] = []
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append(Stage(rest.split()[0], []))
        elif line and name not in ("#", "ARG"):
            arguments = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
            if name == "HEALTHCHECK":
                arguments = json.loads(rest.removeprefix("CMD "))
            stages[-1].instructions.append((name, arguments))
    return stages
