"""Write the rows of AG_NEWS in the formats that the contenders read; once, untimed.

    python -m peers.rows FOLDER OUTPUT TIMES [ROWS]

reads the original CSV files in FOLDER, and writes the first ROWS training rows, repeated TIMES
times, and all test rows:

    OUTPUT/ag_news/{train,test}.csv   the original format: "class 1-4","title","description"
    OUTPUT/{train,test}.txt           fastText's format: __label__3 and the basic_english tokens
    OUTPUT/texts.csv                  the raw training texts, in a column `text`
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

CLASSES = {"World": "1", "Sports": "2", "Business": "3", "Sci/Tech": "4"}


def read_csv(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts (title and description) and the classes of a file in the original format."""
    texts, classes = [], []
    with path.open(encoding="utf-8", newline="") as file:
        for class_number, title, description in csv.reader(file):
            texts.append(f"{title} {description}".replace("\\", " ").strip())
            classes.append(class_number)
    return texts, classes


def read_labeled(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of a file in fastText's format, one label per line."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    parts = [line.partition(" ") for line in lines]
    return [text for _, _, text in parts], [label for label, _, _ in parts]


def repeated(content: bytes, rows: int | None, times: int) -> bytes:
    r"""Return the first rows of a file with one row per line, repeated several times.

    >>> repeated(b'"1"\n"2"\n"3"\n', 2, 2)
    b'"1"\n"2"\n"1"\n"2"\n'
    """
    lines = content.splitlines(keepends=True)[:rows]
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return b"".join(lines) * times


def labeled(texts: list[list[str]], labels: list[str]) -> str:
    r"""Return tokenized texts in fastText's format.

    >>> labeled([["a", "cup"]], ["Sports"])
    '__label__2 a cup\n'
    """
    rows = zip(labels, texts, strict=True)
    return "".join(f"__label__{CLASSES[label]} {' '.join(tokens)}\n" for label, tokens in rows)


def main() -> None:
    """Write the files."""
    folder, output, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rows = int(sys.argv[4]) if len(sys.argv) > 4 else None
    (output / "ag_news").mkdir(parents=True)
    for split, limit, count in (("train", rows, times), ("test", None, 1)):
        content = repeated((folder / f"{split}.csv").read_bytes(), limit, count)
        (output / "ag_news" / f"{split}.csv").write_bytes(content)
    os.environ["FASTTEXT_APP_DATA"] = str(output)

    import pyarrow as pa
    from pyarrow.csv import write_csv

    from fasttext_app.config.schema import DataConfig
    from fasttext_app.data.spec import open_source
    from fasttext_app.text.tokenizers import load_tokenizer

    tokenize = load_tokenizer("basic_english")
    source = open_source(DataConfig(source="ag_news"))
    for split in ("train", "test"):
        batches = list(source.scan(split))
        with (output / f"{split}.txt").open("w", encoding="utf-8") as file:
            for batch in batches:
                tokens = tokenize(batch.column("text")).to_lists()
                file.write(labeled(tokens, batch.column("label").to_pylist()))
        if split == "train":
            write_csv(pa.Table.from_batches(batches).select(["text"]), output / "texts.csv")


if __name__ == "__main__":
    main()
