"""The one hash of the program: fastText's FNV-1a for words and characters, chained for n-grams.

Every rule is fixed to the byte, so a saved model means the same on every machine:

- a string hashes to 32 bits by FNV-1a over its UTF-8 bytes, each byte *sign-extended* before the
  XOR (fastText's own quirk, kept so that models can be exchanged);
- a word n-gram starts at the first word's hash, sign-extended to 64 bits, and goes on with
  ``h = h * 116049371 + next`` modulo 2^64, every ``next`` sign-extended too;
- character n-grams are taken of ``<word>``, in characters (not bytes); a boundary sign alone is
  not one;
- a hash becomes a table row as ``V + hash % bucket``.

Source: the fastText paper (Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification")
and its published model format. The functions with ``reference`` in their name say the rules
plainly, one item at a time; the others do the same to whole columns, and tests hold them equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttext_app.text.ragged import Ragged, bounded_ranges, offsets_of

__all__ = [
    "char_ngram_hashes",
    "fnv1a",
    "reference_char_ngrams",
    "reference_fnv1a",
    "reference_word_ngrams",
    "word_ngram_hashes",
]

FNV_OFFSET, FNV_PRIME = 2166136261, 16777619
CHAIN = 116049371
VECTOR_BYTES = 256  # a longer string finishes its hash alone, so one giant word costs no giant loop

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


def reference_fnv1a(data: bytes, state: int = FNV_OFFSET) -> int:
    """Hash bytes to 32 bits, going on from ``state``.

    >>> reference_fnv1a(b""), reference_fnv1a(b"a")
    (2166136261, 3826002220)
    """
    for byte in data:
        extended = byte | 0xFFFFFF00 if byte >= 128 else byte
        state = ((state ^ extended) * FNV_PRIME) & 0xFFFFFFFF
    return state


def reference_word_ngrams(tokens: list[str], longest: int) -> list[tuple[str, int]]:
    """Return every word n-gram of 2 to ``longest`` words with its 64-bit hash, shorter ones first.

    >>> [ngram for ngram, _ in reference_word_ngrams(["a", "b", "c"], 3)]
    ['a b', 'b c', 'a b c']
    """
    hashes = [_signed(reference_fnv1a(token.encode())) for token in tokens]
    found = []
    for length in range(2, longest + 1):
        for start in range(len(tokens) - length + 1):
            state = hashes[start]
            for following in hashes[start + 1 : start + length]:
                state = (state * CHAIN + following) % 2**64
            found.append((" ".join(tokens[start : start + length]), state))
    return found


def reference_char_ngrams(word: str, minn: int, maxn: int) -> list[tuple[str, int]]:
    """Return the character n-grams of ``<word>`` with their 32-bit hashes, shorter ones first.

    >>> [ngram for ngram, _ in reference_char_ngrams("ab", 2, 3)]
    ['<a', 'ab', 'b>', '<ab', 'ab>']
    """
    marked = f"<{word}>"
    found = []
    for length in range(max(minn, 1), maxn + 1):
        for start in range(len(marked) - length + 1):
            if length > 1 or 0 < start < len(marked) - 1:
                ngram = marked[start : start + length]
                found.append((ngram, reference_fnv1a(ngram.encode())))
    return found


def _signed(hash32: int) -> int:
    return hash32 - 2**32 if hash32 >= 2**31 else hash32


def fnv1a(words: pa.StringArray) -> U32:
    """Hash each string of an Arrow column to 32 bits, [W]."""
    data, starts, lengths = string_buffers(words)
    state = np.full(len(words), FNV_OFFSET, dtype=np.uint32)
    order = np.argsort(-lengths, kind="stable")  # longest first: the live ones are a prefix
    starts, sorted_state = starts[order], state[order]
    longest = int(lengths.max(initial=0))
    live_after = len(words) - np.cumsum(np.bincount(np.minimum(lengths, VECTOR_BYTES + 1)))
    for position in range(min(longest, VECTOR_BYTES)):
        live = live_after[position]
        _absorb(sorted_state[:live], data[starts[:live] + position])
    if longest > VECTOR_BYTES:
        for rank in range(int(live_after[VECTOR_BYTES])):
            start, end = starts[rank] + VECTOR_BYTES, starts[rank] + lengths[order[rank]]
            tail = data[start:end].tobytes()
            sorted_state[rank] = reference_fnv1a(tail, int(sorted_state[rank]))
    state[order] = sorted_state
    return state


def _absorb(state: U32, values: npt.NDArray[np.uint8]) -> None:
    """Take one byte into each hash, in place."""
    state ^= values.view(np.int8).astype(np.int32).view(np.uint32)
    state *= np.uint32(FNV_PRIME)


def word_ngram_hashes(hashes: U32, offsets: npt.NDArray[np.int64], longest: int) -> list[Ragged]:
    """Hash the word n-grams of every text.

    Args:
        hashes: the 32-bit hash of every token, [N].
        offsets: where each text's tokens begin and end, [B + 1].
        longest: the longest n-gram in words.

    Returns:
        For each length from 2 to ``longest``, the 64-bit hashes of each text in reading order.
    """
    extended = hashes.view(np.int32).astype(np.int64).view(np.uint64)
    state, lengths = extended, np.diff(offsets)
    by_length = []
    for length in range(2, longest + 1):
        following = extended[length - 1 :]
        state = state[: len(following)] * np.uint64(CHAIN) + following  # wraps modulo 2^64
        counts = np.maximum(lengths - (length - 1), 0)
        inside = bounded_ranges(offsets[:-1], counts)  # n-grams that end in the text they began in
        by_length.append(Ragged(state[inside], offsets_of(counts)))
    return by_length


def char_ngram_hashes(words: pa.StringArray, minn: int, maxn: int) -> Ragged:
    """Hash the character n-grams of each ``<word>``; W bags, shorter n-grams first, as uint64."""
    data, starts, lengths = string_buffers(words)
    data, byte_offsets = _mark(data, starts, lengths)
    begins = np.flatnonzero((data & 0xC0) != 0x80)  # where each character begins
    char_offsets = np.searchsorted(begins, byte_offsets).astype(
        np.int64
    )  # characters before word w
    sizes = np.diff(np.append(begins, len(data)))
    counts = np.diff(char_offsets)
    state = np.full(len(begins), FNV_OFFSET, dtype=np.uint32)
    by_length = []
    for length in range(1, maxn + 1):
        state = state[: max(len(begins) - (length - 1), 0)]
        _absorb_characters(state, data, begins[length - 1 :], sizes[length - 1 :])
        if length >= minn:
            edge = 1 if length == 1 else 0  # a boundary sign alone is no n-gram
            fitting = np.maximum(counts - (length - 1) - 2 * edge, 0)
            inside = bounded_ranges(char_offsets[:-1] + edge, fitting)
            by_length.append(Ragged(state[inside].astype(np.uint64), offsets_of(fitting)))
    return Ragged.join(by_length)


def _mark(
    data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Write every word as ``<word>``, end to end; return the bytes and the words' offsets."""
    offsets = offsets_of(lengths + 2)
    marked = np.empty(offsets[-1], dtype=np.uint8)
    marked[offsets[:-1]], marked[offsets[1:] - 1] = ord("<"), ord(">")
    marked[bounded_ranges(offsets[:-1] + 1, lengths)] = data[bounded_ranges(starts, lengths)]
    return marked, offsets


def _absorb_characters(
    state: U32,
    data: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Take one character (1 to 4 bytes) into each hash, in place."""
    _absorb(state, data[begins])
    for extra in range(1, int(sizes.max(initial=1))):
        longer = np.flatnonzero(sizes > extra)
        partial = state[longer]
        _absorb(partial, data[begins[longer] + extra])
        state[longer] = partial


def string_buffers(
    strings: pa.StringArray,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (bytes, starts [W], lengths [W]) of a string column; the bytes are not copied."""
    _, offset_buffer, data_buffer = strings.buffers()
    if offset_buffer is None:  # Arrow leaves out the buffers of an empty column
        return np.empty(0, np.uint8), np.empty(0, np.int64), np.empty(0, np.int64)
    raw = np.frombuffer(offset_buffer, dtype=np.int32)
    offsets: npt.NDArray[np.int64] = raw[strings.offset :][: len(strings) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, dtype=np.uint8) if data_buffer else np.empty(0, np.uint8)
    return data, offsets[:-1], offsets[1:] - offsets[:-1]
