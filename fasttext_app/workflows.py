"""The jobs of the program, each put together from the parts; nothing here prints.

prepare    source → rows → tokens → vocabulary, labels → ids           (``--dry-run`` stops here)
train      prepare → model → trainer → TextClassifier
rank       model + batches of texts → batches of ranked labels         (``predict`` streams it)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.artifact import Artifact
from fasttext_app.config import Config
from fasttext_app.device import resolve_device, torch_threads
from fasttext_app.errors import DataError, TrainingError
from fasttext_app.predictor import Ranked, TextClassifier
from fasttext_app.sources import Source, open_source
from fasttext_app.text.encoder import CHUNK_ROWS, TextEncoder, tokenize
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.tokenizers import Tokens, load_tokenizer, whitespace
from fasttext_app.text.vocabulary import LabelSet, Vocabulary
from fasttext_app.text.weighting import inverse_document_frequency, tfidf_weights
from fasttext_app.vectors import read_vectors

if TYPE_CHECKING:
    from fasttext_app.batch import EncodedDataset
    from fasttext_app.model import FastTextClassifier
    from fasttext_app.trainer import Callback, TrainOutcome

__all__ = [
    "Examples",
    "Prepared",
    "TrainResult",
    "load_examples",
    "prepare",
    "rank_batches",
    "train",
]

AUTO_FRACTION = 0.1


@dataclass(frozen=True)
class Examples:
    """The rows of a run: tables of ``text`` and ``label``."""

    train: pa.Table
    validation: pa.Table | None
    label_order: Sequence[str] | None = None
    source: str = "texts given in Python"


@dataclass(frozen=True)
class Encoded:
    """Encoded rows with their classes and, under term weighting, the weight of each id."""

    bags: Ragged
    classes: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Prepared:
    """All that training needs, before torch comes in."""

    config: Config
    encoder: TextEncoder
    labels: LabelSet
    train: Encoded
    validation: Encoded | None
    idf: npt.NDArray[np.float32] | None
    statistics: dict[str, Any]


@dataclass(frozen=True)
class TrainResult:
    """A trained model and the story of its training."""

    model: TextClassifier
    outcome: TrainOutcome
    statistics: dict[str, Any]


def load_examples(config: Config) -> Examples:
    """Read the training rows that a configuration names, and set validation rows aside.

    Raises:
        DataError: the rows cannot be read, or a split is missing.
    """
    source = open_source(config.data)
    table = source.read(config.data.train_split)
    return split_examples(table, source, config)


def split_examples(table: pa.Table, source: Source, config: Config) -> Examples:
    """Set validation rows aside as ``data.validation`` says."""
    wanted = config.data.validation
    if wanted == "auto":
        wanted = "validation" if source.has("validation") else AUTO_FRACTION
    if isinstance(wanted, str):
        if source.single:
            raise DataError(
                f"data.validation: {source.spec}: there are no splits, and so no {wanted!r}; "
                "give a fraction"
            )
        return Examples(table, source.read(wanted), source.label_names, source.spec)
    train, validation = hold_out(table, wanted, config.trainer.seed)
    return Examples(train, validation, source.label_names, source.spec)


def hold_out(table: pa.Table, fraction: float, seed: int) -> tuple[pa.Table, pa.Table | None]:
    """Split rows at random into training and validation rows, both in their first order.

    A label whose rows would all be held out keeps one of them in training.
    """
    held = round(len(table) * fraction)
    if not held:
        return table, None
    chosen = np.zeros(len(table), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(table))[:held]] = True
    classes = table["label"].combine_chunks().dictionary_encode().indices.to_numpy()
    found, first_rows = np.unique(classes, return_index=True)
    chosen[first_rows[~np.isin(found, classes[~chosen])]] = False
    held_out = table.filter(pa.array(chosen))
    return table.filter(pa.array(~chosen)), held_out if len(held_out) else None


def prepare(config: Config, examples: Examples) -> Prepared:
    """Tokenise, build vocabulary and labels, and encode.

    Raises:
        TrainingError: the rows leave nothing to learn (one label only, or no usable word).
    """
    threads = config.trainer.threads
    tokenizer = load_tokenizer(config.text.tokenizer)
    labels = _label_set(examples)
    tokens = tokenize(tokenizer, examples.train["text"], threads)
    vocabulary = Vocabulary.build(tokens, config.text.min_count, config.text.max_size)
    encoder = TextEncoder.from_config(config.text, tokenizer, vocabulary)
    bags = encoder.encode_tokens(tokens, threads)
    if not len(bags.indices):
        raise TrainingError(
            f"{examples.source}: none of the {len(bags)} training texts has a word to learn from; "
            "check --text-column and text.min_count"
        )
    if config.model.padding_idx is not None and config.model.padding_idx >= encoder.rows:
        raise TrainingError(
            f"model.padding_idx = {config.model.padding_idx} is outside the table, "
            f"which has {encoder.rows} rows"
        )
    idf = None
    if config.text.term_weighting == "tfidf":
        idf = inverse_document_frequency(bags, encoder.rows)
    train = Encoded(bags, labels.ids(examples.train["label"]), _weights(bags, idf))
    validation, unknown = _encode_validation(examples.validation, encoder, labels, idf, threads)
    statistics = _statistics(examples, tokens, train, encoder, labels)
    statistics["validation_rows"] = len(validation.classes) if validation else 0
    statistics["validation_rows_of_unknown_labels"] = unknown
    return Prepared(config, encoder, labels, train, validation, idf, statistics)


def _label_set(examples: Examples) -> LabelSet:
    counted = LabelSet.build(examples.train["label"].to_pylist(), examples.label_order)
    present = [name for name, count in zip(counted.names, counted.counts, strict=True) if count]
    if len(present) < 2:
        raise TrainingError(
            f"{examples.source}: every training row has the label {present[0]!r}; "
            "a classifier needs at least two labels"
        )
    return counted


def _weights(bags: Ragged, idf: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    return None if idf is None else tfidf_weights(bags, idf)


def _encode_validation(
    table: pa.Table | None,
    encoder: TextEncoder,
    labels: LabelSet,
    idf: npt.NDArray[np.float32] | None,
    threads: int,
) -> tuple[Encoded | None, int]:
    """Encode the validation rows whose label is known; return how many are not."""
    if table is None:
        return None, 0
    classes = labels.ids(table["label"])
    known = classes >= 0
    if not known.any():
        return None, len(classes)
    bags = encoder.encode(table["text"].filter(pa.array(known)), threads)
    return Encoded(bags, classes[known], _weights(bags, idf)), int((~known).sum())


def _statistics(
    examples: Examples,
    tokens: Sequence[Tokens],
    train: Encoded,
    encoder: TextEncoder,
    labels: LabelSet,
) -> dict[str, Any]:
    lengths = np.concatenate([np.diff(part.offsets) for part in tokens])
    return {
        "source": examples.source,
        "train_rows": len(train.classes),
        "labels": dict(zip(labels.names, labels.counts, strict=True)),
        "empty_texts": int((lengths == 0).sum()),
        "tokens": int(lengths.sum()),
        "median_tokens": float(np.median(lengths)),
        "vocabulary": len(encoder.vocabulary),
        "ids": len(train.bags.indices),
        "table_rows": encoder.rows,
    }


def train(config: Config, examples: Examples, callback: Callback | None = None) -> TrainResult:
    """Train a classifier.

    Raises:
        DeviceError: the device is not there.
        TrainingError: the rows leave nothing to learn, the loss ran away, or memory is too small.
        DataError: pretrained vectors cannot be read.
        KeyboardInterrupt: Ctrl-C came before the first step was done.
    """
    from fasttext_app.trainer import Trainer

    device = resolve_device(config.trainer.device)
    prepared = prepare(config, examples)
    with torch_threads(config.trainer.threads), _memory_explained(prepared):
        model = _build_model(prepared)
        model.to(device)
        datasets = [
            _dataset(part, config, device) for part in (prepared.train, prepared.validation)
        ]
        train_data, validation_data = datasets
        assert train_data is not None
        outcome = Trainer(model, config, callback).fit(train_data, validation_data)
    if outcome.interrupted and not outcome.steps:
        raise KeyboardInterrupt
    artifact = _artifact(prepared, model, outcome)
    classifier = TextClassifier(artifact, threads=config.trainer.threads)
    return TrainResult(classifier, outcome, prepared.statistics)


def _build_model(prepared: Prepared) -> FastTextClassifier:
    import torch

    from fasttext_app.model import FastTextClassifier

    config = prepared.config
    generator = torch.Generator().manual_seed(config.trainer.seed)
    model = FastTextClassifier.from_config(
        config.model, prepared.encoder.rows, len(prepared.labels), generator
    )
    if config.model.pretrained is not None:
        vocabulary = prepared.encoder.vocabulary
        found = read_vectors(config.model.pretrained, vocabulary, config.model.dim)
        model.set_rows(found.rows, found.vectors, freeze=config.model.freeze_pretrained)
        prepared.statistics["pretrained_coverage"] = found.coverage(vocabulary)
    return model


@contextmanager
def _memory_explained(prepared: Prepared) -> Iterator[None]:
    """Name the cause where torch ran out of memory; any other error stays itself."""
    try:
        yield
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        rows, dim = prepared.encoder.rows, prepared.config.model.dim
        raise TrainingError(
            f"not enough memory to train: the table alone is {rows:,} rows x {dim} numbers "
            f"({rows * dim * 4 / 1e9:.1f} GB); lower text.bucket, model.dim or trainer.batch_size"
        ) from error


def _dataset(part: Encoded | None, config: Config, device: Any) -> EncodedDataset | None:
    from fasttext_app.batch import EncodedDataset

    if part is None:
        return None
    return EncodedDataset(
        part.bags,
        part.classes,
        part.weights,
        device=device,
        include_last_offset=config.model.include_last_offset,
    )


def _artifact(prepared: Prepared, model: FastTextClassifier, outcome: TrainOutcome) -> Artifact:
    tensors = model.export_tensors()
    if prepared.idf is not None:
        tensors["idf"] = prepared.idf
    history = outcome.as_dict()
    epochs: list[dict[str, Any]] = history["epochs"]
    best = epochs[outcome.best_epoch - 1] if outcome.best_epoch else {}
    return Artifact(
        config=prepared.config,
        vocabulary=prepared.encoder.vocabulary,
        labels=prepared.labels,
        tensors=tensors,
        metrics={key: value for key, value in best.items() if key.startswith("validation_")},
        history=history,
        data=prepared.statistics,
        tokenizer_asset=prepared.encoder.tokenizer.asset,
    )


def rank_batches(
    model: TextClassifier, batches: Iterable[pa.RecordBatch], top_k: int
) -> Iterator[tuple[pa.StringArray, Ranked]]:
    """Yield (texts, their ranked labels) for each batch of texts, in constant memory."""
    for batch in batches:
        for start in range(0, len(batch), CHUNK_ROWS):
            texts = batch.column("text").slice(start, CHUNK_ROWS)
            yield texts, model.rank(texts, top_k)


def describe_data(source: Source, split: str) -> dict[str, Any]:
    """Count rows, lengths and labels of one split, reading it batch by batch."""
    rows, lengths, labels, first = 0, [], [], []
    for batch in source.scan(split):
        text = batch.column("text")
        if rows < 5:
            first += batch.slice(0, 5 - rows).to_pylist()
        rows += len(batch)
        lengths.append(np.diff(whitespace(text).offsets))
        labels.append(batch.column("label").value_counts())
    if not rows:
        raise DataError(f"{source.spec}: there are no rows")
    counted = pa.Table.from_struct_array(pa.chunked_array(labels))
    summed = counted.group_by("values").aggregate([("counts", "sum")]).to_pylist()
    words = np.concatenate(lengths)
    return {
        "source": source.spec,
        "split": split,
        "splits": list(source.splits) if not source.single else [],
        "rows": rows,
        "words": {
            "total": int(words.sum()),
            "mean": float(words.mean()),
            "median": float(np.median(words)),
            "longest": int(words.max()),
        },
        "empty_texts": int((words == 0).sum()),
        "labels": {
            entry["values"]: entry["counts_sum"]
            for entry in sorted(summed, key=lambda e: (-e["counts_sum"], e["values"]))
        },
        "first_rows": first,
    }
