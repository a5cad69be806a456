"""Feed damaged files to the reader of fastText's format, and let only ``ArtifactError`` pass.

Inputs start as small valid files. atheris changes them, guided by coverage; without it, changes are
random. Every file must be read or refused, in little memory.

    python scripts/fuzz_fasttext_file.py [--seconds 60] [--engine auto|atheris|random] [--seed 0]

Exit code 1: an input broke this rule; it is saved as ``fuzz-*``, to be fed again as an argument.
Exit code 2: atheris is requested but not installed.
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

MAX_MEMORY = 50_000_000  # bytes; the files have a few thousand
MAX_FILE_SIZE = 20_000
EDGES = [0, 1, 2, 127, 128, 255, 256, 2**16, 2**24, 2**31 - 1, 2**32, 2**61, 2**62, 2**63 - 1]


def check(data: bytes, path: Path) -> bool:
    """Read bytes as a file; return whether they are a valid model.

    Raises:
        Exception: anything but ``ArtifactError``, which breaks the rule.
    """
    from fasttext_app.errors import ArtifactError
    from fasttext_app.fasttext.file_format import read_file

    path.write_bytes(data)
    tracemalloc.start()
    try:
        model = read_file(path)
        with np.errstate(all="ignore"):
            for matrix in (model.input, model.output):
                _ = matrix[:]
    except ArtifactError:
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > MAX_MEMORY:
            raise MemoryError(f"{len(data):,} bytes took {peak:,} bytes of memory")
    return True


def valid_files(folder: Path) -> list[bytes]:
    """Write a small valid file of each kind into a folder, and return their bytes."""
    from fasttext_app.fasttext.file_format import (
        Args,
        Dictionary,
        FastTextFile,
        Matrix,
        write_file,
    )
    from fasttext_app.model.product_quantizer import CODES, Coded, Quantizer

    def quantized(rows: int, width: int, norms: bool) -> Coded:
        parts = -(-dim // width)
        codes = np.arange(rows * parts, dtype=np.uint8).reshape(rows, parts)
        quantizer = Quantizer(dim, np.ones((parts, CODES, width), np.float32))
        if not norms:
            return Coded(codes, quantizer)
        return Coded(codes, quantizer, codes[:, 0], np.ones(CODES, np.float32))

    dim, bucket = 3, 4
    words, labels = [b"</s>", b"a\xff", b"bcd"], [b"__label__a", b"__label__b"]
    dense = np.ones((len(words) + bucket, dim), np.float32)
    pruneidx = np.array([[3, 1], [0, 0]], np.int32)
    kinds: list[tuple[int, Matrix, Matrix, Any]] = [
        (3, dense, dense[:2], None),
        (2, dense, dense[:3], None),
        (3, quantized(7, 2, False), dense[:2], None),
        (3, quantized(5, 2, True), quantized(2, 1, True), pruneidx),
        (3, quantized(5, 4, False), quantized(2, 2, False), pruneidx),
    ]
    contents = []
    for index, (model, input_matrix, output_matrix, buckets) in enumerate(kinds):
        names = labels if model == 3 else []
        args = Args(dim, word_ngrams=2, loss=1 + index % 4, model=model, bucket=bucket)
        counts = np.array([5, 4, 3]), np.arange(len(names))
        dictionary = Dictionary(words, counts[0], names, counts[1], 12, buckets)
        path = folder / f"valid-{index}.bin"
        write_file(FastTextFile(args, dictionary, input_matrix, output_matrix), path)
        contents.append(path.read_bytes())
    return contents


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Return bytes with a few changes: integers, bits, cuts and insertions."""
    result = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        # Half of the changes go to the front, which has more structure than the matrices.
        end = len(result) if generator.random() < 0.5 else min(len(result), 300)
        start = generator.randrange(end + 1)
        kind = generator.randrange(6)
        if kind == 0:
            result[start : start + 1] = generator.randbytes(1)
        elif kind in (1, 2):
            form = "<i" if kind == 1 else "<q"
            value = generator.choice(EDGES) * generator.choice((1, -1)) + generator.randint(-1, 1)
            limit = 1 << (8 * struct.calcsize(form) - 1)
            integer = struct.pack(form, (value + limit) % (2 * limit) - limit)
            result[start : start + len(integer)] = integer
        elif kind == 3 and start < len(result):
            result[start] ^= 1 << generator.randrange(8)
        elif kind == 4:
            del result[start : start + generator.choice((1, 4, 8, 100, len(result)))]
        else:
            result[start:start] = generator.randbytes(generator.choice((1, 4, 8, 100)))
    return bytes(result[:MAX_FILE_SIZE])


def fuzz_at_random(seconds: float, seed: int, folder: Path) -> int:
    """Change valid files at random for some time; return the exit code."""
    generator, start = random.Random(seed), time.monotonic()
    files, path, read, refused = valid_files(folder), folder / "mutated.bin", 0, 0
    for data in files:
        if not check(data, path):
            raise SystemExit("a valid file is refused")
    while time.monotonic() < start + seconds:
        data = mutate(generator.choice(files), generator)
        try:
            valid = check(data, path)
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            saved = Path(f"fuzz-{hashlib.sha256(data).hexdigest()[:12]}.bin")
            saved.write_bytes(data)
            print(f"broken after {read + refused:,} files, seed {seed}: {saved}", file=sys.stderr)
            return 1
        read, refused = read + valid, refused + (not valid)
    print(f"random, seed {seed}: {read + refused:,} files; {read:,} read, {refused:,} refused")
    return 0


def fuzz_with_atheris(seconds: float, seed: int, folder: Path) -> int:
    """Let atheris change valid files for some time in a child process; return the exit code."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return int(code != 0)
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["fasttext_app"]):
        importlib.import_module("fasttext_app.fasttext.file_format")
    corpus, path = folder / "corpus", folder / "mutated.bin"
    corpus.mkdir()
    valid_files(corpus)
    options = {
        "max_total_time": max(round(seconds), 1),
        "seed": seed + 1,  # 0 stands for the time
        "max_len": MAX_FILE_SIZE,
        "artifact_prefix": "fuzz-",
        "print_final_stats": 1,
        "verbosity": 1,
    }
    flags = [f"-{name}={value}" for name, value in options.items()]

    def feed(data: bytes) -> None:
        check(data, path)

    atheris.Setup([sys.argv[0], *flags, str(corpus)], feed)
    atheris.Fuzz()
    os._exit(0)


def main() -> None:
    """Fuzz with the requested engine, or feed the files that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="files to feed, instead of fuzzing")
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
                valid = check(path.read_bytes(), folder / "mutated.bin")
                print(f"{path}: {'read' if valid else 'refused'}")
            return
        random_only = options.engine == "random" or not installed
        fuzz = fuzz_at_random if random_only else fuzz_with_atheris
        code = fuzz(options.seconds, options.seed, folder)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
