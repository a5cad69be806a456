"""``Handle``: the attribute ``f`` of models, which is the compiled object in the original."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

from fasttext_app.fasttext.dump import ARG_NAMES
from fasttext_app.fasttext.file_format import Args, loss_name
from fasttext_app.fasttext.options import DEFAULTS

model_name = Enum("model_name", ["cbow", "skipgram", "supervised"])

METHODS = {
    "getAnalogies": "get_analogies",
    "getInputMatrix": "get_input_matrix",
    "getLabelId": "get_label_id",
    "getMeter": "get_meter",
    "getNN": "get_nearest_neighbors",
    "getOutputMatrix": "get_output_matrix",
    "getSubwordId": "get_subword_id",
    "getSubwords": "get_subwords",
    "getWordId": "get_word_id",
    "isQuant": "is_quantized",
    "loadModel": "load",
    "quantize": "quantize",
    "saveModel": "save_model",
    "setMatrices": "set_matrices",
    "test": "test",
    "testLabel": "test_label",
}
"""The method of the model that does the same, by the name of the compiled one."""


class Handle:
    """The compiled methods of the original, without those that fill its own kind of vectors.

    Args:
        model: a :class:`~fasttext_app.compat.model.FastText`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"model.f has no {name!r} here; use the methods of the model")
        return getattr(self._model, METHODS[name])

    def predict(
        self, text: str, k: int = 1, threshold: float = 0.0, on_unicode_error: str = "strict"
    ) -> list[tuple[float, str]]:
        """Return (probability, label) of a line, which ends with a line feed."""
        labels, probabilities = self._model.predict(_first_line(text), k, threshold)
        return list(zip(probabilities.tolist(), labels, strict=True))

    def multilinePredict(  # noqa: N802
        self,
        lines: list[str],
        k: int = 1,
        threshold: float = 0.0,
        on_unicode_error: str = "strict",
    ) -> tuple[Any, Any]:
        """Return the labels and probabilities of lines, which end with a line feed."""
        labels: tuple[Any, Any] = self._model.predict(list(map(_first_line, lines)), k, threshold)
        return labels

    def getLine(self, text: str, on_unicode_error: str = "strict") -> Any:  # noqa: N802
        """Return (words, labels) of a line, which ends with a line feed."""
        return self._model.get_line(_first_line(text), on_unicode_error)

    def getVocab(self, on_unicode_error: str = "strict") -> tuple[list[str], list[int]]:  # noqa: N802
        """Return the words and their counts."""
        words, counts = self._model.get_words(True, on_unicode_error)
        return words, counts.tolist()

    def getLabels(self, on_unicode_error: str = "strict") -> tuple[list[str], list[int]]:  # noqa: N802
        """Return the labels and their counts."""
        labels, counts = self._model.get_labels(True, on_unicode_error)
        return labels, counts.tolist()

    def getArgs(self) -> SimpleNamespace:  # noqa: N802
        """Return the options of the training, as far as they are known."""
        args: Args = self._model.file_args()
        values = {ARG_NAMES.get(name, name): value for name, value in vars(args).items()}
        values |= {"loss": loss_name(args.loss), "model": model_name(args.model)}
        given = {name: getattr(self._model, name, DEFAULTS[name]) for name in DEFAULTS}
        return SimpleNamespace(**{**given, **values})


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
