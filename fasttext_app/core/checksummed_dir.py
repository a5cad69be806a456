"""Folders that are written whole or not at all, and checked when they are read.

A sealed folder has a ``manifest.json`` that names its kind, the version of its format, and the size
and SHA-256 of every other file. It is written under a temporary name beside its place and renamed,
so the place never holds half of it, and what was there stays until the new one is complete.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fasttext_app._version import __version__
from fasttext_app.errors import ArtifactError, CheckpointError

MANIFEST, CHECKPOINTS = "manifest.json", "checkpoints"

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError)
"""What Python raises on reading malformed JSON, TOML, tensors and text."""


@contextmanager
def written(target: Path) -> Iterator[Path]:
    """Yield a temporary folder, which takes the place of ``target`` if all goes well.

    Raises:
        OSError: it cannot be written there; what was there is untouched.
    """
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in partial.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        with _locked(target.parent):
            _put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process puts something in place in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _put_in_place(partial: Path, target: Path) -> None:
    old = target.parent / f".{target.name}.{os.getpid()}.replaced"
    if not target.exists():
        partial.rename(target)
        return
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:  # Ctrl-C too
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def seal(folder: Path, kind: str, version: int, *, unchecked: Collection[str] = ()) -> None:
    """Write the manifest of a folder, which then may not change but for its ``unchecked`` files."""
    files = sorted(file for file in folder.iterdir() if file.name not in unchecked)
    manifest = {
        "format": kind,
        "format_version": version,
        "created_with": f"fasttext_app {__version__}",
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in files
        },
    }
    write_json(folder / MANIFEST, manifest)


def verify_checksums(folder: Path, kind: str, version: int, required: Collection[str]) -> set[str]:
    """Check a folder against its manifest; return the names of its checked files.

    Args:
        folder: has a manifest.
        kind: what it should be.
        version: the newest version of the format that can be read.
        required: files that it must have.

    Raises:
        ArtifactError: it is of a newer version, or a file is missing or has changed.
        OSError, ValueError, KeyError, TypeError: the manifest is malformed, or of another kind.
    """
    manifest = read_json(folder / MANIFEST)
    if manifest.get("format") != kind:
        raise ValueError(f"{MANIFEST} does not describe a {kind}")
    found = manifest["format_version"]
    if not isinstance(found, int) or found < 1:
        raise ValueError(f"{MANIFEST} has the format version {found!r}")
    if found > version:
        raise ArtifactError(
            f"{folder}: the {kind.split()[-1]} has format version {found}, and this program reads "
            f"up to {version}; upgrade fasttext-app"
        )
    files = manifest["files"]
    _check_listing(files, required)
    for name, entry in files.items():
        _check_file(folder / name, entry, kind)
    return set(files)


def _check_listing(files: Any, required: Collection[str]) -> None:
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise TypeError(f"the files in {MANIFEST} are not JSON objects")
    outside = [name for name in files if Path(name).name != name]
    if outside:
        raise ValueError(f"{MANIFEST} lists {outside[0]!r}, which is outside the folder")
    missing = sorted(set(required) - set(files))
    if missing:
        raise ValueError(f"{MANIFEST} does not list {', '.join(missing)}")


def _check_file(path: Path, entry: Mapping[str, Any], kind: str) -> None:
    again = f"copy the {kind.split()[-1]} again"
    if not path.is_file():
        raise ArtifactError(f"{path}: the file is missing; {again}")
    found = path.stat().st_size
    if found != entry.get("bytes"):
        raise ArtifactError(
            f"{path}: has {found} bytes where {entry.get('bytes')} were saved; {again}"
        )
    if _sha256(path) != entry.get("sha256"):
        raise ArtifactError(f"{path}: has changed since it was saved (its checksum differs)")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises what ``json`` raises, and TypeError where it is something else."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise TypeError(f"{path.name} is not a JSON object")
    return document


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first."""
    found = [entry for entry in folder.glob("[0-9]*") if entry.name.isdigit()]
    return sorted(found, key=lambda entry: int(entry.name), reverse=True)


def refuse_unfinished(output: str | Path) -> None:
    """Refuse to begin a run where another one did not end: its checkpoints would be lost.

    Raises:
        CheckpointError: there are checkpoints.
    """
    folder = Path(output) / CHECKPOINTS
    if list_checkpoints(folder):
        raise CheckpointError(
            f"{output}: has the checkpoints of a run that did not end; go on with it by "
            f"--resume {output}, or delete {folder}"
        )
