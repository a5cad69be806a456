"""``Tokens``: the tokens of a column of texts, as numbers of distinct words."""

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
    """W words as compiled code reads them; see :func:`.strings.string_buffers`."""

    data: U8  # the bytes of all words, end to end
    bounds: I32  # where each begins and ends, [W + 1]
    hashes: U32  # FNV-1a, [W]

    @classmethod
    def of_column(cls, words: pa.StringArray) -> WordList:
        """Hash the words of a column."""
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
    """The tokens of B texts, as numbers of distinct words in the order of first appearance.

    Text ``b`` has ``codes[offsets[b]:offsets[b + 1]]``.
    """

    codes: I32  # [N]
    offsets: I64  # [B + 1]
    words: WordList  # [W]

    @classmethod
    def from_lists(cls, tokens: list[list[str]]) -> Tokens:
        """Number the words of Python lists.

        >>> tokens = Tokens.from_lists([["to", "be"], [], ["to"]])
        >>> tokens.codes.tolist(), tokens.offsets.tolist(), tokens.words.column.to_pylist()
        ([0, 1, 0], [0, 2, 2, 3], ['to', 'be'])
        """
        number: dict[str, int] = {}
        codes = [number.setdefault(word, len(number)) for text in tokens for word in text]
        return cls(
            np.array(codes, dtype=np.int32),
            offsets_from_lengths([len(text) for text in tokens]),
            WordList.of_column(string_array(list(number))),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> I64:
        """The number of tokens of each text, [B]."""
        return np.diff(self.offsets)

    def word_counts(self) -> I64:
        """Return how often each distinct word occurs, [W]."""
        return np.bincount(self.codes, minlength=len(self.words))

    def take(self, texts: npt.NDArray[np.integer[Any]]) -> Tokens:
        """Gather texts by number; the distinct words stay, some perhaps without a token."""
        taken = Ragged(self.codes, self.offsets).take(texts)
        return Tokens(taken.indices, taken.offsets, self.words)

    def to_lists(self) -> list[list[str]]:
        """Return Python lists; for tests and for showing a few texts."""
        words, texts = self.words.column.to_pylist(), Ragged(self.codes, self.offsets).to_lists()
        return [[words[code] for code in text] for text in texts]
