"""Estimators for scikit-learn: ``FastTextClassifier`` and ``FastTextVectorizer``.

>>> from fasttext_app.sklearn import FastTextClassifier
>>> texts = ["great fun, loved it", "a joy to watch", "dull and slow", "a waste of time"] * 5
>>> classifier = FastTextClassifier(dim=8, epochs=20).fit(texts, [1, 1, 0, 0] * 5)
>>> classifier.predict(["what a joy", "slow and dull"])
array([1, 0])
>>> classifier
FastTextClassifier(dim=8, epochs=20)

The parameters are the settings of :func:`fasttext_app.train`, and ``fit`` trains what it trains.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from fasttext_app import pipeline
from fasttext_app.config.loading import Layer, resolve
from fasttext_app.config.schema import Config, DataConfig
from fasttext_app.core.arrays import F32, F64, I64, Array, Bool
from fasttext_app.core.arrow import string_array, to_arrow, without_nulls
from fasttext_app.core.built_in_errors import built_in_kinds
from fasttext_app.core.objects import ObjectTable, as_table, is_missing
from fasttext_app.core.ragged import Ragged, offsets_from_lengths
from fasttext_app.data.in_memory import ObjectRows
from fasttext_app.data.named_files import unknown_settings
from fasttext_app.data.split import split_examples
from fasttext_app.errors import ArtifactError, DataError, did_you_mean, missing_package
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.model.directory import MODEL_FILES
from fasttext_app.model.metrics import from_multi_hot, multi_hot
from fasttext_app.text.chunks import text_column
from fasttext_app.training.prepare import WITHOUT_VALIDATION
from fasttext_app.training.progress import PrintedProgress
from fasttext_app.training.run_manifest import WITHOUT_PRETRAINED, differences, setting_layers

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
    )
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import (
        _check_sample_weight,
        _num_samples,
        assert_all_finite,
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
    )
except ImportError:
    raise missing_package("fasttext_app.sklearn", "scikit-learn", "sklearn") from None

__all__ = ["FastTextClassifier", "FastTextVectorizer"]

RENAMED = {"seed": "random_state", "class_weights": "class_weight"}
"""The settings that scikit-learn has a name for."""
DATA_SETTINGS = ("validation", "errors", "nulls", "in_memory_mb")
"""The settings of the section ``data`` that mean something for texts in memory."""
NOT_HERE = ("checkpoint_every", "keep_checkpoints")
"""The settings of files that ``fit`` does not write."""
DEPENDENT = ("minn", "maxn", "term_weighting", "mode", "loss")
"""The settings whose default depends on others; see ``config/auto.py``."""

PLAIN = (str, int, float, bool)
"""The types of labels that have an array of their own."""

COLUMNS: dict[str, Any] = {"text_columns": ("text",), "label_column": "label", "label_columns": ()}


def _setting_names() -> list[str]:
    """Return the settings that the estimators have, by their names in the schema."""
    config = Config()
    sections = (config.text, config.model, config.optimizer, config.trainer)
    names = [name for section in sections for name in type(section).model_fields]
    return [name for name in [*names, *DATA_SETTINGS] if name not in NOT_HERE]


SETTINGS = {name: RENAMED.get(name, name) for name in _setting_names()}
"""The parameter of each setting."""


def _init_with(names: Iterable[str]) -> Callable[..., None]:
    """Return an ``__init__`` with these keyword parameters, of which each is None by default."""
    names = list(names)

    def __init__(self: Any, **parameters: Any) -> None:  # noqa: N807
        for name in names:
            setattr(self, name, parameters.pop(name, None))
        for name in parameters:
            hint = did_you_mean(name, names)
            if name in RENAMED:
                hint = f"; it is {RENAMED[name]!r} here"
            elif name in Config.model_fields:
                hint = "; pass the settings of this section by their keys"
            raise TypeError(f"{type(self).__name__}: there is no parameter {name!r}{hint}")

    own = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    keywords = (Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in names)
    __init__.__qualname__ = "__init__"
    __init__.__signature__ = Signature([own, *keywords])  # type: ignore[attr-defined]
    return __init__


@dataclass(frozen=True)
class _Targets:
    """The labels of rows.

    Attributes:
        classes: the distinct labels, of their own type, [C].
        ids: the classes of each row.
        kind: ``label``: a row has one; ``labels``: a list of any number; ``flags``: a row of 0 and
            1, with a column for each class.
    """

    classes: Array
    ids: Ragged
    kind: str

    @classmethod
    def read(cls, y: Any) -> _Targets:
        """Read labels in any form that scikit-learn knows.

        Raises:
            TypeError: a label is not hashable.
            ValueError: a label is missing, or they are numbers to regress on.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        flags = _flags(y)
        if flags is not None:
            matrix, columns = flags
            return cls(columns, from_multi_hot(matrix), "flags")
        values = _column(y)
        if values.dtype == object and any(map(_is_label_list, values)):
            rows = [list(dict.fromkeys(_labels_of(item))) for item in values]
            classes, ids = _distinct(_array([label for row in rows for label in row]))
            return cls(classes, Ragged(ids, offsets_from_lengths(list(map(len, rows)))), "labels")
        classes, ids = _distinct(values)
        return cls(classes, Ragged.one_each(ids), "label")

    @property
    def several(self) -> bool:
        """Whether a row can have several labels."""
        return self.kind != "label"

    def among(self, classes: Array) -> _Targets:
        """Return the same labels as places among other classes.

        Raises:
            ValueError: a label is not among them, or there is not a column for each.
        """
        if self.kind == "flags" and len(self.classes) != len(classes):
            raise ValueError(f"y: has {len(self.classes)} columns for {len(classes)} classes")
        ids = self.positions(classes)
        if (ids.indices == len(classes)).any():
            raise ValueError(f"y has labels that are not in classes={classes!r}")
        return replace(self, classes=classes, ids=ids)

    def positions(self, classes: Array) -> Ragged:
        """Return the place of each label of each row among other classes; their number if none."""
        same_width = self.kind == "flags" and len(self.classes) == len(classes)
        if same_width and set(self.classes) != set(classes):
            return self.ids  # a matrix has no names for its columns
        place = {label: index for index, label in enumerate(classes)}
        places = [place.get(label, len(place)) for label in self.classes]
        return Ragged(np.array(places, np.int64)[self.ids.indices], self.ids.offsets)


def _flags(y: Any) -> tuple[Bool, Array] | None:
    """Return a matrix of 0 and 1, and the names or numbers of its columns; None for a column."""
    table = as_table(y)
    if table is not None and len(table.names) > 1:
        matrix, columns = np.asarray(y), _array(list(table.names))
    elif hasattr(y, "toarray"):
        matrix = y.toarray()
        columns = np.arange(matrix.shape[-1])
    elif isinstance(y, np.ndarray) and y.ndim > 1 and y.shape[1:] != (1,):
        matrix, columns = y, np.arange(y.shape[1])
    elif isinstance(y, list) and _are_flags(y):
        matrix, columns = np.array(y), np.arange(len(y[0]))
    else:
        return None
    if matrix.ndim != 2 or not np.isin(matrix, (0, 1)).all():
        raise ValueError(
            f"Unknown label type: y has shape {matrix.shape} and holds values other than 0 and 1; "
            "pass one label for each text, a list of labels, or a column of 0 and 1 for each label"
        )
    return matrix == 1, columns


def _are_flags(rows: list[Any]) -> bool:
    """Return whether rows are lists of one length of 2 or more that hold 0 and 1."""
    return bool(rows) and all(
        isinstance(row, list | np.ndarray)
        and len(row) == len(rows[0]) > 1
        and all(isinstance(item, int | np.integer) and item in (0, 1) for item in row)
        for row in rows
    )


def _column(y: Any) -> Array:
    """Return labels as an array of one dimension."""
    table = as_table(y)
    if table is not None:
        y = table.read(table.names).column(0)
    if isinstance(y, np.ndarray):
        column: Array = column_or_1d(y, warn=True)
        return column
    if hasattr(y, "__array__") and not hasattr(y, "to_pylist"):
        return _column(np.asarray(y))
    if isinstance(y, str | bytes | Mapping | AbstractSet) or not isinstance(y, Iterable):
        raise ValueError(f"y should be a 1d array, got {type(y).__name__} instead.")
    return _array(y.to_pylist() if hasattr(y, "to_pylist") else list(y))


def _array(items: list[Any]) -> Array:
    """Return items as an array: of their type if they are all of one plain type, else of objects.

    >>> _array([1, 2]), _array([1, "1"]), _array([(1, 2), (3, 4)]).shape
    (array([1, 2]), array([1, '1'], dtype=object), (2,))
    """
    kinds = list({type(item) for item in items})
    if len(kinds) == 1 and (kinds[0] in PLAIN or issubclass(kinds[0], np.generic)):
        return np.asarray(items)
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array


def _is_label_list(item: object) -> bool:
    return isinstance(item, list | tuple | AbstractSet | np.ndarray)


def _labels_of(item: Any) -> list[Any]:
    """Return the labels of a row; one that is no list stands for itself."""
    return list(item) if _is_label_list(item) else [item]


def _distinct(values: Array) -> tuple[Array, I64]:
    """Return the distinct labels in ascending order, and the place of each label among them."""
    if values.dtype.kind == "f":
        assert_all_finite(values, input_name="y")
        check_classification_targets(values)
    if values.dtype != object:
        return np.unique(values, return_inverse=True)
    labels = values.tolist()
    for row, label in enumerate(labels, start=1):
        if is_missing(label):
            raise ValueError(f"Input y contains NaN or None: row {row} has no label")
        if not isinstance(label, Hashable):
            raise TypeError(f"y, row {row}: a label must be hashable, got {type(label).__name__}")
    distinct = list(dict.fromkeys(labels))
    try:
        distinct.sort()
    except TypeError:  # labels of several types, or of one without an order
        distinct.sort(key=lambda label: (type(label).__name__, str(label)))
    place = {label: index for index, label in enumerate(distinct)}
    return _array(distinct), np.array([place[label] for label in labels], np.int64)


def _names(labels: Iterable[Any], taken: Iterable[str] = ()) -> list[str]:
    """Return a name for each label in the model: what ``str`` gives, made distinct.

    >>> _names(["a", 1, "1", ""])
    ['a', '1', '1 (2)', 'label']
    """
    names: list[str] = []
    used = set(taken)
    for label in labels:
        text = str(label).encode("utf-8", "replace").decode().strip() or "label"
        number, name = 1, text
        while name in used:
            number += 1
            name = f"{text} ({number})"
        used.add(name)
        names.append(name)
    return names


def _texts(texts: Any, config: DataConfig) -> pa.ChunkedArray:
    """Return texts as a column without nulls.

    Raises:
        DataError: they are not one column of texts, or one is missing.
    """
    if isinstance(texts, str | bytes):
        raise DataError("X: got one text; pass a list of texts")
    if hasattr(texts, "toarray"):
        raise DataError("X: sparse input is not supported; pass a list or a column of texts")
    table = as_table(texts)
    if table is not None:
        if len(table.names) != 1:
            raise DataError(
                f"X: has {len(table.names)} columns, {', '.join(map(repr, table.names))}; pass one "
                "of them, or choose it with ColumnTransformer"
            )
        texts = table.read(table.names).column(0)
    if getattr(texts, "ndim", 1) == 2:
        if texts.shape[1] != 1 or not isinstance(texts, np.ndarray):
            raise DataError(f"X: has the shape {texts.shape}; pass one column of texts")
        texts = texts[:, 0]
    column = pa.chunked_array(text_column(texts, "X", config.errors), pa.string())
    if column.null_count and config.nulls != "empty":
        row = column.is_null().to_pylist().index(True) + 1
        raise DataError(
            f'X, row {row}: there is no text (None or NaN); fill it in, or set nulls="empty"'
        )
    return pa.chunked_array([without_nulls(chunk) for chunk in column.chunks], pa.string())


class _FastTextEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """What both estimators share: parameters, training, and the fitted model in ``model_``."""

    _always: ClassVar[Layer] = {}
    """Settings that are not parameters."""

    @classmethod
    def from_model(cls, model: TextClassifier) -> Self:
        """Return a fitted estimator that uses a trained model, such as ``ft.load(path)``.

        Its classes are the names of the model's labels, and its parameters the model's settings.
        Settings that name files or packages are left out, unless this machine has read them for the
        model before, so that fitting a clone reads nothing that only a stranger's model names.
        """
        changed = {
            name.partition(".")[2]: value
            for name, (value, _) in differences(model.config, Config()).items()
        }
        if any(name in changed for name in DEPENDENT):
            text, classifier = model.config.text, model.config.model
            for name in DEPENDENT:
                changed[name] = getattr(text if hasattr(text, name) else classifier, name)
        foreign = {
            key for _, key in unknown_settings(model.config, (), model.artifact.data.get("files"))
        }
        own = set(cls._get_param_names())
        parameters = {
            SETTINGS[name]: value
            for name, value in changed.items()
            if SETTINGS.get(name) in own and name not in foreign
        }
        estimator = cls(**parameters)
        estimator._set_model(model, {})
        estimator.target_type_ = (
            "label" if model.config.data.eval_label_separator is None else "labels"
        )
        return estimator

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = getattr(self, "nulls", None) == "empty"
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # The model is saved as the files of its directory: data without code, which later versions
        # can read, and which skops takes as it is.
        state = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model")
                self.model_.save(path)
                state["model_"] = {file.name: file.read_bytes() for file in path.iterdir()}
        return state

    def __reduce_ex__(self, protocol: Any) -> Any:
        # For pickle, which skops does not use: what can run any code can also run the package of
        # the model's tokenizer.
        return _unpickled, (type(self), self.__getstate__())

    def __setstate__(self, state: dict[str, Any], *, packages: bool = False) -> None:
        files = state.get("model_")
        if files is not None:
            with tempfile.TemporaryDirectory() as folder:
                if not set(files) <= MODEL_FILES:  # a name could lead out of the folder
                    raise ArtifactError("the estimator was saved with files that no model has")
                for name, data in files.items():
                    Path(folder, name).write_bytes(data)
                threads = state.get("threads") or 0
                model = TextClassifier.load(folder, threads=threads, packages=packages)
            state = {**state, "model_": model}
        super().__setstate__(state)

    def _settings(self, names: Mapping[Any, str]) -> dict[str, Any]:
        """Return the settings that are set, by their keys; ``names`` are those of the labels."""
        settings = {key: getattr(self, name, None) for key, name in SETTINGS.items()}
        settings = {key: value for key, value in settings.items() if value is not None}
        if "seed" in settings and not isinstance(settings["seed"], int | np.integer):
            settings["seed"] = int(check_random_state(settings["seed"]).randint(2**31 - 1))
        weights = settings.get("class_weights")
        if isinstance(weights, Mapping):
            unknown = [label for label in weights if label not in names]
            if unknown and any(label not in weights for label in names):
                raise ValueError(f"class_weight: there are no labels {unknown} in y")
            settings["class_weights"] = {
                names[label]: float(weight) for label, weight in weights.items() if label in names
            }
        return settings

    def _train(
        self, X: Any, targets: _Targets, sample_weight: Any, further: TextClassifier | None = None
    ) -> None:
        """Train ``model_``, from the start or ``further`` from a model."""
        known = {}
        if further is not None:
            known = dict(zip(self.classes_, further.labels, strict=True))
        new = [label for label in targets.classes if label not in known]
        known |= zip(new, _names(new, known.values()), strict=True)
        settings, always = self._settings(known), [self._always]
        if settings.get("epochs") == 0:
            always.append(WITHOUT_VALIDATION)
        with ExitStack() as stack:
            if further is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                settings["start_from"] = Path(folder, "model")
                further.save(settings["start_from"])
                always += [WITHOUT_VALIDATION, {"model": WITHOUT_PRETRAINED}]
            layers = [*setting_layers(getattr(self, "config", None), settings), *always]
            names = string_array([known[label] for label in targets.classes])
            model = self._trained(X, targets, sample_weight, layers, names)
        if further is not None:  # whose folder is gone
            config = resolve(model.config.model_dump(), {"model": {"start_from": None}})
            model.artifact = replace(model.artifact, config=config)
        self._set_model(model, {name: label for label, name in known.items()})
        self.target_type_ = targets.kind

    def _trained(
        self,
        X: Any,
        targets: _Targets,
        sample_weight: Any,
        layers: list[Layer],
        names: pa.StringArray,
    ) -> TextClassifier:
        """Train a model whose labels have these names."""
        texts = _texts(X, resolve(*layers).data)
        check_consistent_length(texts, targets.ids)
        labels = names.take(to_arrow(targets.ids.indices))
        defaults: Layer = {}
        if targets.several:
            defaults = {"model": {"loss": "ova"}}
            labels = pa.ListArray.from_arrays(
                to_arrow(targets.ids.offsets.astype(np.int32)), labels
            )
        columns = {"text": texts, "label": labels}
        chosen = dict(COLUMNS)
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, texts, ensure_non_negative=True)
            columns["weight"] = to_arrow(weights.astype(np.float64))
            chosen["weight_column"] = "weight"
        table = pa.table(columns)
        rows = ObjectRows(
            "fit",
            ObjectTable(table.column_names, table.select, {"label": names.to_pylist()}),
            chosen,
        )
        in_cells = rows.settings(DataConfig())
        reading = {"label_separator": None, "soft_labels": False, "label_columns": ()}
        reading |= {"weight_column": None, "whole_labels": not targets.several}
        reading |= in_cells.get("data", {})
        config = resolve(defaults, in_cells, *layers, {"data": reading})
        source = rows.source(config.data, weights=True)
        examples = split_examples(source.scan("all"), source, config)
        callback = PrintedProgress() if getattr(self, "verbose", None) else None
        result = pipeline.train(config, replace(examples, one_label=True), callback)
        if result.outcome.interrupted:
            raise KeyboardInterrupt
        return result.model

    def _set_model(self, model: TextClassifier, label_of: Mapping[str, Any]) -> None:
        """Take a model, and the label that each of its names stands for."""
        self.model_ = model
        self.classes_ = _array([label_of.get(name, name) for name in model.labels])

    def _texts(self, X: Any) -> pa.ChunkedArray:
        check_is_fitted(self)
        return _texts(X, self.model_.config.data)


def _unpickled(kind: type[_FastTextEstimator], state: dict[str, Any]) -> _FastTextEstimator:
    estimator = kind.__new__(kind)
    estimator.__setstate__(state, packages=True)
    return estimator


class FastTextClassifier(ClassifierMixin, _FastTextEstimator):  # type: ignore[misc]
    """A fastText classifier of texts with the interface of scikit-learn.

    Its parameters are the settings of ``docs/configuration.md`` by their keys (``epochs``, ``lr``,
    ``dim``, ``word_ngrams``, ...); None stands for the default. In addition,
    ``config`` is a TOML file or a shipped config to start from, ``random_state`` the seed (None: 0,
    so that a fit can be repeated), ``class_weight`` is None, ``"balanced"`` or a dict of weights by
    label, and ``verbose=True`` writes the progress to standard error.

    ``X`` is a list, an array or a column of texts, or a frame with one column. ``y`` has labels of
    any hashable type; for several labels per text, it is a matrix of 0 and 1 or a list of lists.

    Attributes:
        classes_: the labels, in the order of the columns of ``predict_proba``.
        model_: the trained :class:`~fasttext_app.TextClassifier`, to save, explain or evaluate.
        target_type_: ``label`` if a text has one label; ``flags`` or ``labels`` if it can have
            several, given as a matrix or as lists.
    """

    __init__ = _init_with(["config", *SETTINGS.values(), "verbose"])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @built_in_kinds()
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new model.

        Args:
            X: the texts.
            y: the labels of each text.
            sample_weight: the weight of each text in the loss.

        Raises:
            ValueError: the texts, the labels or a parameter cannot be used.
        """
        self._train(X, _Targets.read(y), sample_weight)
        return self

    @built_in_kinds()
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train the model further on more texts; new words and labels get rows.

        Args:
            X: the texts.
            y: the labels of each text; new ones are added to ``classes_``.
            classes: all labels that any call will have, if they are known.
            sample_weight: the weight of each text in the loss.

        Raises:
            ValueError: as for :meth:`fit`; or ``classes`` differs from that of an earlier call, or
                lacks a label.
        """
        targets, further = _Targets.read(y), getattr(self, "model_", None)
        if further is not None and targets.kind != self.target_type_:
            raise ValueError("y: has labels of another form than in the first call; pass the same")
        if classes is not None:
            given = _column(classes)
            if targets.kind != "flags":
                given = _distinct(given)[0]
            elif set(given) == set(targets.classes):
                given = targets.classes  # in the order of the columns
            if further is not None and set(given) != set(self.classes_):
                raise ValueError(
                    f"`classes={given!r}` is not the same as on last call to partial_fit, was: "
                    f"{self.classes_!r}"
                )
            targets = targets.among(given if further is None else self.classes_)
        elif further is not None and targets.kind == "flags":
            targets = targets.among(self.classes_)
        self._train(X, targets, sample_weight, further)
        return self

    @built_in_kinds()
    def predict(self, X: Any) -> Array | list[list[Any]]:
        """Return the best label of each text, or all labels of a probability of 0.5 or more.

        Several labels come in the form that ``fit`` was given: a matrix of 0 and 1, [B, C], or
        lists. Thresholds that
        :meth:`~fasttext_app.TextClassifier.calibrate` has fitted replace 0.5.
        """
        texts = self._texts(X)
        if self.target_type_ == "label":
            labels: Array = self.classes_[self.model_.rank(texts).classes[:, 0]]
            return labels
        flags = self._predicted_flags(texts)
        if self.target_type_ == "flags":
            return flags.astype(np.int64)
        return [self.classes_[row].tolist() for row in flags]

    @built_in_kinds()
    def predict_proba(self, X: Any) -> F64:
        """Return the probability of each label for each text, [B, C].

        The probabilities of a text sum to 1, unless it can have several labels.
        """
        texts = self._texts(X)
        probabilities = self.model_.predict_proba(texts)
        if self.target_type_ == "label" and self.model_.head.independent:
            totals = probabilities.sum(axis=1, keepdims=True)
            probabilities = np.divide(
                probabilities,
                totals,
                out=np.full_like(probabilities, 1 / len(self.classes_)),
                where=totals > 0,
            )
        return probabilities

    def predict_log_proba(self, X: Any) -> F64:
        """Return the logarithms of :meth:`predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @built_in_kinds()
    def decision_function(self, X: Any) -> F32:
        """Return the logit of each label for each text, [B, C]; of two labels, their margin, [B].

        A positive margin speaks for ``classes_[1]``.
        """
        texts = self._texts(X)
        logits = self.model_.logits(texts)
        if self.target_type_ == "label" and logits.shape[1] == 2:
            margins: F32 = logits[:, 1] - logits[:, 0]
            return margins
        return logits

    @built_in_kinds()
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; with several labels, the share of texts whose labels are all right.

        Args:
            X: the texts.
            y: the labels of each text.
            sample_weight: the weight of each text.
        """
        texts, true = self._texts(X), _Targets.read(y)
        check_consistent_length(texts, true.ids)
        places = true.positions(self.classes_)
        if self.target_type_ == "label" and not true.several:
            right = self.model_.rank(texts).classes[:, 0] == places.indices
        else:
            classes = len(self.classes_)
            flags = multi_hot(places, classes + 1)
            right = (flags[:, :classes] == self._predicted_flags(texts)).all(1) & ~flags[:, classes]
        return float(np.average(right, weights=sample_weight))

    def _predicted_flags(self, texts: pa.ChunkedArray) -> Bool:
        thresholds = self.model_.fitted_thresholds
        minimum = 0.5 if thresholds is None else thresholds
        flags: Bool = self.model_.predict_proba(texts) >= minimum
        return flags


class FastTextVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _FastTextEstimator):  # type: ignore[misc]
    """Turns texts into vectors, [B, D], for the estimators after it.

    ``fit`` trains a classifier, and ``transform`` returns its bag vectors: the weighted sum of the
    embeddings of the words and n-grams of each text. The parameters are those of
    :class:`FastTextClassifier`, without ``fold``; ``dim`` is the number of columns.

    With ``epochs=0``, ``y`` is not used, and a text is the weighted sum of the initial embeddings:
    those of ``pretrained``, or else random ones.

    Attributes:
        model_: the trained :class:`~fasttext_app.TextClassifier`.
    """

    _always: ClassVar[Layer] = {"model": {"fold": False}}
    __init__ = _init_with(
        ["config", *(name for name in SETTINGS.values() if name != "fold"), "verbose"]
    )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        tags.target_tags.required = getattr(self, "epochs", None) != 0
        return tags

    @built_in_kinds()
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train the embeddings.

        Args:
            X: the texts.
            y: the labels of each text; not used with ``epochs=0``.
            sample_weight: the weight of each text in the loss.

        Raises:
            ValueError: the texts, the labels or a parameter cannot be used.
        """
        if self.epochs == 0:
            y = np.zeros(_num_samples(X), np.int64)
        elif y is None:
            raise ValueError(
                "requires y to be passed, but the target y is None: the vectors are trained on "
                "labels; pass them, or set epochs=0 to use the vectors of pretrained= as they are"
            )
        self._train(X, _Targets.read(y), sample_weight)
        return self

    @built_in_kinds()
    def transform(self, X: Any) -> F32:
        """Return the vector of each text, [B, D]; zeros for a text without a known word."""
        texts = self._texts(X)
        return self.model_.embed(texts)

    @property
    def _n_features_out(self) -> int:
        return self.model_.artifact.dim
