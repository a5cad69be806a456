# ruff: noqa: N999
"""The module ``fasttext.FastText``: the functions of the package, and the class of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from fasttext_app.compat.handle import model_name
from fasttext_app.compat.model import FastText
from fasttext_app.core.built_in_errors import ConfigValueError, built_in_kinds
from fasttext_app.fasttext.file_format import loss_name
from fasttext_app.fasttext.scoring import Meter
from fasttext_app.text.fasttext_tokenizer import END, split_words

BOW, EOW, EOS = "<", ">", END
_FastText, _Meter = FastText, Meter

__all__ = [
    "BOW",
    "EOS",
    "EOW",
    "cbow",
    "load_model",
    "loss_name",
    "model_name",
    "skipgram",
    "supervised",
    "tokenize",
    "train_supervised",
    "train_unsupervised",
]


def load_model(path: str | Path) -> FastText:
    """Load a ``.bin`` or ``.ftz`` file: a classifier, or word vectors.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    return FastText(path)


@built_in_kinds()
def train_supervised(*values: Any, **options: Any) -> FastText:
    """Train a classifier on a file of ``__label__x some text`` lines.

    Lines without a label only add to the vocabulary. Bytes that are not UTF-8 belong to words like
    any others.

    Args:
        *values: the file, then options in the order of the original.
        **options: the original's options, under either name (``wordNgrams`` or ``word_ngrams``):
            input, lr, dim, ws, epoch, minCount, minCountLabel, minn, maxn, neg, wordNgrams, loss,
            bucket, thread, lrUpdateRate, t, label, verbose, pretrainedVectors, seed.

    Raises:
        ConfigError: an option is unknown, invalid or not supported.
        DataError: the file cannot be read.
        TrainingError: the file has nothing to learn, or the loss diverged.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    from fasttext_app.compat.training import bind_arguments, train

    options = bind_arguments(values, options)
    return train(str(options.pop("input")), options)


def train_unsupervised(*values: Any, **options: Any) -> NoReturn:
    """Raise: this program trains classifiers only.

    Raises:
        ConfigError: always.
    """
    raise ConfigValueError(
        "train_unsupervised: this program trains classifiers only; train word vectors with the "
        "original (pip install fasttext-community), and read their file with load_model"
    )


def cbow(*values: Any, **options: Any) -> NoReturn:
    """Raise; see :func:`train_unsupervised`."""
    train_unsupervised()


def skipgram(*values: Any, **options: Any) -> NoReturn:
    """Raise; see :func:`train_unsupervised`."""
    train_unsupervised()


def supervised(*values: Any, **options: Any) -> NoReturn:
    """Raise, as the original does.

    Raises:
        ConfigError: always.
    """
    raise ConfigValueError("`supervised` is not supported any more. Please use `train_supervised`.")


def tokenize(text: str) -> list[str]:
    """Split a text into words, including labels; a line feed becomes the word ``</s>``."""
    return split_words(text.replace("\n", f" {END} "))
