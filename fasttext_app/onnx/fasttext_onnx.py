"""Score texts with a model that fasttext_app exported to ONNX, without fasttext_app.

    python fasttext_onnx.py model.onnx "some text" "another text"

This is a reference to read and to port: it takes one text at a time, and needs numpy and
onnxruntime only. model.json, beside the model, describes how a text becomes row ids.

Shapes: **N** ids, **B** texts, **C** classes.
"""

from __future__ import annotations

import json
import re
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

FORMAT, FORMAT_VERSION = "fasttext_app encoder", 1
CACHED_WORDS = 1 << 16


class Encoder:
    """Turns texts into row ids, by the rules of the JSON document beside a model."""

    def __init__(self, document: dict[str, Any]) -> None:
        if document.get("format") != FORMAT or document["format_version"] > FORMAT_VERSION:
            raise ValueError(f"this scorer reads version {FORMAT_VERSION} of a {FORMAT}")
        self.rules, self.tokenizer = document, document["tokenizer"]
        self.words = {word: row for row, word in enumerate(document["words"])}
        self.first_bucket = len(document["words"])
        self.seen: dict[str, tuple[list[int], int]] = {}
        gaps = document["bucket_gaps"]  # one more bucket, so that a search always ends at one
        self.buckets = None if gaps is None else np.array([*accumulate(gaps), 2**31])
        if self.tokenizer["name"] == "unicode":
            self.segment = re.compile(self.tokenizer["segment"], re.DOTALL)
            self.classes = ["o"] * (sys.maxunicode + 1)
            for letter, ranges in self.tokenizer["classes"].items():
                for first, _, last in (part.partition("-") for part in ranges.split()):
                    for code in range(int(first, 16), int(last or first, 16) + 1):
                        self.classes[code] = letter

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all texts end to end, [N], and where each text begins, [B + 1]."""
        bags = [self.row_ids(text) for text in texts]
        offsets = np.array([0, *accumulate(map(len, bags))], np.int64)
        return np.array([row for bag in bags for row in bag], np.int64), offsets

    def row_ids(self, text: str) -> list[int]:
        """Return words, each followed by its character n-grams, and then the word n-grams."""
        ids: list[int] = []
        hashes, ngrams = [], []
        for token in self.tokens(text):
            if token not in self.seen:
                if len(self.seen) >= CACHED_WORDS:
                    self.seen.clear()
                self.seen[token] = self.word_ids(token), hash32(token.encode())
            ids += self.seen[token][0]
            value = self.seen[token][1]
            hashes.append(value - 2**32 if value >= 2**31 else value)  # signed
        for start, state in enumerate(hashes):
            for value in hashes[start + 1 : start + self.rules["word_ngrams"]]:
                state = (state * 116049371 + value) % 2**64
                ngrams.append(state)
        return ids + self.bucket_rows(ngrams)

    def word_ids(self, token: str) -> list[int]:
        """Return the row of a word and those of its character n-grams."""
        ids = [self.words[token]] if token in self.words else []
        is_end = token == self.tokenizer.get("end")
        return ids if is_end else ids + self.bucket_rows(self.char_ngrams(token))

    def bucket_rows(self, hashes: list[int]) -> list[int]:
        """Return the rows of n-grams, without those whose bucket has none."""
        buckets = np.array([value % self.rules["bucket"] for value in hashes], np.int64)
        if self.buckets is not None:
            ranks = np.searchsorted(self.buckets, buckets)
            buckets = ranks[self.buckets[ranks] == buckets]
        rows: list[int] = (buckets + self.first_bucket).tolist()
        return rows

    def char_ngrams(self, token: str) -> list[int]:
        """Return the hashes of the character n-grams of ``<token>``."""
        marked, minn, maxn = f"<{token}>", self.rules["minn"], self.rules["maxn"]
        return [
            hash32(marked[start : start + length].encode())
            for start in range(len(marked))
            for length in range(max(minn, 1), min(maxn, len(marked) - start) + 1)
            if length > 1 or 0 < start < len(marked) - 1  # "<" and ">" alone are none
        ]

    def tokens(self, text: str) -> list[str]:
        """Rewrite a text, and split it."""
        text.encode()  # raises UnicodeEncodeError for half a character (a lone surrogate)
        for pattern, word in self.rules["rewriting"]["replace"]:
            text = re.sub(pattern, word, text, flags=re.ASCII)
        cased = self.tokenizer.get("lowercase") or self.rules["rewriting"]["lowercase"]
        if cased:
            text = re.sub(cased, lambda match: match[0].lower(), text)
        for part, other in self.tokenizer.get("replace", ()):
            text = text.replace(part, other)
        if self.tokenizer["name"] == "unicode":
            return self.unicode_tokens(text)
        tokens = re.findall(self.tokenizer["token"], text)
        if "end" not in self.tokenizer:
            return tokens
        end, prefix = self.tokenizer["end"], self.tokenizer["label_prefix"]
        tokens = tokens[: tokens.index(end)] if end in tokens else tokens
        return [token for token in tokens if not token.startswith(prefix)] + [end]

    def unicode_tokens(self, text: str) -> list[str]:
        """Return the words of UAX #29; letters of scripts without spaces alone and in pairs."""
        classes = "".join(self.classes[ord(character)] for character in text)
        places, visible = [], ""  # marks and invisible characters belong to what precedes them
        for place, letter in enumerate(classes):
            before = classes[place - 1] if place else "n"
            if letter in "efz" and before not in "rnl":
                continue
            if before == "z" and letter in "pm":
                letter = letter.upper()  # joined to what precedes it
            elif before in "efz" and letter == " ":
                letter = "t"
            places.append(place)
            visible += letter
        places.append(len(text))
        tokens: list[str] = []
        apart = (0, -1)  # the last letter of a script without spaces
        for match in self.segment.finditer(visible):
            first, (start, end) = match[0][0], match.span()
            if first == "c":
                if apart[1] == start:
                    tokens.append(text[places[apart[0]] : places[end]])
                apart = start, end
            if first not in "rnlefz t":
                tokens.append(text[places[start] : places[end]])
        return tokens


class Scorer:
    """A model and its encoder."""

    def __init__(self, model: str | Path, document: str | Path | None = None) -> None:
        import onnxruntime

        document = Path(document or Path(model).with_suffix(".json"))
        self.encoder = Encoder(json.loads(document.read_text(encoding="utf-8")))
        self.labels: list[str] = self.encoder.rules["labels"]
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def probabilities(self, texts: list[str]) -> np.ndarray:
        """Return the probability of each class, [B, C]."""
        ids, offsets = self.encoder.encode(texts)
        output = self.session.run(["probabilities"], {"ids": ids, "offsets": offsets})
        return np.asarray(output[0])


def hash32(data: bytes) -> int:
    """Return the FNV-1a hash of bytes, each sign-extended, as in fastText."""
    state = 2166136261
    for byte in data:
        state = ((state ^ (byte | 0xFFFFFF00 if byte >= 128 else byte)) * 16777619) % 2**32
    return state


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    scorer = Scorer(sys.argv[1])
    for row in scorer.probabilities(sys.argv[2:]):
        answer = {"label": scorer.labels[row.argmax()], "probability": round(float(row.max()), 4)}
        sys.stdout.write(json.dumps(answer) + "\n")
