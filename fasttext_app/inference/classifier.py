"""``TextClassifier``: a predictor with load, save, quantize, calibrate, evaluate and explain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core import arguments
from fasttext_app.inference.artifacts import load_artifact_or_fasttext
from fasttext_app.inference.predictor import Predictor, Texts
from fasttext_app.model.directory import load_artifact, save_artifact
from fasttext_app.model.metrics import MultiLabelScores, Scores

if TYPE_CHECKING:
    from fasttext_app.data.in_memory import LabelColumn
    from fasttext_app.inference.explain import Explanation, LabelFeature
    from fasttext_app.model.train_warnings import TrainWarning


class TextClassifier(Predictor):
    """A trained model: predict, evaluate, calibrate, quantize, explain, save.

    ``train`` and ``load`` return one; see :class:`Predictor` for its arguments and predictions.
    """

    training_warnings: tuple[TrainWarning, ...] = ()
    """Warnings of the training run; empty for a loaded model."""

    @classmethod
    def load(
        cls, path: str | Path, *, device: str = "cpu", threads: int = 0, packages: bool = False
    ) -> TextClassifier:
        """Load a model directory.

        Args:
            path: the model.
            device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
            threads: threads for a column of texts; 0: all cores.
            packages: whether the model's tokenizer may run an optional package; see ``ft.load``.

        Raises:
            ArtifactError: it is missing, damaged, or of a newer format.
            ConfigError: its tokenizer needs ``packages``.
            DeviceError: the device is not available.
        """
        packages = arguments.flag("packages", packages)
        artifact = load_artifact(arguments.path("path", path), packages=packages)
        return cls(artifact, device=device, threads=threads)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        device: str = "cpu",
        threads: int = 0,
        packages: bool = False,
    ) -> TextClassifier:
        """Load a model of the Hugging Face hub, or one at a local path.

        Args:
            model: ``owner/name`` or ``owner/name@revision``; a path that exists takes precedence.
            revision: a branch, a tag or a commit, if ``model`` names none.
            token: an access token; None: the one you are logged in with.
            device: ``cpu``, ``cuda``, ``cuda:i`` or ``auto``.
            threads: threads for a column of texts; 0: all cores.
            packages: whether the model's tokenizer may run an optional package; see ``ft.load``.

        Raises:
            ArtifactError: the hub has no such model, or it cannot be downloaded or read.
            ConfigError: the revision is given twice, or for a path; or the model needs
                ``packages``.
            DeviceError: the device is not available.
            MissingDependencyError: huggingface_hub is not installed.
        """
        path = arguments.path("model", model)
        artifact = load_artifact_or_fasttext(
            path,
            revision=arguments.optional_string("revision", revision),
            token=arguments.secret("token", token),
            packages=arguments.flag("packages", packages),
        )
        return cls(artifact, device=device, threads=threads)

    def save(self, path: str | Path) -> None:
        """Write a model directory; see ``docs/model_format.md``.

        Raises:
            ArtifactError: it cannot be written there.
            CheckpointError: the directory has the checkpoints of an unfinished run.
        """
        save_artifact(self.artifact, arguments.path("path", path))

    def save_pretrained(
        self,
        path: str | Path,
        *,
        license: str | None = None,  # noqa: A002 - the hub's word
        language: str | Sequence[str] | None = None,
        scores: Scores | MultiLabelScores | None = None,
    ) -> None:
        """Write a model directory with a model card for the Hugging Face hub.

        Args:
            path: the directory.
            license: the license of the model, as the hub names it: ``mit``, ``apache-2.0``, ...
            language: the languages of its texts: ``en``, or several.
            scores: the scores of :meth:`evaluate`, to show with their confusion matrix.

        Raises:
            ArtifactError: it cannot be written there.
            CheckpointError: the directory has the checkpoints of an unfinished run.
            ConfigError: an argument is of the wrong type.
        """
        from fasttext_app.inference.publish import card_details

        folder = arguments.path("path", path)
        details = card_details(self, folder.resolve().name, license, language, scores)
        save_artifact(self.artifact, folder, details)

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        token: str | None = None,
        license: str | None = None,  # noqa: A002 - the hub's word
        language: str | Sequence[str] | None = None,
        scores: Scores | MultiLabelScores | None = None,
    ) -> str:
        """Upload the model to the Hugging Face hub, in one commit.

        Args:
            repo: the repository, ``owner/name``; it is created if there is none.
            private: whether a new repository is private; None: as is the default of its owner. True
                refuses one that is public.
            revision: the branch, which is created if there is none; None: the default branch.
            commit_message: the message of the commit.
            token: an access token; None: the one you are logged in with.
            license: as for :meth:`save_pretrained`.
            language: as for :meth:`save_pretrained`.
            scores: as for :meth:`save_pretrained`.

        Returns:
            ``owner/name@commit``, which ``load`` takes.

        Raises:
            ArtifactError: the hub refuses it or cannot be reached.
            ConfigError: an argument is of the wrong type.
            MissingDependencyError: huggingface_hub is not installed.
        """
        from fasttext_app.inference.publish import card_details, push, repository

        target = repository(repo, revision)
        details = card_details(self, target.repo, license, language, scores)
        if private is not None:
            private = arguments.flag("private", private)
        message = arguments.optional_string("commit_message", commit_message)
        token = arguments.secret("token", token)
        return str(push(self, target, details, private=private, message=message, token=token))

    def quantize(
        self,
        cutoff: int = 0,
        *,
        product: bool = False,
        dsub: int = 2,
        qnorm: bool = False,
        qout: bool = False,
    ) -> TextClassifier:
        """Return a smaller model, with its table in 8-bit integers or product codes.

        Args:
            cutoff: keep at most this many rows, those with the largest norms; 0: all.
            product: use product codes, which are smaller and less exact than 8-bit integers.
            dsub: values per code.
            qnorm: encode the norms of rows separately.
            qout: encode the linear layer too; needs 256 labels.

        Raises:
            ConfigError: the model is already quantized, its rows cannot be dropped, or there are
                too few rows or labels for product codes.
            MissingDependencyError: product codes need scikit-learn.
        """
        from fasttext_app.model.quantize import product_quantize, quantize

        cutoff = arguments.whole_number("cutoff", cutoff, 0)
        dsub = arguments.whole_number("dsub", dsub, 1)
        smaller = (
            product_quantize(self.artifact, cutoff, width=dsub, norms=qnorm, output=qout)
            if product
            else quantize(self.artifact, cutoff)
        )
        return TextClassifier(smaller, threads=self.threads)

    def calibrate(
        self,
        data: Any,
        labels: LabelColumn | None = None,
        *,
        text: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        split: str = "validation",
        temperature: bool = True,
        thresholds: str | None = None,
        **data_settings: Any,
    ) -> TextClassifier:
        """Return a model with calibrated probabilities, fitted on rows it was not trained on.

        Args:
            data: a SPEC, a table, or any iterable of texts.
            labels: the label of each text, if ``data`` is texts.
            text: the text column, or several to join; None: as in training.
            label: the label column, or several of 0 and 1; None: as in training.
            split: the split of the SPEC.
            temperature: fit a temperature, which makes all probabilities more or less confident.
            thresholds: also fit a threshold for each label, for ``f1``, ``precision:0.9`` or
                ``recall:0.9``; None: none.
            data_settings: as for :meth:`evaluate`.

        Raises:
            ConfigError: there is nothing to fit, the model cannot be calibrated, or a setting is
                invalid.
            DataError: the data cannot be read, the model was trained on it, or no temperature fits.
        """
        from fasttext_app.inference.calibrate import calibrate_on
        from fasttext_app.inference.evaluate import open_labeled
        from fasttext_app.model.thresholds import parse_goal

        goal = None
        if thresholds is not None:
            goal = parse_goal(arguments.string("thresholds", thresholds))
        split = arguments.string("split", split)
        config, source = open_labeled(
            "calibrate", self.config, data, labels, text, label, **data_settings
        )
        calibrated = calibrate_on(self, source, split, config, temperature=temperature, goal=goal)
        return TextClassifier(calibrated, threads=self.threads)

    def evaluate(
        self,
        data: Any,
        labels: LabelColumn | None = None,
        *,
        text: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        split: str = "test",
        threshold: float | None = None,
        **data_settings: Any,
    ) -> Scores | MultiLabelScores:
        """Score the model on a split of a data SPEC, or on texts with their labels.

        Args:
            data: a SPEC, a table, or any iterable of texts.
            labels: the label of each text, if ``data`` is texts; or a list of labels, or a dict of
                their probabilities.
            text: the text column, or several to join; None: as in training.
            label: the label column, or several of 0 and 1; None: as in training.
            split: the split of the SPEC.
            threshold: the smallest probability of a predicted label, if rows may have several
                labels; None: the fitted one of each label, or 0.5 if there are none.
            data_settings: settings of the section ``data`` that say how to read the SPEC:
                ``encoding``, ``delimiter``, ``format``, ``header``, ``skip_bad``, ...

        Raises:
            ConfigError: a setting is invalid.
            DataError: the data cannot be read, or has no rows.
        """
        from fasttext_app.inference.evaluate import open_labeled

        split = arguments.string("split", split)
        config, source = open_labeled(
            "evaluate", self.config, data, labels, text, label, **data_settings
        )
        return self.evaluate_batches(source.scan(split), threshold, config.data)

    def evaluate_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        threshold: float | None = None,
        data: DataConfig | None = None,
    ) -> Scores | MultiLabelScores:
        """Score the model on batches of ``text`` and ``label``; the texts are not kept in memory.

        Args:
            batches: the rows.
            threshold: as for :meth:`evaluate`.
            data: settings to read labels with; None: the model's own.

        Raises:
            DataError: there are no rows.
        """
        from fasttext_app.inference.evaluate import evaluate_batches

        if threshold is not None:
            threshold = arguments.number("threshold", threshold)
        return evaluate_batches(self, batches, threshold, data or self.config.data)

    def explain(
        self, text: str, label: str | None = None, against: str | None = None
    ) -> Explanation:
        """Split the logit of a label into what each word and n-gram of a text adds.

        Args:
            text: the text.
            label: the label; None: the best one.
            against: explain how much larger the logit of ``label`` is than that of this label.

        Raises:
            ConfigError: the model does not have a label, or its loss has no additive logits.
            DataError: the text is not a string.
        """
        from fasttext_app.inference.explain import explain

        return explain(self, text, label, against)

    def label_features(
        self, label: str, top: int = 10, texts: Texts | None = None
    ) -> list[LabelFeature]:
        """Return the words and n-grams that add most to the logit of a label.

        Args:
            label: one of :attr:`labels`.
            top: how many to return.
            texts: texts to take the features from, with names and counts; None: the words of the
                vocabulary, since a model does not know the names of its n-grams.

        Raises:
            ConfigError: the model does not have the label, its loss has no additive logits, or
                ``top`` is below 1.
        """
        from fasttext_app.inference.explain import label_features

        top = arguments.whole_number("top", top, 1)
        column = [] if texts is None else pa.chunked_array(list(self.chunks(texts)), pa.string())
        return label_features(self, label, top, scan=None if texts is None else lambda: [column])
