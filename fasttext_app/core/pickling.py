"""What an object pickles as: itself, without the values that it can compute again."""

from __future__ import annotations

from functools import cached_property
from typing import Any


def state_without_caches(instance: Any) -> dict[str, Any]:
    """Return the attributes of an object, without its cached properties; for ``__getstate__``."""
    kind = type(instance)
    return {
        name: value
        for name, value in vars(instance).items()
        if not isinstance(getattr(kind, name, None), cached_property)
    }
