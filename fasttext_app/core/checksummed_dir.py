"""Directories that are written completely or not at all, and verified when they are read.

A checksummed directory has a ``manifest.json`` with its format, the version of that format, and the
size and SHA-256 of every other file. It is written under a temporary name and then renamed, so
its path never holds a partial version, and an earlier version stays until the new one is complete.
Where the system can exchange two paths, there is a complete version at every moment, even if the
process is killed. What a killed process leaves has a hidden name, which nothing reads; the next
version that is written removes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fasttext_app._version import __version__
from fasttext_app.core.atomic_file import flush
from fasttext_app.core.digest import file_digest
from fasttext_app.errors import ArtifactError, CheckpointError

MANIFEST, CHECKPOINTS = "manifest.json", "checkpoints"

RENAME_EXCHANGE = 2
"""The flag of Linux' ``renameat2`` that exchanges two paths."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError)
"""Exceptions of reading malformed JSON, TOML, tensors or text."""


@contextmanager
def checksummed_dir(
    target: Path,
    kind: str,
    version: int,
    *,
    unchecked: Collection[str] = (),
    own: Collection[str] | None = None,
) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``target``, with a manifest, if the block succeeds.

    Args:
        target: the directory to create or replace.
        kind: the name of the format.
        version: the version of the format.
        unchecked: files without a checksum, which may be edited later.
        own: names of the files of this format: other entries of an earlier directory are kept;
            None: none is kept.

    Raises:
        OSError: the directory cannot be written; an earlier version is untouched.
    """
    with replaced_dir(target, own) as partial:
        yield partial
        _write_manifest(partial, kind, version, unchecked)


@contextmanager
def replaced_dir(target: Path, own: Collection[str] | None = None) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``target`` if the block succeeds.

    Args:
        target: the directory to create or replace.
        own: as for :func:`checksummed_dir`.

    Raises:
        OSError: the directory cannot be written; an earlier version is untouched.
    """
    partial = target.parent / f".{target.name}.{os.urandom(6).hex()}.partial"
    new_parents = [parent for parent in partial.parents if not parent.exists()]
    lock = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent):
            partial.mkdir()
            lock = os.open(partial, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)  # until this process ends: it is no leftover
        yield partial
        flush(partial.iterdir())
        with _locked(target.parent):
            if own is not None and target.is_dir():
                for entry in target.iterdir():
                    if entry.name not in own:
                        _link(entry, partial / entry.name)
            _replace(target, partial)
            _remove_leftovers(target)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(partial, ignore_errors=True)
        _remove_empty(new_parents)


def _remove_leftovers(target: Path) -> None:
    """Remove what killed processes left beside ``target``: directories that no process locks."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]+\.(partial|replaced)")
    for entry in target.parent.iterdir():
        if name.fullmatch(entry.name):
            with suppress(OSError):  # locked, or no directory
                handle = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(entry, ignore_errors=True)
                finally:
                    os.close(handle)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that are empty, the inner ones first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def sole_run(target: Path) -> Iterator[None]:
    """Let no other run write to ``target`` during this block.

    The lock is a file beside it, which is removed; that of a process that was killed holds nobody.

    Raises:
        ArtifactError: another run is writing there.
    """
    target = target.absolute()
    path = target.parent / f".{target.name}.lock"
    new_parents = [parent for parent in path.parents if not parent.exists()]
    handle, is_taken = None, False
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_taken = not path.exists() or path.stat().st_ino != os.fstat(handle).st_ino
        except BlockingIOError:
            is_taken = True
        except OSError:  # nothing can be written there, which saving will say
            is_taken = False
        if is_taken:
            raise ArtifactError(
                f"{target}: another run is writing there; wait for it, or choose another --output"
            )
        yield
    finally:
        if handle is not None:
            if not is_taken:
                path.unlink(missing_ok=True)
            os.close(handle)
        _remove_empty(new_parents)


def _write_manifest(directory: Path, kind: str, version: int, unchecked: Collection[str]) -> None:
    from fasttext_app.core.threads import in_background

    files = sorted(file for file in directory.iterdir() if file.name not in unchecked)
    with in_background(lambda: flush(files)):  # the disk is busy while the digests are computed
        manifest = {
            "format": kind,
            "format_version": version,
            "created_with": f"fasttext_app {__version__}",
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": file_digest(file)}
                for file in files
            },
        }
    write_json(directory / MANIFEST, manifest)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock under which entries of a directory are renamed."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _link(entry: Path, copy: Path) -> None:
    """Let an entry of a directory appear in another, without copying what it holds."""
    if entry.is_symlink():
        copy.symlink_to(entry.readlink())
    elif entry.is_dir():
        copy.mkdir()
        for inner in entry.iterdir():
            _link(inner, copy / inner.name)
        shutil.copystat(entry, copy)
    else:
        try:
            copy.hardlink_to(entry)
        except OSError:  # a file system without hard links
            shutil.copy2(entry, copy)


def _replace(target: Path, partial: Path) -> None:
    """Rename ``partial`` to ``target``; an earlier version may then be in its place."""
    if not target.exists():
        partial.rename(target)
        return
    if _exchange(target, partial):
        return
    old = partial.with_suffix(".replaced")
    target.rename(old)
    try:
        partial.rename(target)
    except BaseException:  # including KeyboardInterrupt
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; return False where the system or file system cannot."""
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except AttributeError:  # not Linux
        return False
    paths = os.fsencode(first.absolute()), os.fsencode(second.absolute())
    done: int = renameat2(-1, paths[0], -1, paths[1], RENAME_EXCHANGE)
    return done == 0


def verify_checksums(
    directory: Path, kind: str, version: int, required: Collection[str]
) -> set[str]:
    """Check a directory against its manifest; return the names of the files that it lists.

    Args:
        directory: a directory with a manifest.
        kind: the format that it should have.
        version: the newest version of the format that can be read.
        required: files that it must have.

    Raises:
        ArtifactError: the version is too new, or a file is missing or has changed.
        OSError, ValueError, KeyError, TypeError: the manifest is malformed or of another format.
    """
    manifest = read_json(directory / MANIFEST)
    if manifest.get("format") != kind:
        raise ValueError(f"{MANIFEST} does not describe a {kind}")
    format_version = manifest["format_version"]
    if not isinstance(format_version, int) or format_version < 1:
        raise ValueError(f"{MANIFEST} has the format version {format_version!r}")
    if format_version > version:
        raise ArtifactError(
            f"{directory}: the {kind.split()[-1]} has format version {format_version}, and this "
            f"program reads up to {version}; upgrade fasttext-app"
        )
    files = manifest["files"]
    _check_listing(files, required)
    for name, entry in files.items():
        _check_file(directory / name, entry, kind)
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
    remedy = f"copy the {kind.split()[-1]} again"
    if not path.is_file():
        raise ArtifactError(f"{path}: the file is missing; {remedy}")
    size = path.stat().st_size
    if size != entry.get("bytes"):
        raise ArtifactError(
            f"{path}: has {size} bytes, but {entry.get('bytes')} were saved; {remedy}"
        )
    if file_digest(path) != entry.get("sha256"):
        raise ArtifactError(f"{path}: has changed since it was saved (its checksum differs)")


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object, indented."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        OSError, ValueError: the file cannot be read as JSON.
        TypeError: it holds another JSON value.
    """
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    if "\\u" in text:  # half of a surrogate pair is no text
        json.dumps(document, ensure_ascii=False).encode()
    if not isinstance(document, dict):
        raise TypeError(f"{path.name} is not a JSON object")
    return document


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, newest first; a name is a number of steps."""
    checkpoints = [path for path in directory.glob("[0-9]*") if path.name.isdigit()]
    return sorted(checkpoints, key=lambda path: int(path.name), reverse=True)


def refuse_unfinished_run(output: str | Path) -> None:
    """Raise if a run did not finish in ``output``: a new run would delete its checkpoints.

    Raises:
        CheckpointError: there are checkpoints.
    """
    checkpoints = Path(output) / CHECKPOINTS
    if list_checkpoints(checkpoints):
        raise CheckpointError(
            f"{output}: has the checkpoints of an unfinished run; resume it with "
            f"--resume {output}, or delete {checkpoints}"
        )
