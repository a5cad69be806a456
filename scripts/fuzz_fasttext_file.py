"""Feed damaged files to the reader of fastText's format, and let only ``ArtifactError`` pass.

What is fed starts as small whole files and is changed by atheris, which is led by the lines that
the reader came to, or else at random. A file must be read or refused, in little memory.

    python scripts/fuzz_fasttext_file.py [--seconds 60] [--engine auto|atheris|random] [--seed 0]

Exit code 1: an input broke the rule; it is kept as ``fuzz-*``; name it as an argument to feed it
once more. Exit code 2: atheris is asked for and not installed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import random
import struct
import sys
import tempfile
import time
import traceback
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

PEAK = 50_000_000  # bytes of memory; the files have some thousand bytes
LONGEST = 20_000
EDGES = [0, 1, 2, 127, 128, 255, 256, 2**16, 2**24, 2**31 - 1, 2**32, 2**61, 2**62, 2**63 - 1]


def check(data: bytes, place: Path) -> bool:
    """Read bytes as a file; return whether they are a model, raise if the rule is broken."""
    from fasttext_app.errors import ArtifactError
    from fasttext_app.fasttext.file_format import read_file

    place.write_bytes(data)
    tracemalloc.start()
    try:
        model = read_file(place)
        with np.errstate(all="ignore"):
            for matrix in (model.input, model.output):
                _ = matrix[:]
    except ArtifactError:
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > PEAK:
            raise MemoryError(f"{len(data):,} bytes took {peak:,} bytes of memory")
    return True


def whole_files(folder: Path) -> list[bytes]:
    """Write small whole files of each kind into a folder, and return their bytes."""
    from fasttext_app.fasttext.file_format import FastTextFile, Settings, write_file
    from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer

    def coded(rows: int, width: int, norms: bool) -> Coded:
        parts = -(-dim // width)
        codes = np.arange(rows * parts, dtype=np.uint8).reshape(rows, parts)
        quantizer = Quantizer(dim, np.ones((parts, CODES, width), np.float32))
        if not norms:
            return Coded(codes, quantizer)
        return Coded(codes, quantizer, codes[:, 0], np.ones(CODES, np.float32))

    dim, bucket = 3, 4
    words, labels = [b"</s>", b"a\xff", b"bcd"], [b"__label__a", b"__label__b"]
    dense = np.ones((len(words) + bucket, dim), np.float32)
    pruned = np.array([[3, 1], [0, 0]], np.int32)
    tables: list[tuple[int, Any, Any, Any]] = [
        (3, dense, dense[:2], None),
        (2, dense, dense[:3], None),
        (3, coded(7, 2, False), dense[:2], None),
        (3, coded(5, 2, True), coded(2, 1, True), pruned),
        (3, coded(5, 4, False), coded(2, 2, False), pruned),
    ]
    found = []
    for number, (kind, table, output, kept) in enumerate(tables):
        chosen = labels if kind == 3 else []
        model = FastTextFile(
            Settings(dim, word_ngrams=2, loss=1 + number % 4, model=kind, bucket=bucket),
            words,
            np.array([5, 4, 3]),
            chosen,
            np.arange(len(chosen)),
            12,
            kept,
            table,
            output,
        )
        path = folder / f"whole-{number}.bin"
        write_file(model, path)
        found.append(path.read_bytes())
    return found


def changed(data: bytes, generator: random.Random) -> bytes:
    """Return bytes with a few changes: numbers, bits, cuts and insertions."""
    result = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        reach = len(result) if generator.random() < 0.5 else min(len(result), 300)
        at = generator.randrange(reach + 1)
        kind = generator.randrange(6)
        if kind == 0:
            result[at : at + 1] = generator.randbytes(1)
        elif kind in (1, 2):
            form = "<i" if kind == 1 else "<q"
            value = generator.choice(EDGES) * generator.choice((1, -1)) + generator.randint(-1, 1)
            limit = 1 << (8 * struct.calcsize(form) - 1)
            number = struct.pack(form, (value + limit) % (2 * limit) - limit)
            result[at : at + len(number)] = number
        elif kind == 3 and at < len(result):
            result[at] ^= 1 << generator.randrange(8)
        elif kind == 4:
            del result[at : at + generator.choice((1, 4, 8, 100, len(result)))]
        else:
            result[at:at] = generator.randbytes(generator.choice((1, 4, 8, 100)))
    return bytes(result[:LONGEST])


def fuzz_at_random(seconds: float, seed: int, folder: Path) -> int:
    """Change whole files at random for some time; return the exit code."""
    generator, start = random.Random(seed), time.monotonic()
    files, place, read, refused = whole_files(folder), folder / "changed.bin", 0, 0
    for data in files:
        if not check(data, place):
            raise SystemExit("a whole file is refused")
    while time.monotonic() < start + seconds:
        data = changed(generator.choice(files), generator)
        try:
            good = check(data, place)
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            path = Path(f"fuzz-{hashlib.sha256(data).hexdigest()[:12]}.bin")
            path.write_bytes(data)
            print(f"broken after {read + refused:,} files, seed {seed}: {path}", file=sys.stderr)
            return 1
        read, refused = read + good, refused + (not good)
    print(f"random, seed {seed}: {read + refused:,} files; {read:,} read, {refused:,} refused")
    return 0


def fuzz_with_atheris(seconds: float, seed: int, folder: Path) -> int:
    """Let atheris change whole files for some time, in a child of its own; return the exit code."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return int(code != 0)
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["fasttext_app"]):
        importlib.import_module("fasttext_app.fasttext.file_format")
    corpus, place = folder / "corpus", folder / "changed.bin"
    corpus.mkdir()
    whole_files(corpus)
    options = {
        "max_total_time": max(round(seconds), 1),
        "seed": seed + 1,  # 0 would be the time
        "max_len": LONGEST,
        "artifact_prefix": "fuzz-",
        "print_final_stats": 1,
        "verbosity": 1,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]

    def feed(data: bytes) -> None:
        check(data, place)

    atheris.Setup([sys.argv[0], *flags, str(corpus)], feed)
    atheris.Fuzz()
    os._exit(0)


def main() -> None:
    """Fuzz with the engine that is asked for, or feed files that are named once more."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="files to feed once; no fuzzing")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=("auto", "atheris", "random"), default="auto")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    installed = importlib.util.find_spec("atheris") is not None
    if options.engine == "atheris" and not installed:
        print("atheris is not installed; pip install atheris, or --engine random", file=sys.stderr)
        raise SystemExit(2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.files:
            for path in options.files:
                good = check(path.read_bytes(), folder / "changed.bin")
                print(f"{path}: {'read' if good else 'refused'}")
            return
        random_only = options.engine == "random" or not installed
        fuzz = fuzz_at_random if random_only else fuzz_with_atheris
        code = fuzz(options.seconds, options.seed, folder)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
