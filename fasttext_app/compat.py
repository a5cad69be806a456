"""The Python API of the original fastText, over this program: change the import, keep the code.

    from fasttext_app import compat as fasttext

    model = fasttext.train_supervised("train.txt", lr=0.5, epoch=5, wordNgrams=2)
    model.predict("some text", k=2)          # (("__label__a", "__label__b"), array([0.9, 0.1]))
    model.save_model("model.bin")            # which the original loads, too

Names and return shapes are the original's. What differs: equal seeds give equal models, texts are
trained on in random order and several at a time, no probability is above 1, and an error is a
:class:`~fasttext_app.errors.FastTextAppError` with a reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttext_app.artifact import Artifact
from fasttext_app.errors import ConfigError, TrainingError
from fasttext_app.forward import FASTTEXT_FLOOR
from fasttext_app.interop.fasttext_file import read_file, write_file
from fasttext_app.interop.fasttext_model import from_fasttext, label_prefix, to_fasttext
from fasttext_app.interop.label_scores import Meter, labelled_lines, line_column
from fasttext_app.interop.train_options import train_config
from fasttext_app.interop.word_vectors import WordVectors, classifier_vectors, file_vectors
from fasttext_app.predictor import TextClassifier
from fasttext_app.product_quantizer import Coded
from fasttext_app.text.fasttext_lines import END, SPACES
from fasttext_app.text.hashing import reference_fnv1a

__all__ = ["BOW", "EOS", "EOW", "FastText", "load_model", "tokenize", "train_supervised"]

BOW, EOW, EOS = "<", ">", END

F32 = npt.NDArray[np.float32]


def load_model(path: str | Path) -> FastText:
    """Load a ``.bin`` or ``.ftz`` file.

    Raises:
        ArtifactError: there is no such file, or it is not whole.
    """
    file = read_file(path)
    if not file.supervised:
        return FastText(None, file_vectors(file))
    return FastText(TextClassifier(from_fasttext(file, str(path))))


def train_supervised(input: str | Path, **options: Any) -> FastText:  # noqa: A002
    """Train a classifier on a file of ``__label__x some text`` lines.

    Args:
        input: the file.
        **options: the original's, in either spelling (``wordNgrams``, ``word_ngrams``): lr, dim,
            epoch, minCount, wordNgrams, loss, bucket, minn, maxn, neg, thread, label,
            pretrainedVectors, seed; and verbose, ws, lrUpdateRate, t, which change nothing here.

    Raises:
        ConfigError: an option is unknown, or has no place here.
        DataError: the file cannot be read.
        TrainingError: it leaves nothing to learn, or the loss ran away.
        KeyboardInterrupt: Ctrl-C came.
    """
    from fasttext_app.preparation import Examples
    from fasttext_app.sources.lines import scan_fasttext
    from fasttext_app.workflows import train

    config = train_config(str(input), options)
    rows = scan_fasttext(Path(input), config.data, labels=True)
    try:
        result = train(config, Examples(rows, source=str(input)))
    except TrainingError as error:
        rate, given = config.optimizer.lr, config.optimizer.lr / config.trainer.batch_size
        message = str(error).replace(f"optimizer.lr (it is {rate:g})", f"lr (it is {given:g})")
        raise TrainingError(message) from None
    if result.outcome.interrupted:
        raise KeyboardInterrupt  # as there, half a training makes no model
    return FastText(result.model)


def tokenize(text: str) -> list[str]:
    """Split a text into words, labels included; a line feed gives the word ``</s>``."""
    words = text.replace("\n", f" {END} ")
    return [word for word in SPACES.split(words) if word]


class FastText:
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
            vectors = classifier_vectors(classifier)
        self._classifier, self.vectors = classifier, vectors

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
            ValueError: a text has a line feed, ``k`` is 0, or the model is no classifier.
        """
        if self._classifier is None:
            raise ValueError("Model needs to be supervised for prediction!")
        lines = [text] if isinstance(text, str) else text
        if any("\n" in line for line in lines):
            raise ValueError("predict processes one line at a time (remove '\\n')")
        if k == 0:
            raise ValueError("k needs to be 1 or higher!")
        named, numbers, _ = self._ranked(lines, k, threshold)
        if isinstance(text, str):
            return tuple(named[0]), numbers[0]
        return named, numbers

    def _ranked(
        self, lines: list[str], k: int, threshold: float
    ) -> tuple[list[list[str]], list[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
        """Return labels and probabilities, and whether each line has any feature."""
        labels = [label_prefix(self._artifact) + name for name in self.classifier.labels]
        most = len(labels) if k < 0 else min(k, len(labels))
        bags = self.classifier.encoder.encode(line_column(lines), self.classifier.threads)
        ranked, known = self.classifier.rank_bags(bags, most), bags.lengths > 0
        floor = FASTTEXT_FLOOR if self.classifier.config.model.probabilities == "fasttext" else 0.0
        named, numbers = [], []
        for classes, values, any_feature in zip(
            ranked.classes, ranked.probabilities, known, strict=True
        ):
            # A threshold is compared with what there was before the floor, in 32 bits; a line of
            # nothing known has no answer.
            before = np.where(values < 1, values - floor, 1).astype(np.float32)
            kept = (before >= np.float32(threshold)) & any_feature
            named.append([labels[number] for number in classes[kept]])
            numbers.append(values[kept])
        return named, numbers, known

    def test(
        self, path: str | Path, k: int = 1, threshold: float = 0.0
    ) -> tuple[int, float, float]:
        """Return (lines, precision, recall) at k over a file of labelled lines.

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
        for batch in labelled_lines(path, label_prefix(self._artifact), set(self.labels)):
            lines = [text for text, _ in batch]
            named, _, known = self._ranked(lines, k, threshold)
            for (_, gold), found, any_feature in zip(batch, named, known, strict=True):
                if any_feature and gold:
                    meter.add(gold, found)
        return meter

    @property
    def words(self) -> list[str]:
        """All words, the most frequent first."""
        return self.vectors.words

    @property
    def labels(self) -> list[str]:
        """All labels, with their prefix; the words, where there are no labels."""
        if self._classifier is None:
            return self.words
        return [label_prefix(self._artifact) + name for name in self.classifier.labels]

    def get_words(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the words, and with ``include_freq`` their counts."""
        counts = self.vectors.encoder.vocabulary.counts
        return (self.words, counts) if include_freq else self.words

    def get_labels(self, include_freq: bool = False, on_unicode_error: str = "strict") -> Any:
        """Return the labels, and with ``include_freq`` their counts."""
        counts = np.array(self._artifact.labels.counts, np.int64)
        return (self.labels, counts) if include_freq else self.labels

    def get_dimension(self) -> int:
        """Return the numbers of a vector."""
        return self.vectors.dim

    def is_quantized(self) -> bool:
        """Return whether the table is in codes."""
        return isinstance(self.vectors.table, Coded)

    def get_word_id(self, word: str) -> int:
        """Return the row of a word, -1 for an unknown one."""
        return self.vectors.encoder.vocabulary.row(word)

    def get_label_id(self, label: str) -> int:
        """Return the number of a label, -1 for an unknown one."""
        return self.labels.index(label) if label in self.labels else -1

    def get_subword_id(self, subword: str) -> int:
        """Return the row of a character n-gram, -1 where it has none."""
        value = reference_fnv1a(subword.encode("utf-8", "surrogateescape"))
        hashed = self.vectors.encoder.hashed
        return next(iter(hashed.rows([value]) if hashed.bucket else []), -1)

    def get_line(self, text: str, on_unicode_error: str = "strict") -> tuple[list[str], list[str]]:
        """Return the words and the labels of a line.

        Raises:
            ValueError: the text has a line feed.
        """
        if "\n" in text:
            raise ValueError("get_line processes one line at a time (remove '\\n')")
        known = set(self.labels)
        labels = [word for word in SPACES.split(text) if word in known]
        (words,) = self.classifier.encoder.tokenizer.split([text])
        return [word for word in words if word not in known], labels

    def get_word_vector(self, word: str) -> F32:
        """Return the vector of a word."""
        return self.vectors.word(word)

    def get_sentence_vector(self, text: str) -> F32:
        """Return the vector of a line.

        Raises:
            ValueError: the text has a line feed.
        """
        if "\n" in text:
            raise ValueError("predict processes one line at a time (remove '\\n')")
        return self.vectors.sentence(text)

    def get_subwords(self, word: str, on_unicode_error: str = "strict") -> Any:
        """Return (the word and its character n-grams, their rows)."""
        names, rows = self.vectors.subwords(word)
        return names, np.array(rows, np.int64)

    def get_input_vector(self, ind: int) -> F32:
        """Return a row of the table."""
        return np.array(self.vectors.rows([ind])[0])

    def get_input_matrix(self) -> F32:
        """Return the table, [V, D].

        Raises:
            ValueError: it is in codes.
        """
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return np.array(self.vectors.table, np.float32)

    def get_output_matrix(self) -> F32:
        """Return the weights of the linear layer, [C, D].

        Raises:
            ValueError: the model is quantised.
        """
        if self.is_quantized():
            raise ValueError("Can't get quantized Matrix")
        return np.array(self._artifact.tensors["weight"])

    def get_nearest_neighbors(
        self, word: str, k: int = 10, on_unicode_error: str = "strict"
    ) -> list[tuple[float, str]]:
        """Return (cosine, word) of the nearest words."""
        return self.vectors.nearest(word, k)

    def get_analogies(
        self,
        wordA: str,  # noqa: N803
        wordB: str,  # noqa: N803
        wordC: str,  # noqa: N803
        k: int = 10,
        on_unicode_error: str = "strict",
    ) -> list[tuple[float, str]]:
        """Return (cosine, word) of what is nearest to A - B + C."""
        return self.vectors.analogies(wordA, wordB, wordC, k)

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

        Raises:
            ConfigError: ``retrain`` or ``qout`` is asked for, which are not here; or the table is
                in codes already, or too small.
        """
        from fasttext_app.quantization import product_quantize

        if retrain or qout:
            raise ConfigError("quantize: retrain and qout are not supported")
        smaller = product_quantize(self._artifact, cutoff, width=dsub, norms=qnorm)
        self._classifier = TextClassifier(smaller)
        self.vectors = classifier_vectors(self._classifier)

    def save_model(self, path: str | Path) -> None:
        """Write a file that the original loads: ``.ftz`` where the table is in codes.

        Raises:
            ArtifactError: it cannot be written.
            ConfigError: the model has something that such a file cannot hold.
        """
        write_file(to_fasttext(self._artifact, quantized=self.is_quantized()), path)

    def __getitem__(self, word: str) -> F32:
        return self.get_word_vector(word)

    def __contains__(self, word: str) -> bool:
        return self.get_word_id(word) >= 0
