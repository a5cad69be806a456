"""``FastText``: a model with the methods of the original's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.compat.words import Words, decoded
from fasttext_app.core.arrays import F32, F64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.fasttext.convert import label_prefix, to_fasttext
from fasttext_app.fasttext.file_format import LOSSES, write_file
from fasttext_app.fasttext.lines import labeled_lines, line_column
from fasttext_app.fasttext.meters import ScoreMeter
from fasttext_app.fasttext.options import DEFAULTS
from fasttext_app.fasttext.scoring import Meter
from fasttext_app.fasttext.word_vectors import WordVectors, classifier_vectors
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.predictions import TopK
from fasttext_app.model.artifact import Artifact, Tensors
from fasttext_app.model.heads import FASTTEXT_FLOOR
from fasttext_app.text.encoder import as_chunks
from fasttext_app.text.fasttext_tokenizer import split_words

loss_name = Enum("loss_name", {name: number for number, name in LOSSES.items()})  # type: ignore[misc]


class FastText(Words):
    """A model with the original's methods.

    Args:
        classifier: the classifier; None for a file of word vectors.
        vectors: its vectors; None: those of the classifier.
    """

    def __init__(
        self, classifier: TextClassifier | None, vectors: WordVectors | None = None
    ) -> None:
        if vectors is None:
            assert classifier is not None
            vectors = classifier_vectors(classifier.encoder, classifier.artifact)
        super().__init__(vectors)
        self._classifier = classifier

    @property
    def classifier(self) -> TextClassifier:
        """The classifier behind it, with this program's own methods.

        Raises:
            ConfigError: there is none, but word vectors.
        """
        if self._classifier is None:
            raise ConfigError("the model holds word vectors; it is not a classifier")
        return self._classifier

    @property
    def _artifact(self) -> Artifact:
        return self.classifier.artifact

    def predict(
        self,
        text: str | list[str],
        k: int = 1,
        threshold: float = 0.0,
        on_unicode_error: str = "strict",
    ) -> tuple[Any, Any]:
        """Return (labels, probabilities) of a line, or lists of them for a list of lines.

        Raises:
            ValueError: a text has a line feed or a lone surrogate that stands for no byte, ``k`` is
                0, or the model is no classifier.
        """
        if self._classifier is None:
            raise ValueError("Model needs to be supervised for prediction!")
        lines = [text] if isinstance(text, str) else text
        if any("\n" in line for line in lines):
            raise ValueError("predict processes one line at a time (remove '\\n')")
        if isinstance(text, str):
            try:
                bags = self.classifier.encoder.encode_text(text, "surrogateescape")
            except DataError as error:
                raise ValueError(str(error)) from None
            named, numbers = self._named(*self._ranked(bags, k), threshold)
            return tuple(named[0]), numbers[0]
        ranked, known = self._rank_lines(text, k)
        return self._named(ranked, known, threshold)

    def _rank_lines(self, lines: list[str], k: int) -> tuple[TopK, Bool]:
        """Return the best classes of each line, and whether it has any feature."""

        def rank(chunk: pa.StringArray) -> tuple[TopK, Bool]:
            return self._ranked(self.classifier.encoder.encode_chunk(chunk), k)

        chunks = as_chunks(line_column(lines)) or [line_column([])]
        parts = list(map_threads(rank, chunks, self.classifier.threads))
        ranked, known = zip(*parts, strict=True)
        return TopK.concat(ranked), np.concatenate(known)

    def _ranked(self, bags: Ragged, k: int) -> tuple[TopK, Bool]:
        if k == 0:
            raise ValueError("k needs to be 1 or higher!")
        classes = len(self.classifier.labels)
        most = classes if k < 0 else min(k, classes)
        return self.classifier.rank_bags(bags, most), bags.lengths > 0

    def _named(
        self, ranked: TopK, known: Bool, threshold: float
    ) -> tuple[list[list[str]], list[F64]]:
        """Return the labels and probabilities of each line that reach a threshold.

        It is compared with what there was before the floor, in 32 bits; a line of nothing known has
        no answer.
        """
        prefix, labels = label_prefix(self._artifact), self.classifier.labels
        floor = FASTTEXT_FLOOR if self.classifier.config.model.probabilities == "fasttext" else 0.0
        values = ranked.probabilities
        before = np.where(values < 1, values - floor, 1).astype(np.float32)
        kept = (before >= np.float32(threshold)) & known[:, None]
        named, numbers = [], []
        for classes, scores, wanted in zip(
            ranked.classes.tolist(), values, kept.tolist(), strict=True
        ):
            chosen = [number for number, is_kept in zip(classes, wanted, strict=True) if is_kept]
            named.append([prefix + labels[number] for number in chosen])
            numbers.append(scores if len(chosen) == len(classes) else scores[wanted])
        return named, numbers

    def test(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> tuple[int, float, float]:
        """Return (lines, precision, recall) at k over a file of labeled lines.

        Raises:
            DataError: the file cannot be read.
        """
        meter = self.metered(path, k, threshold)
        return meter.examples, meter.precision(), meter.recall()

    def test_label(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> dict[str, dict[str, float]]:
        """Return precision, recall and f1score of each label; NaN where there is none.

        Raises:
            DataError: the file cannot be read.
        """
        meter = self.metered(path, k, threshold)
        return {
            label: {
                "precision": meter.precision(label),
                "recall": meter.recall(label),
                "f1score": meter.f1(label),
            }
            for label in self.labels
        }

    def metered(self, path: str | Path, k: int = 1, threshold: float = 0.0) -> Meter:
        """Return the counts behind :meth:`test` and :meth:`test_label`.

        Raises:
            DataError: the file cannot be read.
        """
        meter = Meter(self.labels)
        self._score(path, k, threshold, lambda gold, found, _: meter.add(gold, found))
        return meter

    def get_meter(self, path: str | Path, k: int = -1) -> ScoreMeter:
        """Return the scores of labels over a file of labeled lines, and curves of them.

        Raises:
            DataError: the file cannot be read.
        """
        meter = ScoreMeter(self.labels)
        self._score(path, k, 0.0, lambda gold, found, p: meter.add(gold, found, p.tolist()))
        return meter

    def _score(
        self,
        path: str | Path,
        k: int,
        threshold: float,
        add: Callable[[list[str], list[str], F64], None],
    ) -> None:
        """Hand on the labels of each line that has any, those predicted, and their scores."""
        for batch in labeled_lines(path, label_prefix(self._artifact), set(self.labels)):
            lines = [text for text, _ in batch]
            ranked, known = self._rank_lines(lines, k)
            answers = zip(batch, *self._named(ranked, known, threshold), known, strict=True)
            for (_, gold), found, scores, any_feature in answers:
                if any_feature and gold:
                    add(gold, found, scores)

    @property
    def labels(self) -> list[str]:
        """All labels, with their prefix; the words, where there are no labels."""
        if self._classifier is None:
            return self.words
        return [label_prefix(self._artifact) + name for name in self.classifier.labels]

    def get_labels(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the labels, and with ``include_freq`` their counts; words, where it has no labels.

        Raises:
            UnicodeDecodeError: a word is no UTF-8, and ``on_unicode_error`` is ``strict``.
        """
        if self._classifier is None:
            return self.get_words(include_freq, on_unicode_error)
        counts = np.array(self._artifact.labels.counts, np.int64)
        return (self.labels, counts) if include_freq else self.labels

    def get_label_id(self, label: str) -> int:
        """Return the number of a label, -1 for an unknown one."""
        return self.labels.index(label) if label in self.labels else -1

    def get_line(
        self, text: str | list[str], on_unicode_error: str = "strict"
    ) -> tuple[list[Any], list[Any]]:
        """Return the words and the labels of a line, or lists of them for a list of lines.

        Raises:
            ValueError: a text has a line feed.
        """
        lines = [text] if isinstance(text, str) else text
        if any("\n" in line for line in lines):
            raise ValueError("get_line processes one line at a time (remove '\\n')")
        known = set(self.labels)
        labels = [[word for word in split_words(line) if word in known] for line in lines]
        words = [
            [decoded(word, on_unicode_error) for word in found if word not in known]
            for found in self.classifier.encoder.tokenizer.split(lines)
        ]
        return (words[0], labels[0]) if isinstance(text, str) else (words, labels)

    def get_output_matrix(self) -> F32:
        """Return the weights of the linear layer, [C, D].

        Raises:
            ValueError: the model is quantized.
        """
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return np.array(self._artifact.weight)

    def quantize(
        self,
        input: str | Path | None = None,  # noqa: A002
        qout: bool = False,
        cutoff: int = 0,
        retrain: bool = False,
        epoch: int | None = None,
        lr: float | None = None,
        thread: int | None = None,
        verbose: int | None = None,
        dsub: int = 2,
        qnorm: bool = False,
    ) -> None:
        """Put the table into product codes, in place.

        As in the original, ``retrain`` does something only where ``cutoff`` leaves rows out. Left
        out, ``epoch`` and ``lr`` are those of the training; a file says the first alone.

        Raises:
            ValueError: ``retrain`` is asked for without ``input``.
            ConfigError: the table is in codes already or too small, or ``qout`` is asked for with
                fewer than 256 labels.
            DataError: ``input`` cannot be read.
            TrainingError: it leaves nothing to learn, or the loss ran away.
        """
        from fasttext_app.compat.training import quantized

        if retrain and not input:
            raise ValueError("Need input file path if retraining")
        smaller = quantized(
            self._artifact,
            str(input) if retrain else None,
            lr=lr or getattr(self, "lr", None),
            epoch=epoch,
            thread=thread,
            qout=qout,
            cutoff=cutoff,
            dsub=dsub,
            qnorm=qnorm,
        )
        self._take(smaller)

    def set_matrices(self, input_matrix: npt.ArrayLike, output_matrix: npt.ArrayLike) -> None:
        """Put other numbers into the table [V, D] and the linear layer [C, D]; D may be another.

        Raises:
            ConfigError: they are of other shapes, or the model is no classifier.
        """
        table, weight = (np.array(m, np.float32) for m in (input_matrix, output_matrix))
        rows, classes = len(self._artifact.table), len(self.classifier.labels)
        dim = table.shape[-1] if table.ndim else 0
        if (table.shape, weight.shape) != ((rows, dim), (classes, dim)) or not dim:
            raise ConfigError(
                f"set_matrices: {list(table.shape)} and {list(weight.shape)}, where "
                f"[{rows}, D] and [{classes}, D] are expected"
            )
        model = self._artifact.config.model.model_copy(update={"dim": dim})
        config = self._artifact.config.model_copy(update={"model": model})
        found = self._artifact.tensors
        kept: Tensors = {name: found[name] for name in ("bias", "buckets", "idf") if name in found}
        tensors = {**kept, "table": table, "weight": weight}
        self._take(replace(self._artifact, config=config, tensors=tensors))

    def set_args(self, args: Any = None) -> None:
        """Take the options of a training as attributes: ``lr``, ``dim``, ``epoch`` and so on."""
        for name in DEFAULTS if args else ():
            if name != "seed":
                setattr(self, name, getattr(args, name))

    def _take(self, artifact: Artifact) -> None:
        self._classifier = TextClassifier(artifact, threads=self.classifier.threads)
        self.vectors = classifier_vectors(self._classifier.encoder, artifact)

    def save_model(self, path: str | Path) -> None:
        """Write a file that the original loads: ``.ftz`` where the table is in codes.

        Raises:
            ArtifactError: it cannot be written.
            ConfigError: the model has something that such a file cannot hold.
        """
        write_file(to_fasttext(self._artifact, quantized=self.is_quantized()), path)


def trained(artifact: Artifact, options: dict[str, Any]) -> FastText:
    """Return a model that has just been trained, with its options as attributes."""
    model = FastText(TextClassifier(artifact, threads=artifact.config.trainer.threads))
    model.set_args(SimpleNamespace(**options | {"loss": loss_name[options["loss"]]}))
    return model
