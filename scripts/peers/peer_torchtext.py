"""The recipe of torchtext's text classification tutorial, on torchtext 0.6.

    python -m peers.peer_torchtext train TRAIN_CSV MODEL [EPOCHS]
    python -m peers.peer_torchtext score TEST_CSV MODEL

As in the tutorial: an `EmbeddingBag` of dim 64 under `Linear`, batches of 64, and SGD with a
learning rate of 5, which drops to a tenth whenever the accuracy on a held-out twentieth does not
rise. Gradients are clipped to 0.1. The first edition set `sparse=True`; the last one does not,
because clipping refuses sparse gradients.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchtext.data import get_tokenizer

from peers.rows import read_csv

DIM, BATCH, LR, UNKNOWN = 64, 64, 5.0, 0

tokenize = get_tokenizer("basic_english")


class Classifier(nn.Module):
    """The tutorial's model."""

    def __init__(self, words: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(words, DIM)
        self.fc = nn.Linear(DIM, classes)
        self.embedding.weight.data.uniform_(-0.5, 0.5)
        self.fc.weight.data.uniform_(-0.5, 0.5)
        self.fc.bias.data.zero_()

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Return the logits, [B, C]."""
        logits: Tensor = self.fc(self.embedding(ids, offsets))
        return logits


class Collate:
    """Turn a list of rows into classes, ids and offsets, text by text."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self.vocabulary = vocabulary

    def __call__(self, rows: list[tuple[str, str]]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokenize, look up and join."""
        classes, ids, offsets = [], [], [0]
        for text, number in rows:
            classes.append(int(number) - 1)
            row_ids = [self.vocabulary.get(token, UNKNOWN) for token in tokenize(text)]
            ids.append(torch.tensor(row_ids, dtype=torch.int64))
            offsets.append(len(row_ids))
        return torch.tensor(classes), torch.cat(ids), torch.tensor(offsets[:-1]).cumsum(0)


def accuracy(model: Classifier, batches: Any) -> float:
    """Return the fraction of rows that the model classifies correctly."""
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for classes, ids, offsets in batches:
            correct += int((model(ids, offsets).argmax(1) == classes).sum())
            total += len(classes)
    return correct / total


def train(rows: str, model_file: str, epochs: str = "10") -> None:
    """Train, and save the model."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    data = list(zip(*read_csv(Path(rows)), strict=True))
    counts = Counter(token for text, _ in data for token in tokenize(text))
    vocabulary = {token: row for row, (token, _) in enumerate(counts.most_common(), start=1)}
    rows_to_train = int(len(data) * 0.95)
    sizes = [rows_to_train, len(data) - rows_to_train]
    parts: list[Any] = random_split(data, sizes)  # type: ignore[arg-type]
    batches, held_out = (
        DataLoader(part, BATCH, shuffle=True, collate_fn=Collate(vocabulary)) for part in parts
    )
    model = Classifier(len(vocabulary) + 1, len({number for _, number in data}))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    best = 0.0
    for _ in range(int(epochs)):
        model.train()
        for classes, ids, offsets in batches:
            optimizer.zero_grad()
            criterion(model(ids, offsets), classes).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
        held_out_accuracy = accuracy(model, held_out)
        if held_out_accuracy < best:
            scheduler.step()
        else:
            best = held_out_accuracy
    torch.save({"weights": model.state_dict(), "vocabulary": vocabulary}, model_file)


def score(rows: str, model_file: str) -> None:
    """Print the accuracy."""
    saved = torch.load(model_file)
    weights, vocabulary = saved["weights"], saved["vocabulary"]
    model = Classifier(len(weights["embedding.weight"]), len(weights["fc.bias"]))
    model.load_state_dict(weights)
    data: Any = list(zip(*read_csv(Path(rows)), strict=True))
    batches = DataLoader(data, BATCH, collate_fn=Collate(vocabulary))
    print(f'{{"accuracy": {accuracy(model, batches)}}}')


if __name__ == "__main__":
    {"train": train, "score": score}[sys.argv[1]](*sys.argv[2:])
