"""Warnings about the data of a run: why its model cannot be good, and what would help."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fasttext_app.config.auto import known
from fasttext_app.core.arrow import python_strings, to_arrow
from fasttext_app.data.findings import (
    MissingTexts,
    conflict_example,
    conflicting_rows,
    label_findings,
)
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.model.train_warnings import (
    RARE_ROWS,
    ContradictingLabels,
    DataFinding,
    FewSteps,
    MajorityAccuracy,
    NoSpaces,
    OneLabelAtATime,
    RareLabels,
    SharedTexts,
    SkippedRows,
    TrainWarning,
    UnknownTexts,
)
from fasttext_app.text.word_break import APART, class_table
from fasttext_app.training.events import TrainOutcome
from fasttext_app.training.prepare import Prepared

MIN_STEPS = 50
SAMPLED_WORDS = 20_000
UNSPACED_LETTERS, UNSPACED_SHARE = 8, 0.1
"""Words of a script without spaces are sentences if they have so many letters on average."""
MIN_SHARED = 0.01  # of the validation texts
MIN_VALIDATION = 20  # the accuracy on fewer rows says little


def advice(prepared: Prepared, outcome: TrainOutcome) -> Iterator[TrainWarning]:
    """Yield what keeps the model of a run from being good."""
    trainer, labels = prepared.config.trainer, prepared.labels
    if prepared.statistics.skipped_rows:
        yield SkippedRows(prepared.statistics.skipped_rows, prepared.skipped)
    planned = -(-len(prepared.train) // known(trainer.batch_size)) * known(trainer.epochs)
    if planned < MIN_STEPS:
        yield FewSteps(planned)
    rare = {
        name: count
        for name, count in sorted(
            zip(labels.names, labels.counts, strict=True), key=lambda pair: pair[1]
        )
        if 0 < count < RARE_ROWS
    }
    if rare:
        yield RareLabels(rare)
    yield from _unspaced(prepared)
    yield from _repeated_texts(prepared)
    yield from _several_labels(prepared)
    if prepared.missing_texts:
        yield DataFinding(MissingTexts(prepared.missing_texts))
    if prepared.validation is not None:
        yield from _validation_advice(prepared, outcome)


def _unspaced(prepared: Prepared) -> Iterator[TrainWarning]:
    """Look for words with many letters of a script without spaces."""
    tokenizer, vocabulary = prepared.encoder.tokenizer, prepared.encoder.vocabulary
    if tokenizer.rules in (None, "unicode") or not len(vocabulary):
        return
    sample = np.arange(0, len(vocabulary), -(-len(vocabulary) // SAMPLED_WORDS))
    words = python_strings(vocabulary.words.take(to_arrow(sample)))
    lengths = np.array([len(word) for word in words])
    characters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), "<u4")
    is_apart = class_table()[characters] == APART
    letters = np.diff(np.concatenate(([0], np.cumsum(is_apart)))[np.cumsum([0, *lengths])])
    of_script, counts = letters > 0, vocabulary.counts[sample]
    size = counts * lengths
    share = size[of_script].sum() / max(size.sum(), 1)
    mean_letters = (counts * letters).sum() / max(counts[of_script].sum(), 1)
    if share >= UNSPACED_SHARE and mean_letters >= UNSPACED_LETTERS:
        yield NoSpaces(float(mean_letters), float(share))


def _validation_advice(prepared: Prepared, outcome: TrainOutcome) -> Iterator[TrainWarning]:
    assert prepared.validation is not None
    bags, classes, _ = prepared.validation.load()
    unknown = int((prepared.encoder.count_known(bags) == 0).sum())
    if unknown:
        yield UnknownTexts(unknown, len(classes))
    if prepared.label_sets is None and outcome.best_epoch:
        accuracy = outcome.history[outcome.best_epoch - 1].validation_accuracy
        counts = np.bincount(classes, minlength=len(prepared.labels))
        share = counts.max() / len(classes)
        if accuracy is not None and accuracy <= share < 1 and len(classes) >= MIN_VALIDATION:
            label = prepared.labels.names[int(counts.argmax())]
            yield MajorityAccuracy(accuracy, label, float(share))


def _several_labels(prepared: Prepared) -> Iterator[TrainWarning]:
    """Warn of labels that may be several, and of several that are not all learned."""
    data, loss, labels = prepared.config.data, prepared.config.model.loss, prepared.labels
    sets = prepared.label_sets
    rows_of = dict(zip(labels.names, labels.counts, strict=True))
    for finding in label_findings(rows_of, joined=sets is None and not data.whole_labels):
        yield DataFinding(finding)
    if sets is None:
        return
    if loss != "ova" and not isinstance(sets, SoftLabels):
        rows = sum(int((sets.lengths[classes] > 1).sum()) for classes in prepared.train.classes)
        if rows:
            yield OneLabelAtATime(rows, len(prepared.train), loss)


def _repeated_texts(prepared: Prepared) -> Iterator[TrainWarning]:
    """Compare the labels of texts with the same bag of ids, and held-out texts with the others.

    Data that is too large for the memory of one process is not compared.
    """
    if not prepared.train.is_whole:
        return
    texts, classes = prepared.train.text_hashes().view(np.int64), prepared.train.classes[0]
    if prepared.label_sets is None:
        wrong = conflicting_rows(texts, classes)
        wrong = wrong[texts[wrong] != 0]
        if len(wrong):
            first, second = conflict_example(texts, classes, int(wrong[0]))
            first_row, second_row = prepared.source_rows([first - 1, second - 1])
            yield ContradictingLabels(len(wrong), (first_row, second_row))
    if prepared.validation is None:
        return
    held_out = prepared.validation.text_hashes().view(np.int64)
    shared = int((np.isin(held_out, texts) & (held_out != 0)).sum())
    if shared and shared >= MIN_SHARED * len(held_out):
        yield SharedTexts(shared, len(held_out))


def assist_advice(prepared: Prepared) -> None:
    """Take part in what :func:`advice` exchanges, on the processes that do not call it."""
    if prepared.train.is_whole:
        prepared.train.text_hashes()
