"""Score a folder of Parquet files with Hugging Face `datasets`.

    python docs/examples/scoring/datasets_map.py MODEL INPUT OUTPUT

`datasets` caches what `map` returns, and recognizes the Scorer by its model and settings.
"""

import sys
from pathlib import Path

from datasets import load_dataset

from fasttext_app.scoring import Scorer


def main(model: str, source: str, target: str) -> None:
    """Score the files of ``source`` into one file in ``target``."""
    Path(target).mkdir(parents=True, exist_ok=True)
    files = sorted(map(str, Path(source).glob("*.parquet")))
    pages = load_dataset("parquet", data_files=files, split="train")

    # With the format "arrow" no row becomes a Python object.
    scorer = Scorer(model, nulls="null")
    scored = pages.with_format("arrow").map(scorer, batched=True, batch_size=16_384, num_proc=2)
    scored.to_parquet(f"{target}/scored.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
