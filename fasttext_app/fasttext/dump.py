"""The contents of a model file as lines of text, as the original's ``dump`` prints them."""

from __future__ import annotations

from collections.abc import Iterator

from fasttext_app.core.arrays import F32
from fasttext_app.errors import ConfigError
from fasttext_app.fasttext.file_format import Args, Dictionary, FastTextFile, loss_name, model_name
from fasttext_app.model.product_quantizer import Coded

PARTS = ("args", "dict", "input", "output")
ARG_NAMES = {
    "min_count": "minCount",
    "word_ngrams": "wordNgrams",
    "lr_update_rate": "lrUpdateRate",
}


def dump_lines(file: FastTextFile, part: str) -> Iterator[str]:
    """Return the lines of a part of a file; bytes that are not UTF-8 become lone surrogates.

    Raises:
        ConfigError: the part is a matrix, and the model is quantized.
    """
    if part == "args":
        return _args_lines(file.args)
    if part == "dict":
        return _dictionary_lines(file.dictionary)
    matrix = file.input if part == "input" else file.output
    if isinstance(file.input, Coded) or isinstance(matrix, Coded):
        raise ConfigError(f"dump {part}: the model is quantized; its rows are codes, not numbers")
    return _matrix_lines(matrix)


def _args_lines(args: Args) -> Iterator[str]:
    texts = {
        "loss": "one-vs-all" if args.loss == loss_name.ova.value else loss_name(args.loss).name,
        "model": model_name(args.model).name,
        "t": f"{args.t:g}",
    }
    for name, value in vars(args).items():
        yield f"{ARG_NAMES.get(name, name)} {texts.get(name, value)}"


def _dictionary_lines(dictionary: Dictionary) -> Iterator[str]:
    yield str(len(dictionary.words) + len(dictionary.labels))
    for kind, names, counts in (
        ("word", dictionary.words, dictionary.word_counts),
        ("label", dictionary.labels, dictionary.label_counts),
    ):
        for name, count in zip(names, counts.tolist(), strict=True):
            yield f"{name.decode('utf-8', 'surrogateescape')} {count} {kind}"


def _matrix_lines(matrix: F32) -> Iterator[str]:
    yield f"{matrix.shape[0]} {matrix.shape[1]}"
    for row in matrix:
        yield " ".join(f"{value:g}" for value in row.tolist())
