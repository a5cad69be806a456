"""Generate support tickets with one or more labels each, some common and some rare, as CSV files.

    python scripts/make_multi_label.py FOLDER [--rows 6000] [--seed 0]

Writes FOLDER/train.csv, validation.csv and test.csv (two thirds, a sixth, a sixth of the rows) with
the columns `text` and `label`, where `|` separates the labels. The same seed gives the same bytes.
A ticket mixes a few words of each of its labels with everyday words and a few words of any topic,
so that no model can classify every ticket correctly.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

TOPICS = {
    "billing": (0.40, "invoice charge payment card receipt amount balance due paid price total"),
    "login": (0.25, "password account sign reset email locked code username access expired"),
    "shipping": (0.15, "parcel delivery courier address tracking late arrived depot label box"),
    "refund": (0.10, "refund return money back cancel order paid charge damaged exchange"),
    "bug": (0.06, "error crash screen freezes update button app version broken reset"),
    "feature": (0.04, "wish would export option add dark mode support button calendar"),
    "security": (0.02, "phishing stolen suspicious breach leaked hacked password account fraud"),
    "legal": (0.01, "lawyer privacy contract terms data request consent delete account"),
}
EVERYDAY = """hello please help me with the this is a my i you we since yesterday today again still
not can could when after before and but from thanks regards problem question why how it was have
been"""
MAX_STRAY_WORDS = 2


def ticket(generator: random.Random) -> tuple[str, list[str]]:
    """Return a text and its labels, at least one."""
    labels: list[str] = []
    while not labels:
        labels = [name for name, (share, _) in TOPICS.items() if generator.random() < share]
    words = generator.choices(EVERYDAY.split(), k=generator.randint(6, 14))
    for name in labels:
        words += generator.choices(TOPICS[name][1].split(), k=generator.randint(1, 4))
    for _ in range(generator.randint(0, MAX_STRAY_WORDS)):
        words.append(generator.choice(generator.choice(list(TOPICS.values()))[1].split()))
    generator.shuffle(words)
    return " ".join(words), labels


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    sixth = options.rows // 6
    splits = {"train": options.rows - 2 * sixth, "validation": sixth, "test": sixth}
    for name, rows in splits.items():
        path = options.folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["text", "label"])
            for _ in range(rows):
                text, labels = ticket(generator)
                writer.writerow([text, "|".join(labels)])
        print(f"wrote {rows:,} rows to {path}")


if __name__ == "__main__":
    main()
