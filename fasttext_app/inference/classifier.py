"""``TextClassifier``: a predictor that can also load, save, evaluate, calibrate and explain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.model.calibration import parse_goal
from fasttext_app.model.directory import load_artifact, save_artifact
from fasttext_app.model.metrics import MultiLabelScores, Scores
from fasttext_app.text.encoder import TextLike

if TYPE_CHECKING:
    from fasttext_app.inference.explain import Explanation, LabelFeature
    from fasttext_app.model.train_warnings import TrainWarning


from fasttext_app.inference.predictor import Predictor


class TextClassifier(Predictor):
    """A trained model in use: predict, evaluate, calibrate, explain, save."""

    training_warnings: tuple[TrainWarning, ...] = ()
    """What the training run had to say about this model; empty for a loaded model."""

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
        """Load a model directory.

        Raises:
            ArtifactError: it is missing, damaged, or of a newer format.
            DeviceError: the device is not there.
        """
        return cls(load_artifact(path), device=device, threads=threads)

    def save(self, path: str | Path) -> None:
        """Write the model directory; see ``model/directory.py``.

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
        """Return a smaller model, with its table in 8-bit numbers; see ``model/quantize.py``.

        Args:
            cutoff: keep no more than this many rows, those with the largest norms; 0: all.
            product: product codes instead, which are smaller still and less exact.
            dsub: how many numbers share a code.
            qnorm: whether the norms of rows are coded by themselves.
            qout: whether the linear layer is put into codes too; it needs 256 labels.

        Raises:
            ConfigError: the model is quantized already, its rows cannot be left out, or there are
                too few for product codes.
            MissingDependencyError: product codes need scikit-learn.
        """
        from fasttext_app.model.quantize import product_quantize, quantize

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
        from fasttext_app.inference import calibrate as jobs
        from fasttext_app.inference.evaluate import given_rows

        goal = None if thresholds is None else parse_goal(thresholds)
        config, source = given_rows("calibrate", self.config, data, labels)
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
        from fasttext_app.inference.evaluate import given_rows

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
        from fasttext_app.inference.evaluate import evaluate_batches

        return evaluate_batches(self, batches, threshold, data or self.config.data)

    def explain(
        self, text: str, label: str | None = None, against: str | None = None
    ) -> Explanation:
        """Take apart the logit of a label for a text; see :func:`.explanation.explain`."""
        from fasttext_app.inference.explain import explain

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
        from fasttext_app.inference.explain import label_features

        return label_features(self, label, top, scan=None if texts is None else lambda: [texts])
