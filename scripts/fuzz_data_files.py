"""Feed damaged data files to reading: CSV, JSON, fastText's text, Parquet, and compressed ones.

Among the files are small ones that expand to gigabytes, and Parquet files whose sizes are false.
Every file must be refused in one line, or read, in little time and memory; any other exception, and
any signal, breaks the rule.

    python scripts/fuzz_data_files.py [--count 100000] [--seconds 600] [--seed 0]

Exit code 1: a file broke the rule; its seed is printed, and ``--seed N --count 1`` repeats it. The
run ends after ten of them.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_common import EDGES, mutate, parse_options, run

os.environ.setdefault(
    "ARROW_DEFAULT_MEMORY_POOL", "system"
)  # others reserve gigabytes of addresses
ROWS = 60
LONG = 1_000_000


@dataclass(frozen=True)
class Sample:
    """A valid file, or one that expands."""

    suffix: str
    content: bytes
    separator: str | None = None
    expands: bool = False
    """Whether it may be refused as it is; such files are tried less often."""


def text_samples() -> Iterator[Sample]:
    """Yield text files, plain and compressed."""
    import pyarrow as pa

    texts = [f'text "{number}", é' for number in range(ROWS)]
    rows = list(zip(texts, ["a", "b"] * (ROWS // 2), strict=True))
    quoted = [(text.replace('"', '""'), label) for text, label in rows]
    objects = [{"text": text, "label": label} for text, label in rows]
    plain = {
        ".csv": "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in quoted),
        ".tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows),
        ".jsonl": "".join(f"{json.dumps(row)}\n" for row in objects),
        ".json": json.dumps(objects, indent=1),
        ".txt": "".join(f"__label__{label} {text}\n" for text, label in rows),
    }
    long = {".csv": "text,label\n" + "x" * 100 * LONG, ".jsonl": '{"text": "' + "x" * 100 * LONG}
    compress: dict[str, Callable[[bytes], Any]] = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
        ".lz4": lambda data: pa.compress(data, "lz4", asbytes=True),
    }
    for suffix, text in plain.items():
        yield Sample(suffix, text.encode())
        for kind, function in compress.items():
            yield Sample(suffix + kind, function(text.encode()))
    for suffix, text in long.items():
        for kind in (".bz2", ".zst"):
            yield Sample(suffix + kind, compress[kind](text.encode()), expands=True)


def parquet_samples(folder: Path) -> Iterator[Sample]:
    """Yield Parquet files of several encodings."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    def sample(table: pa.Table, expands: bool = False, **options: Any) -> Sample:
        pq.write_table(table, folder / "sample", **options)
        separator = "|" if pa.types.is_list(table["label"].type) else None
        return Sample(".parquet", (folder / "sample").read_bytes(), separator, expands)

    texts, labels = [f"text {number}" for number in range(ROWS)], ["a", "b"] * (ROWS // 2)
    table = pa.table({"text": texts, "label": labels})
    for compression in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
        yield sample(table, compression=compression)
    yield sample(table, data_page_version="2.0", row_group_size=20, compression="zstd")
    yield sample(table, use_dictionary=False, compression="zstd", data_page_size=100)
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
        encodings = {"text": encoding, "label": "PLAIN"}
        yield sample(table, use_dictionary=False, column_encoding=encodings)
    yield sample(pa.table({"text": texts, "label": [[label] for label in labels]}))
    yield sample(pa.table({"text": texts, "label": list(range(ROWS))}))
    rows = 3000
    word = pa.array(["x" * LONG])
    repeated = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), word)
    expanding = pa.table({"text": repeated, "label": ["a"] * rows})
    yield sample(expanding, expands=True, compression="zstd")
    yield sample(pa.table({"text": ["x" * 100 * LONG], "label": ["a"]}), True, compression="zstd")
    lists = pa.ListArray.from_arrays([0, 30 * LONG], pa.nulls(30 * LONG, pa.string()))
    yield sample(pa.table({"text": ["x"], "label": lists}), True, compression="zstd")


def with_false_sizes(content: bytes, path: Path, generator: random.Random) -> bytes:
    """Return a Parquet file in which a number of a page header is another one."""
    from fasttext_app.data.parquet_pages import _read_header, open_parquet

    path.write_bytes(content)
    with open_parquet(path) as file:
        chunk = file.metadata.row_group(generator.randrange(file.num_row_groups)).column(0)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
    with path.open("rb") as data:
        header, length = _read_header(data, start, len(content))
    fields = [value for _, value in header.values()]
    fields += [v for inner in fields if isinstance(inner, dict) for _, v in inner.values()]
    numbers = [value for value in fields if isinstance(value, int) and value > 1]
    old = b"\x15" + _varint(generator.choice(numbers) << 1)
    new = b"\x15" + _varint(generator.choice(EDGES) << 1)
    changed = content[start : start + length].replace(old, new, 1)
    return content[:start] + changed + content[start + length :]


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def damage(sample: Sample, path: Path, generator: random.Random) -> bytes:
    """Return a damaged version of a file; of a compressed one, also of what is compressed."""
    kind = generator.random()
    content = sample.content
    if sample.expands and kind < 0.3:
        return content
    if sample.suffix == ".parquet":
        if kind < 0.5:
            return with_false_sizes(content, path, generator)
        if kind < 0.8:  # the footer
            size = int.from_bytes(content[-8:-4], "little") + 8
            footer = bytearray(content[-size:-8])
            for _ in range(generator.choice((1, 1, 2, 4))):
                footer[generator.randrange(len(footer))] = generator.randrange(256)
            return content[:-size] + bytes(footer) + content[-8:]
    elif sample.suffix.endswith(".gz") and kind < 0.5:
        return gzip.compress(mutate(gzip.decompress(content), generator), 1)
    return mutate(content, generator)


def read(path: Path, separator: str | None) -> str:
    """Read a file; return ``read`` or ``refused``."""
    from fasttext_app.config.schema import DataConfig
    from fasttext_app.data.spec import open_source
    from fasttext_app.errors import FastTextAppError

    try:
        source = open_source(DataConfig(source=str(path), label_separator=separator))
        for batch in source.scan("train"):
            batch.validate(full=True)
    except FastTextAppError as error:
        if "\n" in str(error):
            raise AssertionError("the message has several lines") from error
        return "refused"
    return "read"


def main() -> None:
    """Fuzz for some files or seconds."""
    options = parse_options(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        samples = [*text_samples(), *parquet_samples(folder)]
        weights = [0.02 if sample.expands else 1 for sample in samples]

        def case(generator: random.Random) -> str:
            (sample,) = generator.choices(samples, weights)
            path = folder / f"data{sample.suffix}"
            path.write_bytes(damage(sample, path, generator))
            return read(path, sample.separator)

        for sample in samples:  # which also loads what the children share
            path = folder / f"data{sample.suffix}"
            path.write_bytes(sample.content)
            if read(path, sample.separator) != "read" and not sample.expands:
                raise SystemExit(f"a valid file is refused: {sample.suffix}")
        code = run("data files", case, options.count, options.seconds, options.seed)
    sys.exit(code)


if __name__ == "__main__":
    main()
