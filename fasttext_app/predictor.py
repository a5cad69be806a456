"""``TextClassifier``: a trained model in use. No torch on the CPU; torch for CUDA.

Shapes: **B** texts, **N** ids, **D** embedding dim, **C** classes. A text without any known feature
is the zero vector, so its answer is the model's prior (the bias).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.answers import FITTED, PREDICTIONS, Prediction, Ranked, Threshold
from fasttext_app.artifact import Artifact, load_artifact, save_artifact
from fasttext_app.calibration import parse_goal, recorded_thresholds
from fasttext_app.config import Config, DataConfig
from fasttext_app.errors import ConfigError
from fasttext_app.forward import MOST_LOGITS, class_probabilities, forward_on, probabilities
from fasttext_app.metrics import MultiLabelScores, Scores, top_k_classes
from fasttext_app.parallel import map_threads
from fasttext_app.text.encoder import TextEncoder, TextLike, as_chunks
from fasttext_app.text.ragged import Ragged
from fasttext_app.text.tokenizers import load_tokenizer

if TYPE_CHECKING:
    from fasttext_app.explanation import Explanation, LabelFeature

__all__ = ["PREDICTIONS", "Prediction", "Ranked", "TextClassifier"]

F32 = npt.NDArray[np.float32]


class TextClassifier:
    """A trained model, loaded: predict, evaluate, save.

    Args:
        artifact: what a model directory holds.
        device: ``cpu`` (NumPy), or ``cuda``, ``cuda:i`` or ``auto`` (torch).
        threads: threads for a column of texts; 0: all cores.
    """

    def __init__(self, artifact: Artifact, *, device: str = "cpu", threads: int = 0) -> None:
        self.artifact = artifact
        self.threads = threads
        text = artifact.config.text
        tokenizer = load_tokenizer(text.tokenizer, artifact.tokenizer_asset)
        kept = artifact.tensors.get("buckets")
        self.encoder = TextEncoder.from_config(text, tokenizer, artifact.vocabulary, kept)
        self._forward = forward_on(artifact, device)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
        """Load a model directory.

        Raises:
            ArtifactError: it is missing, damaged, or of a newer format.
            DeviceError: the device is not there.
        """
        return cls(load_artifact(path), device=device, threads=threads)

    @property
    def config(self) -> Config:
        """The configuration that the model was trained with."""
        return self.artifact.config

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the C classes."""
        return self.artifact.labels.names

    @property
    def fitted_thresholds(self) -> npt.NDArray[np.float64] | None:
        """The threshold of each class, [C], where :meth:`calibrate` has fitted them."""
        return recorded_thresholds(self.artifact.calibration, self.labels)

    def warm_up(self) -> TextClassifier:
        """Load the compiled code now, so that no prediction waits for it; return the model.

        It takes half a second. Without it the first texts (a megabyte, less where they are short)
        go through plain Python, which starts at once and takes twice as long for a text.
        """
        import fasttext_app.text.kernels  # noqa: F401

        self.rank(["a"])
        return self

    def save(self, path: str | Path) -> None:
        """Write the model directory; see ``artifact.py``.

        Raises:
            ArtifactError: it cannot be written there.
        """
        save_artifact(self.artifact, path)

    def quantize(
        self,
        cutoff: int = 0,
        *,
        product: bool = False,
        dsub: int = 2,
        qnorm: bool = False,
        qout: bool = False,
    ) -> TextClassifier:
        """Return a smaller model, with its table in 8-bit numbers; see ``quantization.py``.

        Args:
            cutoff: keep no more than this many rows, those with the largest norms; 0: all.
            product: product codes instead, which are smaller still and less exact.
            dsub: how many numbers share a code.
            qnorm: whether the norms of rows are coded by themselves.
            qout: whether the linear layer is put into codes too; it needs 256 labels.

        Raises:
            ConfigError: the model is quantised already, its rows cannot be left out, or there are
                too few for product codes.
            MissingDependencyError: product codes need scikit-learn.
        """
        from fasttext_app.quantization import product_quantize, quantize

        smaller = (
            product_quantize(self.artifact, cutoff, width=dsub, norms=qnorm, output=qout)
            if product
            else quantize(self.artifact, cutoff)
        )
        return TextClassifier(smaller, threads=self.threads)

    def calibrate(
        self,
        data: str | Path | Sequence[str],
        labels: Sequence[str] | None = None,
        *,
        split: str = "validation",
        temperature: bool = True,
        thresholds: str | None = None,
    ) -> TextClassifier:
        """Return the model with probabilities that agree with what comes true.

        Its temperature makes them surer or less sure, all alike; its thresholds say for each label
        from which probability on it is predicted. The rows must not be those of training.

        Args:
            data: a SPEC, or texts.
            labels: one cell for each text, where ``data`` is texts.
            split: of the SPEC.
            temperature: whether to fit it.
            thresholds: what they are chosen for: ``f1``, ``precision:0.9``, ``recall:0.9``; None:
                the model has none.

        Raises:
            ConfigError: there is nothing to fit, or the model cannot have it.
            DataError: the data cannot be read, is that of training, or no temperature fits it.
        """
        from fasttext_app import evaluation as jobs

        goal = None if thresholds is None else parse_goal(thresholds)
        config, source = jobs.given_rows("calibrate", self.config, data, labels)
        rows = jobs.held_out(self.artifact, config, source, split)
        calibrated = jobs.calibrate_batches(
            self,
            rows,
            config.data,
            temperature=temperature,
            goal=goal,
            origin=jobs.origin_of(source, split),
        )
        return TextClassifier(calibrated, threads=self.threads)

    def logits(self, texts: TextLike) -> F32:
        """Return the logits of texts, [B, C]."""
        parts = list(map_threads(self.chunk_logits, as_chunks(texts), self.threads))
        return np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)

    def predict_proba(self, texts: TextLike) -> npt.NDArray[np.float64]:
        """Return the probability of every class for each text, [B, C]."""
        return probabilities(self.logits(texts), self.config.model)

    def rank(self, texts: TextLike, top_k: int = 1) -> Ranked:
        """Return the ``top_k`` best classes of each text (all of them where there are fewer)."""
        top_k, _, _ = self.limits(top_k, 0.0)

        def rank(chunk: pa.StringArray) -> Ranked:
            return self.rank_bags(self.encoder.encode_chunk(chunk), top_k)

        parts = list(map_threads(rank, as_chunks(texts), self.threads))
        if not parts:
            return self._ranked(np.empty((0, len(self.labels)), np.float32), top_k)
        return Ranked.concat(parts)

    def rank_bags(self, bags: Ragged, top_k: int = 1) -> Ranked:
        """Do the same for texts that :attr:`encoder` has encoded."""
        rows = max(MOST_LOGITS // len(self.labels), 1)
        if len(bags) <= rows:
            return self._ranked(self._forward(bags), top_k)
        pieces = np.split(np.arange(len(bags)), range(rows, len(bags), rows))
        return Ranked.concat([self.rank_bags(bags.take(piece), top_k) for piece in pieces])

    def _ranked(self, logits: F32, top_k: int) -> Ranked:
        classes = top_k_classes(logits, top_k)  # large logits differ where probabilities round to 1
        return Ranked(classes, class_probabilities(logits, classes, self.config.model))

    @overload
    def predict(  # type: ignore[overload-overlap]  # str is a Sequence[str] too
        self, texts: str, top_k: int | None = None, threshold: float | str = 0.0
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        texts: Sequence[str] | pa.Array,
        top_k: int | None = None,
        threshold: float | str = 0.0,
    ) -> list[Prediction]: ...
    def predict(
        self,
        texts: str | Sequence[str] | pa.Array,
        top_k: int | None = None,
        threshold: float | str = 0.0,
    ) -> Prediction | list[Prediction]:
        """Return the best labels of one text, or of each of several.

        Args:
            texts: one text, or a list or Arrow array of texts.
            top_k: at most this many labels a text; None: 1, or all with ``fitted``.
            threshold: leave out labels with a smaller probability; ``fitted``: than the model's
                threshold of that label.

        Raises:
            ConfigError: ``fitted``, and the model has no thresholds; or ``top_k`` is below 1.
        """
        looked_at, least, most = self.limits(top_k, threshold)
        ranked = (
            self.rank_bags(self.encoder.encode_text(texts), looked_at)
            if isinstance(texts, str)
            else self.rank(texts, looked_at)
        )
        answers = []
        for classes, values, kept in zip(
            ranked.classes.tolist(),
            ranked.probabilities.tolist(),
            ranked.kept(least, most).tolist(),
            strict=True,
        ):
            above = [
                (self.labels[c], p) for c, p, k in zip(classes, values, kept, strict=True) if k
            ]
            answers.append(Prediction(tuple(n for n, _ in above), tuple(p for _, p in above)))
        return answers[0] if isinstance(texts, str) else answers

    def predict_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        top_k: int | None = None,
        threshold: float | str = 0.0,
    ) -> Iterator[pa.RecordBatch]:
        """Predict a stream of batches with a column ``text``, on all threads, in constant memory.

        Args:
            batches: the texts.
            top_k: as for :meth:`predict`.
            threshold: as for :meth:`predict`.

        Returns:
            Batches of the columns of :data:`PREDICTIONS`, row by row as they came in.

        Raises:
            ConfigError: ``fitted``, and the model has no thresholds; or ``top_k`` is below 1.
            DataError: a text is None or no string.
        """
        looked_at, least, most = self.limits(top_k, threshold)

        def predict(texts: pa.StringArray) -> pa.RecordBatch:
            ranked = self.rank_bags(self.encoder.encode_chunk(texts), looked_at)
            columns = [texts, *ranked.columns(self.labels, least, most)]
            return pa.record_batch(columns, schema=PREDICTIONS)

        pieces = (piece for batch in batches for piece in as_chunks(batch.column("text")))
        return map_threads(predict, pieces, self.threads)

    def limits(
        self, top_k: int | None, threshold: float | str
    ) -> tuple[int, Threshold, int | None]:
        """Return how many classes to rank, their thresholds, and how many answers may stay.

        Raises:
            ConfigError: ``fitted``, and the model has no thresholds; or ``top_k`` is below 1.
        """
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k = {top_k}: must be at least 1")
        if not isinstance(threshold, str):
            return 1 if top_k is None else top_k, threshold, None
        if threshold != FITTED:
            raise ConfigError(f"threshold = {threshold!r}: must be a number or {FITTED!r}")
        fitted = self.fitted_thresholds
        if fitted is None:
            raise ConfigError(
                "the model has no fitted thresholds; make them with "
                "`fasttext-app calibrate MODEL --thresholds f1`"
            )
        return len(self.labels), fitted, top_k

    def evaluate(
        self,
        data: str | Path | Sequence[str],
        labels: Sequence[str | Mapping[str, float]] | None = None,
        *,
        split: str = "test",
        threshold: float | None = None,
    ) -> Scores | MultiLabelScores:
        """Score the model on a data SPEC's split, or on texts with their ``labels``.

        Args:
            data: a SPEC, or texts.
            labels: one cell for each text, where ``data`` is texts; with ``data.soft_labels`` it
                may be a dict of shares.
            split: of the SPEC.
            threshold: where a row may have several labels, the probability from which one is
                predicted; None: the model's own for each label, or 0.5 where it has none.

        Raises:
            DataError: the data cannot be read, or there is none.
        """
        from fasttext_app.evaluation import given_rows

        config, source = given_rows("evaluate", self.config, data, labels)
        return self.evaluate_batches(source.scan(split), threshold, config.data)

    def evaluate_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        threshold: float | None = None,
        data: DataConfig | None = None,
    ) -> Scores | MultiLabelScores:
        """Score the model on batches of ``text`` and ``label``, in constant memory for the texts.

        Args:
            batches: the rows.
            threshold: as for :meth:`evaluate`.
            data: how labels are to be read; None: as the model's settings have it.

        Raises:
            DataError: there are no rows.
        """
        from fasttext_app.evaluation import evaluate_batches

        return evaluate_batches(self, batches, threshold, data or self.config.data)

    def explain(
        self, text: str, label: str | None = None, against: str | None = None
    ) -> Explanation:
        """Take apart the logit of a label for a text; see :func:`.explanation.explain`."""
        from fasttext_app.explanation import explain

        return explain(self, text, label, against)

    def label_features(
        self, label: str, top: int = 10, texts: TextLike | None = None
    ) -> list[LabelFeature]:
        """Return what speaks most for a label; see :func:`.explanation.label_features`.

        Args:
            label: one of :attr:`labels`.
            top: at most so many features.
            texts: where n-grams get their names from, and features their counts; without, they are
                the words of the vocabulary.
        """
        from fasttext_app.explanation import label_features

        return label_features(self, label, top, scan=None if texts is None else lambda: [texts])

    def chunk_logits(self, texts: pa.StringArray) -> F32:
        """Return the same for a column of texts without nulls, on this thread alone."""
        return self._forward(self.encoder.encode_chunk(texts))
