"""fastText, through its own Python package.

python -m peers.peer_fasttext train TEXT MODEL LR BUCKET EPOCHS
python -m peers.peer_fasttext score TEXT MODEL
"""

import sys
from collections.abc import Callable
from importlib import import_module


def train(text: str, model: str, lr: str, bucket: str, epochs: str) -> None:
    """Train with dim 10 and bigrams on two threads, and save the model."""
    fasttext = import_module("fasttext")
    trained = fasttext.train_supervised(
        input=text,
        dim=10,
        lr=float(lr),
        wordNgrams=2,
        bucket=int(bucket),
        epoch=int(epochs),
        minCount=1,
        thread=2,
        verbose=0,
    )
    trained.save_model(model)


def score(text: str, model: str) -> None:
    """Print the accuracy on a labeled file."""
    rows, precision, _ = import_module("fasttext").load_model(model).test(text)
    print(f'{{"accuracy": {precision}, "rows": {rows}}}')


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"train": train, "score": score}
    jobs[sys.argv[1]](*sys.argv[2:])
