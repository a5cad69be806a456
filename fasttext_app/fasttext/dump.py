"""What a fastText file holds, in lines, as the original's ``dump`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from fasttext_app.errors import ConfigError
from fasttext_app.fasttext.file_format import LOSSES, FastTextFile
from fasttext_app.model.product_quantizer import Coded

PARTS = ("args", "dict", "input", "output")
NAMES = {
    "min_count": "minCount",
    "word_ngrams": "wordNgrams",
    "lr_update_rate": "lrUpdateRate",
}
MODELS = {1: "cbow", 2: "sg", 3: "sup"}


def dumped(file: FastTextFile, part: str) -> Iterator[str]:
    """Give the lines of a part of a file; bytes that are no UTF-8 become lone surrogates.

    Raises:
        ConfigError: the matrix that is asked for is in codes.
    """
    if part == "args":
        yield from _settings(file)
    elif part == "dict":
        yield str(len(file.words) + len(file.labels))
        entries = (
            ("word", file.words, file.word_counts),
            ("label", file.labels, file.label_counts),
        )
        for kind, names, counts in entries:
            for name, count in zip(names, counts.tolist(), strict=True):
                yield f"{name.decode('utf-8', 'surrogateescape')} {count} {kind}"
    else:
        yield from _matrix(file, part)


def _settings(file: FastTextFile) -> Iterator[str]:
    words = {"loss": LOSSES | {4: "one-vs-all"}, "model": MODELS}
    for name, value in vars(file.settings).items():
        shown = words[name][value] if name in words else f"{value:g}" if name == "t" else value
        yield f"{NAMES.get(name, name)} {shown}"


def _matrix(file: FastTextFile, part: str) -> Iterator[str]:
    matrix = file.input if part == "input" else file.output
    if isinstance(file.input, Coded) or isinstance(matrix, Coded):
        raise ConfigError(f"dump {part}: the model is quantized; its rows are codes, not numbers")
    yield f"{matrix.shape[0]} {matrix.shape[1]}"
    for row in matrix:
        yield " ".join(f"{number:g}" for number in row.tolist())
