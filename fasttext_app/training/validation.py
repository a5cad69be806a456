"""What a model comes to on the validation rows, amid its training."""

from __future__ import annotations

import numpy as np
import torch

from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.model.heads import class_scores, probabilities
from fasttext_app.model.metrics import (
    MultiLabelScores,
    Scores,
    best_at,
    chosen_classes,
    classification_scores,
    multi_label_scores,
    top_k_classes,
)
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.losses import build_loss

BATCH = 4096
LOGITS = 1 << 24  # at most in a batch: of 4,096 classes and more, fewer texts


class Validator:
    """Scores a model in training.

    Args:
        config: the run's settings.
        labels: the classes, with how often each was seen in training.
        label_sets: where rows may have several labels, the sets of classes that theirs number.

    Raises:
        ConfigError: the figure to go by is one of a label that there is not.
    """

    def __init__(self, config: Config, labels: Labels, label_sets: Ragged | None) -> None:
        self._config, self._labels, self._label_sets = config, labels, label_sets
        # Of labels with shares, the most likely one is right.
        soft = isinstance(label_sets, SoftLabels)
        self._sets = None if soft else label_sets
        self._most_likely = label_sets.most_likely() if isinstance(label_sets, SoftLabels) else None
        self.metric = Metric.parse(config.trainer.monitor)
        self._class = self.metric.class_id(labels.names)
        self._class_scores = class_scores(config.model.loss, labels.counts)

    @torch.no_grad()
    def __call__(self, model: FastTextClassifier, data: EncodedDataset) -> dict[str, float]:
        """Return the figures of a ``events.EpochRecord``; data without rows has none."""
        # The same draws each time, so that epochs compare.
        draws = torch.Generator().manual_seed(self._config.trainer.seed)
        counts = self._labels.counts
        loss = build_loss(self._config, counts, self._label_sets, draws, training=False)
        loss_sum, ranked, above, kept = 0.0, [], [], []
        size = min(BATCH, max(LOGITS // len(self._labels), 1))
        for texts in torch.arange(len(data), device=data.labels.device).split(size):
            batch = data.gather(texts)
            bags = model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
            loss_sum += float(loss(model.linear, bags, batch.labels)) * len(batch)
            scores = self._class_scores(model.linear(bags).cpu().numpy())
            ranked.append(top_k_classes(scores, 1))
            if self._sets is not None or self.metric.needs_probabilities:
                proba = probabilities(scores, self._config.model)
                above.append(chosen_classes(proba >= 0.5))
                if self.metric.needs_probabilities:
                    kept.append(proba if self._class is None else proba[:, [self._class]])
        true, best = data.labels.cpu().numpy(), np.concatenate(ranked)
        if self._most_likely is not None:
            true = self._most_likely[true]
        scored = self._scores(true, best, above)
        figures = {
            "validation_loss": loss_sum / len(data),
            "validation_accuracy": _accuracy(scored),
            "validation_macro_f1": scored["macro_f1"],
        }
        if f"validation_{self.metric}" not in figures:
            all_kept = np.concatenate(kept) if kept else None
            figures["validation_score"] = self._figure(scored, true, all_kept)
        return figures

    def _scores(
        self, true: np.ndarray, best: np.ndarray, above: list[Ragged]
    ) -> Scores | MultiLabelScores:
        if self._sets is None:
            return classification_scores(true, best, self._labels.names)
        return multi_label_scores(
            self._sets.take(true), Ragged.concat(above), best, self._labels.names
        )

    def _figure(
        self, scored: Scores | MultiLabelScores, true: np.ndarray, proba: np.ndarray | None
    ) -> float:
        """Return the figure to go by, where it is not one of those that every run has."""
        metric = self.metric
        if proba is not None:
            assert metric.target is not None
            right = self._right(true)
            by_recall = metric.name == "precision@recall"
            return best_at(proba, right, metric.target, precision=by_recall)
        if metric.label is None:  # f1 and micro_f1
            return scored["micro_f1"]
        of_label = scored["per_label"][metric.label]
        return {name: of_label[name] for name in ("f1", "precision", "recall")}[metric.name]

    def _right(self, true: np.ndarray) -> np.ndarray:
        """Say which pairs of a text and a class are right: of all classes, or of the label's."""
        right = np.zeros((len(true), len(self._labels)), dtype=bool)
        if self._sets is None:
            right[np.arange(len(true)), true] = True
        else:
            of_rows = self._sets.take(true)
            right[np.repeat(np.arange(len(true)), of_rows.lengths), of_rows.indices] = True
        return right if self._class is None else right[:, [self._class]]


def _accuracy(scored: Scores | MultiLabelScores) -> float:
    """Return how often the best label is right."""
    return scored["precision_at_k"]["1"]
