"""``FastText``: a model with the methods of the original's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.compat.handle import Handle
from fasttext_app.compat.words import Words, decode_word
from fasttext_app.core import jit
from fasttext_app.core.arrays import F32, F64, Array, Bool
from fasttext_app.core.arrow import strings_from_bytes
from fasttext_app.core.built_in_errors import ConfigValueError, DataValueError, built_in_kinds
from fasttext_app.core.ragged import Ragged
from fasttext_app.core.threads import map_threads
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.fasttext.convert import args_of, from_fasttext, label_words, to_fasttext
from fasttext_app.fasttext.file_format import Args, FastTextFile, read_file, write_file
from fasttext_app.fasttext.lines import text_lines
from fasttext_app.fasttext.options import DEFAULTS
from fasttext_app.fasttext.scoring import Meter
from fasttext_app.fasttext.word_vectors import classifier_vectors, file_vectors
from fasttext_app.hub import local_model
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.predictions import TopK
from fasttext_app.model.artifact import Artifact
from fasttext_app.model.product_quantizer import Coded
from fasttext_app.model.tensor_file import Tensors
from fasttext_app.text.chunks import as_chunks
from fasttext_app.text.fasttext_tokenizer import split_words


class FastText(Words):
    """A model with the original's methods; :class:`.Words` has those about words and vectors.

    Args:
        model_path: a ``.bin`` or ``.ftz`` file: a classifier, or word vectors.
        args: the options of its training; see :meth:`set_args`.

    Raises:
        ArtifactError: the file is missing or damaged.
    """

    _classifier: TextClassifier | None
    _file: FastTextFile | None
    """The contents of a file of word vectors; None for a classifier."""
    _predict_best: Callable[[str, float], tuple[tuple[str, ...], F64]] | None
    """Predicts the best label of one line; None until compiled code runs, or if nothing does."""

    def __init__(self, model_path: str | Path, args: Any = None) -> None:
        self.load(model_path)
        self.set_args(args)

    @classmethod
    def from_classifier(cls, classifier: TextClassifier) -> FastText:
        """Return a classifier of this program as a model of the original's."""
        model = cls.__new__(cls)
        model._hold(classifier)
        return model

    @built_in_kinds()
    def load(self, path: str | Path) -> None:
        """Become the model of a file.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        file = read_file(local_model(path))
        if file.supervised:
            self._hold(TextClassifier(from_fasttext(file, str(path))))
        else:
            self._hold_vectors(file)

    def _hold(self, classifier: TextClassifier) -> None:
        self._classifier, self._file, self._predict_best = classifier, None, None
        self._label_words = label_words(classifier.artifact)
        self.vectors = classifier_vectors(classifier.encoder, classifier.artifact)

    def __getstate__(self) -> dict[str, Any]:
        # What predicts one line holds addresses of this process.
        return {**vars(self), "_predict_best": None}

    def _hold_vectors(self, file: FastTextFile) -> None:
        self._classifier, self._file, self._predict_best = None, file, None
        self.vectors = file_vectors(file)

    @property
    def f(self) -> Handle:
        """The compiled object of the original."""
        return Handle(self)

    @property
    def classifier(self) -> TextClassifier:
        """The same model with this program's own methods.

        Raises:
            ConfigError: the model holds word vectors.
        """
        if self._classifier is None:
            raise ConfigValueError("the model holds word vectors; it is not a classifier")
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
            TypeError: ``text`` is neither a text nor a list of texts.
            ValueError: a text has a line feed, or a lone surrogate that stands for no byte; ``k``
                is neither -1 nor above 0; or the model is not a classifier.
        """
        if self._predict_best is not None and type(text) is str and "\n" not in text and k == 1:
            return self._predict_best(text, threshold)
        return self._predict(text, k, threshold)

    @built_in_kinds()
    def _predict(self, text: str | list[str], k: int, threshold: float) -> tuple[Any, Any]:
        """Predict any number of labels of any number of lines."""
        if self._classifier is None:
            raise ValueError("Model needs to be supervised for prediction!")
        lines = _as_lines("predict", text)
        if not isinstance(text, str):
            return self._select(*self._rank_lines(lines, k), threshold)
        bag = self.classifier.encoder.encode_text(text, "surrogateescape")
        (labels,), (probabilities,) = self._select(*self._rank(bag, k), threshold)
        if self._predict_best is None and jit.enabled():
            self._predict_best = self._make_predict_best()
        return tuple(labels), probabilities.astype(np.float64)

    def _make_predict_best(self) -> Callable[[str, float], tuple[tuple[str, ...], F64]] | None:
        """Return a function that predicts the best label of one line, as :meth:`_select` does.

        Its arguments are the line and the threshold. None: nothing does so in compiled code.
        """
        head, text_bytes = self.classifier.head, self.classifier.encoder.text_bytes
        floor, has_floor = head.floor, head.without_floor() is head
        forward = self.classifier.text_forward(head.without_floor())
        if forward is None:
            return None
        best_of, labels = forward.best, [(word,) for word in self._label_words]
        single = Struct("f")

        def rounded(value: float) -> float:  # sooner than by NumPy
            number: float = single.unpack(single.pack(value))[0]
            return number

        def predict(text: str, threshold: float) -> tuple[tuple[str, ...], F64]:
            try:
                data = text_bytes(text, "surrogateescape")
            except DataError as error:
                raise DataValueError(str(error)) from None
            best, before_floor, rows, _ = best_of(data)
            probability = min(before_floor + floor, 1.0)
            if has_floor:
                probability = before_floor
                before_floor = probability - floor if probability < 1 else 1.0
            minimum = float(np.float32(threshold)) if threshold != 0 else 0.0
            if rows and rounded(before_floor) >= minimum:
                return labels[best], np.array([rounded(probability)])
            return (), np.empty(0)

        return predict

    def _rank_lines(self, lines: list[str], k: int) -> tuple[TopK, Bool]:
        """Return the best classes of each line, and whether the line has any feature."""

        def rank(chunk: pa.StringArray) -> tuple[TopK, Bool]:
            return self._rank(self.classifier.encoder.encode_chunk(chunk), k)

        column = strings_from_bytes([line.encode("utf-8", "surrogateescape") for line in lines])
        chunks = as_chunks(column) or [column]
        parts = list(map_threads(rank, chunks, self.classifier.threads))
        ranked, has_features = zip(*parts, strict=True)
        return TopK.concat(ranked), np.concatenate(has_features)

    def _rank(self, bags: Ragged, k: int) -> tuple[TopK, Bool]:
        if k < -1 or k == 0:
            raise ValueError("k needs to be 1 or higher!")
        classes = len(self.classifier.labels)
        head = self.classifier.head.without_floor()
        ranked = self.classifier.rank_bags(bags, classes if k < 0 else min(k, classes), head)
        return ranked, bags.lengths > 0

    def _select(
        self, ranked: TopK, has_features: Bool, threshold: float
    ) -> tuple[list[list[str]], list[F32]]:
        """Return the labels and probabilities of each line that reach a threshold.

        As in the original, probabilities are 32-bit numbers, which are compared with the threshold
        before the floor is added. A line without features gets no label.
        """
        labels = self.labels
        head, before_floor = self.classifier.head, ranked.probabilities
        probabilities = np.minimum(before_floor + head.floor, 1.0)
        if head.without_floor() is head:  # the floor is in the probabilities
            probabilities = before_floor
            before_floor = np.where(probabilities < 1, probabilities - head.floor, 1)
        masks = before_floor.astype(np.float32) >= np.float32(threshold)
        masks &= has_features[:, None]
        rounded = probabilities.astype(np.float32)
        selected_labels, selected_probabilities = [], []
        for class_ids, scores, mask in zip(
            ranked.classes.tolist(), rounded, masks.tolist(), strict=True
        ):
            selected = [c for c, reaches in zip(class_ids, mask, strict=True) if reaches]
            selected_labels.append([labels[class_id] for class_id in selected])
            all_selected = len(selected) == len(class_ids)
            selected_probabilities.append(scores if all_selected else scores[mask])
        return selected_labels, selected_probabilities

    @built_in_kinds()
    def test(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> tuple[int, float, float]:
        """Return (lines, precision, recall) at k over a file of labeled lines.

        Raises:
            DataError: the file cannot be read.
        """
        meter = self.measure(path, k, threshold)
        return meter.examples, meter.precision(), meter.recall()

    @built_in_kinds()
    def test_label(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> dict[str, dict[str, float]]:
        """Return the precision, recall and f1score of each label; NaN where there is none.

        Raises:
            DataError: the file cannot be read.
        """
        meter = self.measure(path, k, threshold)
        return {
            label: {
                "precision": meter.precision(label),
                "recall": meter.recall(label),
                "f1score": meter.f1(label),
            }
            for label in self.labels
        }

    @built_in_kinds()
    def get_meter(self, path: str | Path, k: int = -1) -> Meter:
        """Return the scores of a file of labeled lines, with precision-recall curves.

        Raises:
            DataError: the file cannot be read.
        """
        return self.measure(path, k)

    @built_in_kinds()
    def measure(self, path: str | Path, k: int = 1, threshold: float = 0.0) -> Meter:
        """Return the scores of a file; lines without known labels or features do not count.

        Raises:
            DataError: the file cannot be read.
        """
        meter = Meter(self.labels)
        for lines in text_lines(path):
            ranked, has_features = self._rank_lines(lines, k)
            for true, predicted, probabilities, counts in zip(
                self._labels_among(lines),
                *self._select(ranked, has_features, threshold),
                has_features,
                strict=True,
            ):
                if true and counts:
                    meter.add(true, predicted, probabilities.tolist())
        return meter

    @property
    def _known_labels(self) -> set[str]:
        """The labels that lines can have; a file of word vectors predicts none."""
        if self._file is None:
            return set(self.labels)
        return {label.decode("utf-8", "surrogateescape") for label in self._file.dictionary.labels}

    def _labels_among(self, lines: list[str]) -> list[list[str]]:
        """Return the known labels of each line."""
        known = self._known_labels
        return [[word for word in split_words(line) if word in known] for line in lines]

    @property
    def labels(self) -> list[str]:
        """All labels with their prefix; the words, if the model holds word vectors."""
        if self._classifier is None:
            return self.words
        return list(self._label_words)

    def get_labels(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return :attr:`labels`, and with ``include_freq`` their counts.

        Raises:
            UnicodeDecodeError: a word is not UTF-8, and ``on_unicode_error`` is ``strict``.
        """
        if self._classifier is None:
            return self.get_words(include_freq, on_unicode_error)
        counts = np.array(self._artifact.labels.counts, np.int64)
        return (self.labels, counts) if include_freq else self.labels

    def get_label_id(self, label: str) -> int:
        """Return the index of a label; -1 if it is unknown."""
        return self.labels.index(label) if label in self.labels else -1

    def get_line(
        self, text: str | list[str], on_unicode_error: str = "strict"
    ) -> tuple[list[Any], list[Any]]:
        """Return (words, labels) of a line, or lists of them for a list of lines.

        Raises:
            TypeError: ``text`` is neither a text nor a list of texts.
            ValueError: a text has a line feed.
        """
        lines = _as_lines("get_line", text)
        known = self._known_labels
        words = [
            [decode_word(word, on_unicode_error) for word in tokens if word not in known]
            for tokens in self.vectors.encoder.tokenizer.split(lines)
        ]
        labels = self._labels_among(lines)
        return (words[0], labels[0]) if isinstance(text, str) else (words, labels)

    def get_output_matrix(self) -> F32:
        """Return the weights of the linear layer, [C, D]; for word vectors, their output matrix.

        Raises:
            ValueError: the model is quantized.
        """
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return np.array(self._output)

    @property
    def _output(self) -> Array | Coded:
        return self._artifact.weight if self._file is None else self._file.output

    @built_in_kinds()
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
        """Quantize the table into product codes, in place.

        As in the original, ``retrain`` has no effect unless ``cutoff`` removes rows. ``epoch`` and
        ``lr`` default to the values of training; a file only stores the epochs.

        Raises:
            ValueError: ``retrain`` needs ``input``.
            ConfigError: the model is already quantized or too small, or ``qout`` has fewer than 256
                labels to quantize.
            DataError: ``input`` cannot be read.
            TrainingError: ``input`` has nothing to learn, or the loss diverged.
        """
        from fasttext_app.compat.quantize import quantize

        if retrain and not input:
            raise ValueError("Need input file path if retraining")
        artifact = quantize(
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
        self._replace_artifact(artifact)

    @built_in_kinds()
    def set_matrices(self, input_matrix: npt.ArrayLike, output_matrix: npt.ArrayLike) -> None:
        """Replace the table [V, D] and the weights of the linear layer [C, D]; D may change.

        Raises:
            ConfigError: the shapes do not fit.
        """
        table, weight = (np.array(m, np.float32) for m in (input_matrix, output_matrix))
        rows, outputs = len(self.vectors.table), len(self._output)
        dim = table.shape[-1] if table.ndim else 0
        if (table.shape, weight.shape) != ((rows, dim), (outputs, dim)) or not dim:
            raise ConfigError(
                f"set_matrices: the shapes are {list(table.shape)} and {list(weight.shape)} but "
                f"should be [{rows}, D] and [{outputs}, D]"
            )
        if self._file is not None:
            args = replace(self._file.args, dim=dim)
            self._hold_vectors(replace(self._file, args=args, input=table, output=weight))
            return
        model = self._artifact.config.model.model_copy(update={"dim": dim})
        config = self._artifact.config.model_copy(update={"model": model})
        previous = self._artifact.tensors
        tensors: Tensors = {n: previous[n] for n in ("bias", "buckets", "idf") if n in previous}
        tensors |= {"table": table, "weight": weight}
        self._replace_artifact(replace(self._artifact, config=config, tensors=tensors))

    def _replace_artifact(self, artifact: Artifact) -> None:
        self._hold(TextClassifier(artifact, threads=self.classifier.threads))

    def set_args(self, args: Any = None) -> None:
        """Copy the options of a training to attributes: ``lr``, ``dim``, ``epoch`` and so on."""
        for name in DEFAULTS if args else ():
            if name != "seed":
                setattr(self, name, getattr(args, name))

    @built_in_kinds()
    def save_model(self, path: str | Path) -> None:
        """Write a file that the original loads: an ``.ftz`` if the model is quantized.

        Raises:
            ArtifactError: it cannot be written.
            ConfigError: fastText's format cannot express the model.
        """
        write_file(self._file or to_fasttext(self._artifact, quantized=self.is_quantized()), path)

    def file_args(self) -> Args:
        """Return the options that a file of the model stores."""
        return self._file.args if self._file else args_of(self._artifact, self.get_dimension())


def _as_lines(function: str, text: Any) -> list[str]:
    """Return a text, or a list or column of texts, as a list of lines.

    Raises:
        TypeError: it is something else.
        ValueError: a text has a line feed.
    """
    lines = text.tolist() if getattr(text, "ndim", 0) == 1 else text  # an array or a Series
    lines = [lines] if isinstance(lines, str) else lines
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise TypeError(f"{function}: got {type(text).__name__}; pass a text, or a list of texts")
    if any("\n" in line for line in lines):
        raise ValueError(f"{function} processes one line at a time (remove '\\n')")
    return list(lines)
