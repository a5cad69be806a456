"""The Python API of the original fastText over this program: change the import, keep the code.

    from fasttext_app import compat as fasttext

    model = fasttext.train_supervised("train.txt", lr=0.5, epoch=5, wordNgrams=2)
    model.predict("some text", k=2)          # (("__label__a", "__label__b"), array([0.9, 0.1]))
    model.save_model("model.bin")            # a file that the original loads too

Names and return shapes are the original's. The differences: equal seeds give equal models, training
takes the lines in random order and several in a step, no probability is above 1, and errors are
:class:`~fasttext_app.errors.FastTextAppError` with a reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from fasttext_app.compat.model import FastText
from fasttext_app.errors import ConfigError
from fasttext_app.fasttext.convert import from_fasttext
from fasttext_app.fasttext.file_format import read_file
from fasttext_app.fasttext.word_vectors import file_vectors
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.text.fasttext_tokenizer import END, split_words

__all__ = [
    "BOW",
    "EOS",
    "EOW",
    "FastText",
    "cbow",
    "load_model",
    "skipgram",
    "supervised",
    "tokenize",
    "train_supervised",
    "train_unsupervised",
]

BOW, EOW, EOS = "<", ">", END


def load_model(path: str | Path) -> FastText:
    """Load a ``.bin`` or ``.ftz`` file: a classifier, or word vectors.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    file = read_file(path)
    if not file.supervised:
        return FastText(None, file_vectors(file))
    return FastText(TextClassifier(from_fasttext(file, str(path))))


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
    raise ConfigError(
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
    raise ConfigError("`supervised` is not supported any more. Please use `train_supervised`.")


def tokenize(text: str) -> list[str]:
    """Split a text into words, including labels; a line feed becomes the word ``</s>``."""
    return split_words(text.replace("\n", f" {END} "))
