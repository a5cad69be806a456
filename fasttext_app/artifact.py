"""A trained model on disk: a folder of open files, written whole or not at all.

    manifest.json        format, format version, and the size and SHA-256 of every other file
    model.safetensors    table [V + bucket, D], weight [C, D], bias [C] (and idf [V + bucket])
    config.toml          the resolved configuration
    vocabulary.parquet   columns word, count; the row number is the table row
    labels.json          names and counts; the position is the class
    metrics.json         how well it did on validation
    history.json         what each epoch came to
    data.json            what it was trained on
    calibration.json     only where calibrated: its temperature and thresholds, and their rows
    tokenizer.json       only for hf: tokenizers
    README.md            the model card (not checksummed: edit it as you like)

Nothing in it is executable: no pickle, so a model from a stranger is safe to load. The folder is
written under a temporary name beside its place and renamed, so the place never holds half a model,
and what was there stays until the new one is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import SafetensorError

from fasttext_app._version import __version__
from fasttext_app.calibration import check_record
from fasttext_app.config import Config, dump_config, resolve
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.model_card import model_card
from fasttext_app.product_quantizer import CODES, Coded, Quantizer
from fasttext_app.text.strings import number_array, numbers_of
from fasttext_app.text.vocabulary import LabelSet, Vocabulary

__all__ = ["FORMAT_VERSION", "Artifact", "check_target", "load_artifact", "save_artifact"]

FORMAT, FORMAT_VERSION = "fasttext_app model", 1
MANIFEST, CARD, CALIBRATION = "manifest.json", "README.md", "calibration.json"
DOCUMENTS = ("config.toml", "labels.json", "metrics.json", "history.json", "data.json")

OWN = {MANIFEST, CARD, CALIBRATION, "model.safetensors", "vocabulary.parquet", "tokenizer.json"}
OWN |= set(DOCUMENTS)

TENSOR_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RecursionError)
"""What Python raises on reading malformed JSON, TOML and text."""

MAPPED = ("table", "codes")

Tensors = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Artifact:
    """All that a model directory holds."""

    config: Config
    vocabulary: Vocabulary
    labels: LabelSet
    tensors: Tensors
    metrics: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_asset: bytes | None = None

    @property
    def table(self) -> npt.NDArray[Any] | Coded:
        """The table, [V, D]: an array, or codes that give its rows when they are asked for."""
        if "codes" not in self.tensors:
            return self.tensors["table"]
        quantizer = Quantizer(self.config.model.dim, self.tensors["centroids"])
        norms = self.tensors.get("norm_codes"), self.tensors.get("norm_centroids")
        return Coded(self.tensors["codes"], quantizer, *norms)


def check_target(path: str | Path) -> None:
    """Refuse a place where a model could not be saved, before the work of training it.

    Raises:
        ArtifactError: the place is a file, a folder with something else in it, or not writable.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_dir():
        raise ArtifactError(f"{path}: is a file; choose another --output")
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise ArtifactError(
            f"{path}: is a folder that holds something else; choose another --output"
        )
    others = sorted({entry.name for entry in target.iterdir()} - OWN) if target.is_dir() else []
    if others:
        raise ArtifactError(
            f"{path}: replacing the model would delete {others[0]}, which is not part of it; "
            "move it away, or choose another --output"
        )
    existing = next(parent for parent in target.parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ArtifactError(f"{path}: {existing} is not a folder that can be written to")


def save_artifact(artifact: Artifact, path: str | Path) -> None:
    """Write a model directory; an earlier model in that place is replaced once this one is whole.

    Raises:
        ArtifactError: the place cannot be used, or writing failed; an earlier model is untouched.
    """
    check_target(path)
    target = Path(path).resolve()
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        _write_files(artifact, partial)
        _put_in_place(partial, target)
    except (OSError, SafetensorError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path}: the model could not be saved: {reason}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_artifact(path: str | Path) -> Artifact:
    """Read a model directory, after checking that it is whole and unchanged.

    Raises:
        ArtifactError: it is missing, damaged, edited, or of a newer format.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    files: dict[str, Any] = manifest["files"]
    with _reading(folder):
        for name, entry in files.items():
            _check_file(folder / name, entry)
        config = resolve(tomllib.loads((folder / "config.toml").read_text(encoding="utf-8")))
        labels = _read_json(folder / "labels.json")
        asset = folder / "tokenizer.json"
        artifact = Artifact(
            config=config,
            vocabulary=_read_vocabulary(folder / "vocabulary.parquet"),
            labels=LabelSet(tuple(labels["names"]), tuple(labels["counts"])),
            tensors=_read_tensors(folder / "model.safetensors"),
            metrics=_read_json(folder / "metrics.json"),
            history=_read_json(folder / "history.json"),
            data=_read_json(folder / "data.json"),
            calibration=_read_json(folder / CALIBRATION) if CALIBRATION in files else {},
            tokenizer_asset=asset.read_bytes() if asset.name in files else None,
        )
        check_record(artifact.calibration, artifact.labels.names)
    _check_shapes(folder, artifact)
    return artifact


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn what a reader of a malformed file raises into one clear error."""
    try:
        yield
    except (*UNREADABLE, SafetensorError, pa.ArrowException) as error:
        raise ArtifactError(f"{folder}: the model cannot be read: {error}") from None
    except ConfigError as error:
        raise ArtifactError(f"{folder}/config.toml: {error}") from None


def _write_files(artifact: Artifact, folder: Path) -> None:
    import pyarrow.parquet as pq
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(value) for name, value in artifact.tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    counts = number_array(artifact.vocabulary.counts)
    vocabulary = {"word": artifact.vocabulary.words, "count": counts}
    pq.write_table(pa.table(vocabulary), folder / "vocabulary.parquet")
    (folder / "config.toml").write_text(dump_config(artifact.config), encoding="utf-8")
    shutil.copymode(folder / "config.toml", folder / "model.safetensors")  # it was made 0600
    labels = {"names": artifact.labels.names, "counts": artifact.labels.counts}
    documents = {
        "labels.json": labels,
        "metrics.json": artifact.metrics,
        "history.json": artifact.history,
        "data.json": artifact.data,
        **({CALIBRATION: artifact.calibration} if artifact.calibration else {}),
    }
    for name, document in documents.items():
        _write_json(folder / name, document)
    if artifact.tokenizer_asset is not None:
        (folder / "tokenizer.json").write_bytes(artifact.tokenizer_asset)
    written = sorted(file for file in folder.iterdir())
    (folder / CARD).write_text(model_card(artifact, MANIFEST), encoding="utf-8")
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "created_with": f"fasttext_app {__version__}",
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in written
        },
    }
    _write_json(folder / MANIFEST, manifest)
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


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


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise TypeError(f"{path.name} is not a JSON object")
    return document


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.exists():
        raise ArtifactError(f"{folder}: no such model directory; train one with --output {folder}")
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder}: not a model directory (there is no {MANIFEST} in it)")
    with _reading(folder):
        manifest = _read_json(folder / MANIFEST)
        if manifest.get("format") != FORMAT:
            raise ValueError(f"{MANIFEST} does not describe a {FORMAT}")
        version = manifest["format_version"]
        if not isinstance(version, int) or version < 1:
            raise ValueError(f"{MANIFEST} has the format version {version!r}")
        if version > FORMAT_VERSION:
            raise ArtifactError(
                f"{folder}: the model has format version {version}, and this program reads up to "
                f"{FORMAT_VERSION}; upgrade fasttext-app"
            )
        _check_listing(manifest["files"])
    return manifest


def _check_listing(files: Any) -> None:
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise TypeError(f"the files in {MANIFEST} are not JSON objects")
    outside = [name for name in files if Path(name).name != name]
    if outside:
        raise ValueError(f"{MANIFEST} lists {outside[0]!r}, which is outside the folder")
    missing = sorted({"model.safetensors", "vocabulary.parquet", *DOCUMENTS} - set(files))
    if missing:
        raise ValueError(f"{MANIFEST} does not list {', '.join(missing)}")


def _check_file(path: Path, entry: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path}: the file is missing; copy the model again")
    found = path.stat().st_size
    if found != entry.get("bytes"):
        raise ArtifactError(
            f"{path}: has {found} bytes where {entry.get('bytes')} were saved; copy the model again"
        )
    if _sha256(path) != entry.get("sha256"):
        raise ArtifactError(f"{path}: has changed since it was saved (its checksum differs)")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _read_vocabulary(path: Path) -> Vocabulary:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:  # read_table() would import much more
        table = file.read(columns=["word", "count"])
    words = table["word"].combine_chunks()
    if words.type != pa.string():
        words = words.cast(pa.string())
    return Vocabulary(words, numbers_of(table["count"].combine_chunks()).astype(np.int64))


def _read_tensors(path: Path) -> Tensors:
    """Read the tensors of a safetensors file; the table is mapped into memory, not copied.

    The library checks the file: its header is whole, and its tensors lie within it, end to end.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy"):
        pass
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + size).view(np.ndarray)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in TENSOR_TYPES:
            raise ValueError(f"the tensor {name} is of type {entry['dtype']}")
        start, end = entry["data_offsets"]
        raw = data[start:end] if name in MAPPED else data[start:end].copy()
        tensors[name] = raw.view(TENSOR_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def _table_shapes(tensors: Tensors, rows: int, dim: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return what the table is made of: numbers, numbers with scales, or codes."""
    if "codes" not in tensors:
        if "scale" not in tensors:
            return {"table": ((rows, dim), "float32")}
        return {"table": ((rows, dim), "int8"), "scale": ((rows,), "float32")}
    width = tensors["centroids"].shape[-1] if "centroids" in tensors else 1
    parts = -(-dim // max(width, 1))
    coded: dict[str, tuple[tuple[int, ...], str]] = {
        "codes": ((rows, parts), "uint8"),
        "centroids": ((parts, CODES, width), "float32"),
    }
    if "norm_codes" in tensors:
        coded |= {"norm_codes": ((rows,), "uint8"), "norm_centroids": ((CODES,), "float32")}
    return coded


def _check_shapes(folder: Path, artifact: Artifact) -> None:
    buckets = artifact.tensors.get("buckets")
    hashed = artifact.config.text.hashed_rows if buckets is None else len(buckets)
    rows = max(len(artifact.vocabulary) + hashed, 1)
    dim, classes = artifact.config.model.dim, len(artifact.labels)
    expected: dict[str, tuple[tuple[int, ...], str]] = {
        **_table_shapes(artifact.tensors, rows, dim),
        "weight": ((classes, dim), "float32"),
        "bias": ((classes,), "float32"),
    }
    if artifact.config.text.term_weighting == "tfidf":
        expected["idf"] = ((rows,), "float32")
    if buckets is not None:
        expected["buckets"] = ((len(buckets),), "int32")
    found = {name: (value.shape, str(value.dtype)) for name, value in artifact.tensors.items()}
    if found != expected:
        raise ArtifactError(
            f"{folder}: the tensors {found} do not fit the configuration, which needs {expected}"
        )
    if buckets is not None and len(buckets):
        ascending = bool((np.diff(buckets) > 0).all())
        if not ascending or buckets[0] < 0 or buckets[-1] >= artifact.config.text.hashed_rows:
            raise ArtifactError(
                f"{folder}: the buckets are not ascending numbers of the hash space"
            )
    if len(artifact.labels.counts) != classes:
        raise ArtifactError(f"{folder}/labels.json: has not one count for each name")
    if artifact.config.text.tokenizer.startswith("hf:") and artifact.tokenizer_asset is None:
        raise ArtifactError(f"{folder}: tokenizer.json is missing; copy the model again")
