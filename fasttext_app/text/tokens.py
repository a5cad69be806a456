"""``Tokens``: the tokens of a column of texts, each text a list of codes of distinct words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.core.arrays import I32, I64, U8, U32
from fasttext_app.core.arrow import string_array, string_buffers, strings_from_buffers
from fasttext_app.core.ragged import Ragged, offsets_from_lengths


@dataclass(frozen=True, eq=False)
class WordList:
    """W words with their hashes, in the form that compiled code reads.

    Word ``w`` has the bytes ``data[bounds[w]:bounds[w + 1]]``, as in an Arrow string column.
    """

    data: U8  # UTF-8
    bounds: I32  # [W + 1]
    hashes: U32  # FNV-1a, [W]

    @classmethod
    def from_column(cls, words: pa.StringArray) -> WordList:
        """Build from an Arrow column."""
        from fasttext_app.text.kernels import hash_words

        data, bounds = string_buffers(words)
        return cls(data, bounds, hash_words(data, bounds))

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def column(self) -> pa.StringArray:
        """The words as an Arrow column, [W]."""
        return strings_from_buffers(self.data, self.bounds)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of B texts as codes: indices into the distinct words, numbered as they appear.

    Text ``b`` has the codes ``codes[offsets[b]:offsets[b + 1]]``.
    """

    codes: I32  # [N]
    offsets: I64  # [B + 1]
    words: WordList  # [W]

    @classmethod
    def from_lists(cls, tokens: list[list[str]]) -> Tokens:
        """Build from Python lists.

        >>> tokens = Tokens.from_lists([["to", "be"], [], ["to"]])
        >>> tokens.codes.tolist(), tokens.offsets.tolist(), tokens.words.column.to_pylist()
        ([0, 1, 0], [0, 2, 2, 3], ['to', 'be'])
        """
        code_of: dict[str, int] = {}
        codes = [code_of.setdefault(word, len(code_of)) for text in tokens for word in text]
        return cls(
            np.array(codes, dtype=np.int32),
            offsets_from_lengths([len(text) for text in tokens]),
            WordList.from_column(string_array(list(code_of))),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> I64:
        """The number of tokens in each text, [B]."""
        return np.diff(self.offsets)

    def word_counts(self) -> I64:
        """Return how often each distinct word occurs, [W]."""
        return np.bincount(self.codes, minlength=len(self.words))

    def take(self, texts: npt.NDArray[np.integer[Any]]) -> Tokens:
        """Select texts by index; all distinct words stay, even those that no longer occur."""
        codes = Ragged(self.codes, self.offsets).take(texts)
        return Tokens(codes.indices, codes.offsets, self.words)

    def to_lists(self) -> list[list[str]]:
        """Return Python lists; for tests and for showing a few texts."""
        words = self.words.column.to_pylist()
        texts = Ragged(self.codes, self.offsets).to_lists()
        return [[words[code] for code in text] for text in texts]
