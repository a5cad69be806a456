"""Sizes in bytes, for people."""

from __future__ import annotations


def format_size(size: int) -> str:
    """Return a number of bytes in a unit that suits it.

    >>> [format_size(size) for size in (900, 56_100, 999_600, 14_600_000, 2_000_000_000)]
    ['0.9 kB', '56 kB', '1.0 MB', '14.6 MB', '2.0 GB']
    """
    if size < 999_500:
        return f"{size / 1e3:.1f} kB" if size < 1000 else f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:,.1f} MB" if size < 999_950_000 else f"{size / 1e9:,.1f} GB"
