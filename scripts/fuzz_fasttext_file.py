"""Feed damaged fastText files to reading, importing, predicting and word vectors.

Inputs start as small valid files, and are changed at random. Every file must be refused in one
line, or used, in little time and memory; any other exception, and any signal, breaks the rule.

    python scripts/fuzz_fasttext_file.py [--count 100000] [--seconds 600] [--seed 0]

Exit code 1: a file broke the rule; its seed is printed, and ``--seed N --count 1`` repeats it. The
run ends after ten of them.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_common import mutate, parse_options, run

TEXTS = ["a bcd a", "", "a\udcff </s> bcd " + "bcd " * 30]


def use_vectors(vectors: Any) -> None:
    """Look up vectors; raise if one is not finite."""
    found = [vectors.word("a"), vectors.word("abcd"), vectors.sentence("a bcd")]
    found += [np.array([score for score, _ in vectors.nearest("a", 2)])]
    if not all(np.isfinite(vector).all() for vector in found):
        raise AssertionError("a vector is not finite")


def check(data: bytes, path: Path) -> str:
    """Use bytes as a model file; return ``used`` or ``refused``.

    Raises:
        Exception: anything but an error for the user, which breaks the rule.
    """
    from fasttext_app.core import jit
    from fasttext_app.errors import FastTextAppError
    from fasttext_app.fasttext.convert import from_fasttext
    from fasttext_app.fasttext.file_format import read_file
    from fasttext_app.fasttext.word_vectors import classifier_vectors, file_vectors
    from fasttext_app.inference.classifier import TextClassifier

    path.write_bytes(data)
    try:
        file = read_file(path)
        if not file.supervised:
            use_vectors(file_vectors(file))
            return "used"
        model = TextClassifier(from_fasttext(file, str(path)), threads=1)
        use_vectors(classifier_vectors(model.encoder, model.artifact))
        texts = [text.encode("utf-8", "surrogateescape").decode(errors="replace") for text in TEXTS]
        for compiled in (False, True):
            jit._enabled, jit._plain_bytes = compiled, 0
            for predictions in (model.predict(texts, top_k=2), [model.predict(texts[0])]):
                for prediction in predictions:
                    probabilities = [float(value) for value in prediction.probabilities]
                    if not probabilities or not np.isfinite(probabilities).all():
                        raise AssertionError(f"predicts {probabilities}")
    except FastTextAppError:
        return "refused"
    return "used"


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


def main() -> None:
    """Fuzz for some files or seconds."""
    options = parse_options(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files, path = valid_files(folder), folder / "mutated.bin"
        with np.errstate(all="ignore"):
            for data in files:  # which also loads the compiled code
                if check(data, path) != "used":
                    raise SystemExit("a valid file is refused")

            def case(generator: random.Random) -> str:
                return check(mutate(generator.choice(files), generator), path)

            code = run("fastText files", case, options.count, options.seconds, options.seed)
    sys.exit(code)


if __name__ == "__main__":
    main()
