"""fastText, through its own Python package.

python -m peers.peer_fasttext train TEXT MODEL LR BUCKET EPOCHS [OPTION=NUMBER...]
python -m peers.peer_fasttext score TEXT MODEL
"""

import sys
from collections.abc import Callable
from importlib import import_module


def train(text: str, model: str, lr: str, bucket: str, epochs: str, *given: str) -> None:
    """Train, by default with dim 10 and bigrams on two threads, and save the model."""
    fasttext = import_module("fasttext")
    options = {"dim": 10, "wordNgrams": 2, "thread": 2}
    for option in given:
        name, _, number = option.partition("=")
        options[name] = int(number)
    trained = fasttext.train_supervised(
        input=text,
        lr=float(lr),
        bucket=int(bucket),
        epoch=int(epochs),
        minCount=1,
        verbose=0,
        **options,
    )
    trained.save_model(model)


def score(text: str, model: str) -> None:
    """Print the accuracy on a labeled file."""
    rows, precision, _ = import_module("fasttext").load_model(model).test(text)
    print(f'{{"accuracy": {precision}, "rows": {rows}}}')


if __name__ == "__main__":
    jobs: dict[str, Callable[..., None]] = {"train": train, "score": score}
    jobs[sys.argv[1]](*sys.argv[2:])
