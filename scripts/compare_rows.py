"""Compare one step with ``trainer.shard = "rows"`` with a step of a plain run, from equal weights.

python scripts/compare_rows.py

``rows`` adds up the numbers of a text as whole numbers, which is exact in any order; a plain run
adds up floats, and rounds at each of them. So the vectors of texts, their gradients and, with SGD,
the table after the step differ: for texts of up to 500 ids by at most 1e-6, or the script fails.
Adagrad divides a gradient by its own size. Where that is almost zero, rounding becomes a larger
step, so the difference of the table is only printed; the gradients are those of SGD. The model of
``rows`` does not depend on the number of processes (``tests/training/test_sharded.py``), so one is
enough here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fasttext_app.config.loading import flat_layer, resolve
from fasttext_app.core.group import Group
from fasttext_app.core.ragged import Ragged
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.model.shard import Rows
from fasttext_app.training.dataset import EncodedDataset
from fasttext_app.training.trainer import Trainer

LIMIT = 1e-6
CLASSES, LR = 4, 0.5
HEADER = """\
| rows | columns | texts | ids a text | pooling | texts' vectors | their gradients | table, SGD \
| table, Adagrad |
|---|---|---|---|---|---|---|---|---|"""


class Shape(NamedTuple):
    """A table, and a batch of texts."""

    rows: int
    dim: int
    texts: int
    ids: int
    """The largest number of ids of a text; the smallest is 0."""
    pooling: str

    def settings(self, optimizer: str) -> dict[str, Any]:
        """Return the settings of one step."""
        weighting = {"mode": "sum", "term_weighting": "tfidf"}
        return {
            **{"dim": self.dim, "batch_size": self.texts, "epochs": 1, "name": optimizer},
            **{"lr": LR, "eps": 1e-8, "schedule": "constant", "device": "cpu"},
            **(weighting if self.pooling == "tf-idf" else {"mode": "mean"}),
        }


SHAPES = (
    Shape(1_000, 8, 16, 5, "mean"),
    Shape(20_000, 100, 256, 80, "mean"),
    Shape(20_000, 100, 256, 400, "tf-idf"),
    Shape(5_000, 300, 64, 500, "mean"),
)


def one_step(shape: Shape, optimizer: str, *, by_rows: bool) -> dict[str, torch.Tensor]:
    """Train on one batch; return the vectors of the texts, their gradients, and the table."""
    settings = shape.settings(optimizer) | ({"shard": "rows"} if by_rows else {})
    config, numbers = resolve(flat_layer(settings)), np.random.default_rng(0)
    lengths = numbers.integers(0, shape.ids + 1, shape.texts)
    ids = (numbers.zipf(1.2, lengths.sum()) % shape.rows).astype(np.int32)
    idf = numbers.uniform(1, 9, shape.rows).astype(np.float32)
    data = EncodedDataset(
        Ragged(ids, np.concatenate(([0], np.cumsum(lengths)))),
        numbers.integers(0, CLASSES, shape.texts),
        idf if shape.pooling == "tf-idf" else None,
    )
    generator = torch.Generator().manual_seed(0)
    model = FastTextClassifier.from_config(
        config.model,
        shape.rows,
        CLASSES,
        generator,
        Rows(Group(), shape.rows, shape.dim) if by_rows else None,
    )
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):  # as if it had learned
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    with torch.no_grad():
        vectors = model.bags(data.indices, data.offsets, data.weights)
    leaf = vectors.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model.linear(leaf), data.labels)
    (gradients,) = torch.autograd.grad(loss, leaf)
    Trainer(model, config).fit(data)
    return {"vectors": vectors, "gradients": gradients, "table": model.embedding.weight.detach()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the largest differences."""
    del arguments
    print(HEADER)
    largest = 0.0
    for shape in SHAPES:
        differences = {}
        for optimizer in ("sgd", "adagrad"):
            plain, by_rows = (one_step(shape, optimizer, by_rows=kind) for kind in (False, True))
            for name, values in plain.items():
                differences[optimizer, name] = float((values - by_rows[name]).abs().max())
        bounded = [differences["sgd", name] for name in ("vectors", "gradients", "table")]
        largest = max(largest, *bounded)
        figures = [*bounded, differences["adagrad", "table"]]
        print(f"| {' | '.join(map(str, shape))} | {' | '.join(f'{f:.1e}' for f in figures)} |")
    print(f"\nlargest difference, but for the table after Adagrad: {largest:.1e}")
    if largest > LIMIT:
        raise SystemExit(f"more than {LIMIT:g}")


if __name__ == "__main__":
    main()
