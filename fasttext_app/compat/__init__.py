"""The Python API of the original fastText over this program: change the import, keep the code.

    from fasttext_app import compat as fasttext

    model = fasttext.train_supervised("train.txt", lr=0.5, epoch=5, wordNgrams=2)
    model.predict("some text", k=2)          # (("__label__a", "__label__b"), array([0.9, 0.1]))
    model.save_model("model.bin")            # a file that the original loads too

Or put it in place of ``fasttext`` for libraries that import that:

    from fasttext_app import compat

    compat.install()
    import datatrove

Names and return shapes are the original's. The differences: equal seeds give equal models, training
takes the lines in random order and several in a step, no probability is above 1, and errors are
:class:`~fasttext_app.errors.FastTextAppError` with a reason, and of the original's built-in kind.
"""

from __future__ import annotations

from fasttext_app.compat import FastText, util
from fasttext_app.compat.FastText import (
    BOW,
    EOS,
    EOW,
    cbow,
    load_model,
    skipgram,
    supervised,
    tokenize,
    train_supervised,
    train_unsupervised,
)
from fasttext_app.compat.replace import install

__all__ = [
    "BOW",
    "EOS",
    "EOW",
    "FastText",
    "cbow",
    "install",
    "load_model",
    "skipgram",
    "supervised",
    "tokenize",
    "train_supervised",
    "train_unsupervised",
    "util",
]
