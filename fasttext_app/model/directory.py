"""The model directory: a trained model on disk, in open formats.

    manifest.json        format, format version, and the size and SHA-256 of every other file
    model.safetensors    table [V + bucket, D], weight [C, D], bias [C] (and idf [V + bucket]);
                         for adaptive, head and tails instead of weight and bias
    config.toml          the resolved configuration
    vocabulary.parquet   columns word, count; row i is row i of the table
    labels.json          names and counts; label i is class i
    metrics.json         validation metrics of the best epoch
    history.json         metrics, seconds and speed of each epoch
    data.json            what the model was trained on
    run.json             settings, data, versions and seed of the training run
    calibration.json     only for a calibrated model: temperature, thresholds and their rows
    tokenizer.json       only for hf: tokenizers
    README.md            the model card (not checksummed: edit it freely)
    confusion.svg        only with the scores of an evaluation: a picture for the card

Nothing in it is executable: no pickle, so a model from a stranger is safe to load. It is written
completely or not at all, and verified when it is read; see ``core/checksummed_dir.py``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError

from fasttext_app.config.loading import dump_config, parse_toml, resolve
from fasttext_app.config.schema import Config
from fasttext_app.core.arrow import to_arrow, to_numpy
from fasttext_app.core.checksummed_dir import (
    CHECKPOINTS,
    MANIFEST,
    UNREADABLE,
    checksummed_dir,
    read_json,
    refuse_unfinished_run,
    replaced_dir,
    verify_checksums,
    write_json,
)
from fasttext_app.core.documents import check_document
from fasttext_app.core.threads import in_background
from fasttext_app.data.labels import Labels
from fasttext_app.data.parquet_pages import EXPANSION, PageSizes, open_parquet
from fasttext_app.errors import ArtifactError, ConfigError
from fasttext_app.model.adaptive_softmax import tensor_shapes
from fasttext_app.model.artifact import OUTPUT, Artifact
from fasttext_app.model.calibration import check_record
from fasttext_app.model.documents import CARD, MODELS, PICTURE
from fasttext_app.model.product_quantizer import CODES, Coded
from fasttext_app.model.tensor_file import Tensors, read_tensors, write_tensors
from fasttext_app.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from fasttext_app.model.card import CardDetails

FORMAT, FORMAT_VERSION = "fasttext_app model", 1
CALIBRATION = "calibration.json"
DOCUMENTS = ("config.toml", "labels.json", "metrics.json", "history.json", "data.json")
REQUIRED = ("model.safetensors", "vocabulary.parquet", *DOCUMENTS)

UNCHECKED = {CARD, PICTURE}
MODEL_FILES = {MANIFEST, CALIBRATION, "run.json", "tokenizer.json", *REQUIRED, *UNCHECKED}
OWN_ENTRIES = {*MODEL_FILES, CHECKPOINTS}
"""What a new model replaces in the directory of an earlier one; other files are kept."""


def check_target(path: str | Path, *, ends_run: bool = False) -> None:
    """Raise if a model cannot be saved at a path, before the work of training it.

    Args:
        path: the path.
        ends_run: whether the checkpoints there belong to the run that saves the model.

    Raises:
        ArtifactError: the path is a file, a folder with other files, or not writable.
        CheckpointError: the path has the checkpoints of an unfinished run.
    """
    if not ends_run:
        refuse_unfinished_run(path)
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise ArtifactError(f"{path}: is a link that leads to itself; choose another folder")
    if target.exists() and not target.is_dir():
        raise ArtifactError(f"{path}: is a file; choose another folder")
    names = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    if names - {CHECKPOINTS} and MANIFEST not in names:
        raise ArtifactError(f"{path}: is a folder with other files; choose another folder")
    existing = next(parent for parent in target.parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ArtifactError(f"{path}: {existing} is not a writable folder")


def save_artifact(
    artifact: Artifact,
    path: str | Path,
    details: CardDetails | None = None,
    *,
    ends_run: bool = False,
) -> None:
    """Write a model directory; an earlier model there stays until this one is complete.

    Files beside an earlier model that are not part of it are kept. What its files are links to is
    never written.

    Args:
        artifact: the model.
        path: the path.
        details: what else the card says.
        ends_run: as for :func:`check_target`.

    Raises:
        ArtifactError: the path cannot be used, or writing failed; an earlier model is untouched.
        CheckpointError: the path has the checkpoints of an unfinished run.
    """
    from fasttext_app.model.card import NO_DETAILS, card_files

    check_target(path, ends_run=ends_run)
    target = Path(path).resolve()
    with (
        _saving(path),
        checksummed_dir(
            target, FORMAT, FORMAT_VERSION, unchecked=UNCHECKED, own=OWN_ENTRIES
        ) as folder,
    ):
        _write_files(artifact, folder)
        for name, text in card_files(artifact, MANIFEST, details or NO_DETAILS).items():
            (folder / name).write_text(text, encoding="utf-8")


def copy_model(source: str | Path, path: str | Path) -> None:
    """Copy a model directory after verifying it; links become files.

    Raises:
        ArtifactError: the model is damaged, or cannot be written there; an earlier model is
            untouched.
        CheckpointError: the path has the checkpoints of an unfinished run.
    """
    check_target(path)
    load_artifact(source)
    with _saving(path), replaced_dir(Path(path).resolve(), OWN_ENTRIES) as folder:
        for name in MODEL_FILES:
            if (file := Path(source, name)).is_file():
                shutil.copyfile(file, folder / name)


@contextmanager
def _saving(path: str | Path) -> Iterator[None]:
    """Turn every error of writing a model into an ArtifactError."""
    try:
        yield
    except (OSError, SafetensorError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path}: the model could not be saved: {reason}") from None


def load_artifact(path: str | Path, *, packages: bool = False) -> Artifact:
    """Read a model directory after verifying that it is complete and unchanged.

    If another model takes its place meanwhile, that one is read.

    Args:
        path: the path.
        packages: whether its tokenizer may run an optional package.

    Raises:
        ArtifactError: it is missing, damaged, edited, or of a newer format.
    """
    folder = Path(path)
    if not folder.exists():
        raise ArtifactError(f"{folder}: no such model directory; train one with --output {folder}")
    if folder.is_file():
        raise ArtifactError(
            f"{folder}: is a file, not a model directory; fasttext_app.load reads fastText's own"
        )
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(f"{folder}: not a model directory (there is no {MANIFEST} in it)")
    before = _identity(folder)
    try:
        artifact = _read_files(folder, packages)
    except ArtifactError:
        if _identity(folder) == before:
            raise
    else:
        if _identity(folder) == before:
            return artifact
    return load_artifact(path, packages=packages)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return numbers that change if another directory takes the place of this one."""
    with suppress(OSError):
        status = folder.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _read_files(folder: Path, packages: bool) -> Artifact:
    verify = partial(verify_checksums, folder, FORMAT, FORMAT_VERSION, REQUIRED)
    with _reading(folder), in_background(verify) as verified:
        config = resolve(parse_toml((folder / "config.toml").read_text(encoding="utf-8")))
        labels = _read_document(folder / "labels.json")
        tensors = read_tensors(folder / "model.safetensors")
        rows = len(tensors["codes" if "codes" in tensors else "table"])
        vocabulary = _read_vocabulary(folder / "vocabulary.parquet", rows)
        asset, files = folder / "tokenizer.json", verified()
        artifact = Artifact(
            config=config,
            vocabulary=vocabulary,
            labels=Labels(tuple(labels["names"]), tuple(labels["counts"])),
            tensors=tensors,
            metrics=_read_document(folder / "metrics.json"),
            history=_read_document(folder / "history.json"),
            data=_read_document(folder / "data.json"),
            calibration=_read_document(folder / CALIBRATION) if CALIBRATION in files else {},
            tokenizer_asset=asset.read_bytes() if asset.name in files else None,
            run=_read_document(folder / "run.json") if "run.json" in files else None,
            sealed=not packages,
        )
        check_record(artifact.calibration, artifact.labels.names)
    _check_shapes(folder, artifact)
    return artifact


def stored_dim(path: str | Path, config: Config) -> int:
    """Return the number of columns of a model's table, without reading the rest of the model.

    Raises:
        ArtifactError: the tensors cannot be read.
    """
    folder = Path(path)
    with _reading(folder):
        weight = read_tensors(folder / "model.safetensors").get("weight")
        return config.model.dim if weight is None else int(weight.shape[1])


def weights_digest(path: str | Path) -> str:
    """Return the SHA-256 of a model's weights, from its manifest."""
    digest: str = read_json(Path(path) / MANIFEST)["files"]["model.safetensors"]["sha256"]
    return digest


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn every error of reading a malformed file into an ArtifactError."""
    try:
        yield
    except (*UNREADABLE, pa.ArrowException) as error:
        raise ArtifactError(f"{folder}: the model cannot be read: {error}") from None
    except ConfigError as error:
        raise ArtifactError(f"{folder}/config.toml: {error}") from None


def _write_files(artifact: Artifact, folder: Path) -> None:
    import pyarrow.parquet as pq

    write_tensors(artifact.tensors, folder / "model.safetensors")
    counts = to_arrow(artifact.vocabulary.counts)
    vocabulary = {"word": artifact.vocabulary.words, "count": counts}
    pq.write_table(pa.table(vocabulary), folder / "vocabulary.parquet")
    (folder / "config.toml").write_text(dump_config(artifact.config), encoding="utf-8")
    labels = {"names": artifact.labels.names, "counts": artifact.labels.counts}
    documents = {
        "labels.json": labels,
        "metrics.json": artifact.metrics,
        "history.json": artifact.history,
        "data.json": artifact.data,
        **({CALIBRATION: artifact.calibration} if artifact.calibration else {}),
    }
    if artifact.run is not None:
        documents["run.json"] = artifact.run
    for name, document in documents.items():
        write_json(folder / name, document)
    if artifact.tokenizer_asset is not None:
        (folder / "tokenizer.json").write_bytes(artifact.tokenizer_asset)


def _read_document(path: Path) -> dict[str, Any]:
    document = read_json(path)
    check_document(document, MODELS[path.name], path.name)
    return document


def _read_vocabulary(path: Path, rows: int) -> Vocabulary:
    """Read the vocabulary of a table with this number of rows."""
    columns = ["word", "count"]
    # As a dictionary, a word that a small file repeats many times is in memory once.
    with open_parquet(path, read_dictionary=["word"]) as file:  # read_table() imports much more
        if file.metadata.num_rows > rows:
            raise ValueError(f"{path.name}: has more words than the table has rows")
        sizes = PageSizes(path, file, columns)
        size = sum(sizes.dictionary_bytes(group) for group in range(file.num_row_groups))
        if size > EXPANSION * path.stat().st_size:
            raise ValueError(f"{path.name}: takes far more memory than the file")
        table = file.read(columns=columns, use_threads=False)  # threads take more memory
    words, counts = table["word"].combine_chunks(), table["count"].combine_chunks()
    if words.null_count or counts.null_count:
        raise ValueError(f"{path.name}: a word or a count is missing")
    if pa.types.is_dictionary(words.type):
        indices = to_numpy(words.indices)
        if np.array_equal(indices, np.arange(len(words.dictionary))):
            words = words.dictionary  # as a model is saved; take() would import pyarrow.compute
        elif len(np.unique(indices)) < len(indices):
            raise ValueError(f"{path.name}: has a word twice")
        else:
            words = words.dictionary.take(words.indices)
    if words.type != pa.string():
        words = words.cast(pa.string())
    if not pa.types.is_integer(counts.type):
        raise ValueError(f"{path.name}: the counts are not whole numbers")
    vocabulary = Vocabulary(words, to_numpy(counts).astype(np.int64))
    if len(vocabulary) and vocabulary.counts.min() < 0:
        raise ValueError(f"{path.name}: a count is negative")
    return vocabulary


Shapes = dict[str, tuple[tuple[int, ...], str]]


def _table_shapes(tensors: Tensors, rows: int, dim: int) -> Shapes:
    """Return the tensors of the table: floats, integers with scales, or product codes."""
    if "codes" in tensors:
        return _coded_shapes(tensors, rows, dim)
    if "scale" not in tensors:
        return {"table": ((rows, dim), "float32")}
    return {"table": ((rows, dim), "int8"), "scale": ((rows,), "float32")}


def _coded_shapes(tensors: Tensors, rows: int, dim: int, prefix: str = "") -> Shapes:
    centroids = tensors.get(f"{prefix}centroids")
    width = 1 if centroids is None else centroids.shape[-1]
    parts = -(-dim // max(width, 1))
    coded: Shapes = {
        "codes": ((rows, parts), "uint8"),
        "centroids": ((parts, CODES, width), "float32"),
    }
    if f"{prefix}norm_codes" in tensors:
        coded |= {"norm_codes": ((rows,), "uint8"), "norm_centroids": ((CODES,), "float32")}
    return {f"{prefix}{name}": shape for name, shape in coded.items()}


def _check_shapes(folder: Path, artifact: Artifact) -> None:
    buckets = artifact.tensors.get("buckets")
    hashed = artifact.config.text.bucket_count if buckets is None else len(buckets)
    rows = max(len(artifact.vocabulary) + hashed, 1)
    model, classes = artifact.config.model, len(artifact.labels)
    folded_dims = classes, artifact.config.trainer.ensemble * model.dim  # see model/fold.py
    dim = artifact.dim if artifact.dim in folded_dims else model.dim
    layer: dict[str, tuple[int, ...]] = {"weight": (classes, dim), "bias": (classes,)}
    if model.cutoffs is not None:
        layer = tensor_shapes(dim, classes, model.cutoffs, model.div_value)
    expected: Shapes = {
        **_table_shapes(artifact.tensors, rows, dim),
        **{name: (shape, "float32") for name, shape in layer.items()},
    }
    if f"{OUTPUT}codes" in artifact.tensors:
        del expected["weight"]
        expected |= _coded_shapes(artifact.tensors, classes, dim, OUTPUT)
    if artifact.config.text.term_weighting == "tfidf":
        expected["idf"] = ((rows,), "float32")
    if buckets is not None:
        expected["buckets"] = ((len(buckets),), "int32")
    actual = {name: (value.shape, str(value.dtype)) for name, value in artifact.tensors.items()}
    if actual != expected:
        raise ArtifactError(
            f"{folder}: the tensors {actual} do not fit the configuration, which needs {expected}"
        )
    if f"{OUTPUT}codes" in expected and Coded.from_tensors(artifact.tensors, dim, OUTPUT).expands:
        raise ArtifactError(
            f"{folder}: the output matrix, decoded, takes far more memory than its codes"
        )
    if buckets is not None and len(buckets):
        ascending = bool((buckets[1:] > buckets[:-1]).all())  # np.diff() overflows
        if not ascending or buckets[0] < 0 or buckets[-1] >= artifact.config.text.bucket_count:
            raise ArtifactError(
                f"{folder}: the buckets are not in ascending order, or outside the hash space"
            )
    if artifact.config.text.tokenizer.startswith("hf:") and artifact.tokenizer_asset is None:
        raise ArtifactError(f"{folder}: tokenizer.json is missing; copy the model again")
