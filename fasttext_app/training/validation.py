"""``Validator``: validation metrics during training."""

from __future__ import annotations

import numpy as np
import torch

from fasttext_app.config.metric_name import Metric
from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import F64, I64, Bool
from fasttext_app.core.ragged import Ragged
from fasttext_app.data.labels import Labels, find_label
from fasttext_app.data.soft_labels import SoftLabels
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.model.heads import build_head, texts_at_once
from fasttext_app.model.metrics import MultiLabelScores, Scores, multi_hot
from fasttext_app.model.scoring import Scorer
from fasttext_app.model.thresholds import precision_at_recall, recall_at_precision
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.losses import build_loss

BATCH = 4096


class Validator:
    """Scores a model on the validation rows.

    Args:
        config: settings of the run.
        labels: the classes, with the training rows of each.
        label_sets: the sets of classes that rows refer to, if rows may have several labels.

    Raises:
        ConfigError: ``trainer.monitor`` names a label that does not exist.
    """

    def __init__(self, config: Config, labels: Labels, label_sets: Ragged | None) -> None:
        self._config, self._labels, self._label_sets = config, labels, label_sets
        # A row with soft labels is scored by the most likely one.
        self._most_likely = label_sets.most_likely() if isinstance(label_sets, SoftLabels) else None
        self._multi_label = label_sets is not None and self._most_likely is None
        self.metric = Metric.parse(config.trainer.monitor)
        self._columns = slice(None)  # the classes that the metric is about
        if self.metric.label is not None:
            index = find_label(self.metric.label, labels.names, f"trainer.monitor = {self.metric}")
            self._columns = slice(index, index + 1)
        self._head = build_head(config.model, labels.counts)

    @torch.no_grad()
    def __call__(self, model: FastTextClassifier, data: EncodedDataset) -> dict[str, float]:
        """Return the validation fields of an ``EpochRecord``."""
        # The same random numbers in every epoch, so that epochs compare.
        generator = torch.Generator().manual_seed(self._config.trainer.seed)
        loss = build_loss(
            self._config, self._labels.counts, self._label_sets, generator, training=False
        )
        scorer = Scorer(self._labels.names, multi_label=self._multi_label)
        loss_sum, probabilities, right = 0.0, [], []
        size = min(BATCH, texts_at_once(len(self._labels)))
        for texts in torch.arange(len(data), device=data.labels.device).split(size):
            batch = data.gather(texts)
            bags = model.bags(batch.indices, batch.offsets, batch.per_sample_weights)
            loss_sum += float(loss(model.linear, bags, batch.labels)) * len(batch)
            logits = self._head.logits(model.linear(bags).cpu().numpy())
            true = self._true_classes(batch.labels.cpu().numpy())
            proba = None
            if self._multi_label or self.metric.needs_probabilities:
                proba = self._head.probabilities(logits)
            scorer.add(true, logits, proba)
            if proba is not None and self.metric.needs_probabilities:
                probabilities.append(proba[:, self._columns].ravel())
                right.append(multi_hot(true, len(self._labels))[:, self._columns].ravel())
        scores = scorer.scores()
        fields = {
            "validation_loss": loss_sum / len(data),
            "validation_accuracy": scores["precision_at_k"]["1"],
            "validation_macro_f1": scores["macro_f1"],
        }
        if self.metric.needs_probabilities:
            fields["validation_score"] = self._curve_score(
                np.concatenate(probabilities), np.concatenate(right)
            )
        elif f"validation_{self.metric}" not in fields:
            fields["validation_score"] = self._count_score(scores)
        return fields

    def _true_classes(self, labels: I64) -> Ragged:
        """Return the true classes of rows, from their classes or numbers of label sets."""
        if self._multi_label:
            assert self._label_sets is not None
            return self._label_sets.take(labels)
        classes = labels if self._most_likely is None else self._most_likely[labels]
        return Ragged.one_each(classes)

    def _curve_score(self, proba: F64, right: Bool) -> float:
        """Return the score of a metric over all thresholds."""
        assert self.metric.target is not None
        if self.metric.name == "precision@recall":
            return precision_at_recall(proba, right, self.metric.target)
        return recall_at_precision(proba, right, self.metric.target)

    def _count_score(self, scores: Scores | MultiLabelScores) -> float:
        """Return the score of a metric over the predicted labels."""
        if self.metric.label is None:  # f1 and micro_f1
            return scores["micro_f1"]
        label_scores = scores["per_label"][self.metric.label]
        return {name: label_scores[name] for name in ("f1", "precision", "recall")}[
            self.metric.name
        ]
