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
plainly, one item at a time: they encode single texts, and are what tests hold the compiled
kernels to (``kernels.hash_words``, ``char_hashes``, ``emit_rows``), which do it for columns.
"""

from __future__ import annotations

from itertools import pairwise

FNV_OFFSET, FNV_PRIME = 2166136261, 16777619
CHAIN, MASK64 = 116049371, 2**64 - 1


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
    """Return every word n-gram of 2 to ``longest`` words with its 64-bit hash.

    They go by the word that they begin with, shorter ones first.

    >>> [ngram for ngram, _ in reference_word_ngrams(["a", "b", "c"], 3)]
    ['a b', 'a b c', 'b c']
    """
    hashes = word_ngram_hashes(
        [signed(reference_fnv1a(token.encode())) for token in tokens], longest
    )
    names = [
        " ".join(tokens[start : start + length])
        for start in range(len(tokens))
        for length in range(2, min(longest, len(tokens) - start) + 1)
    ]
    return list(zip(names, hashes, strict=True))


def word_ngram_hashes(words: list[int], longest: int) -> list[int]:
    """Return the 64-bit hash of every word n-gram of 2 to ``longest`` words, in the same order.

    Args:
        words: the hash of each word of a text, signed.
        longest: the longest n-gram.
    """
    if longest == 2:  # so common that it is said by itself, which is quicker
        return [(one * CHAIN + other) & MASK64 for one, other in pairwise(words)]
    found = []
    for start, state in enumerate(words if longest > 1 else []):
        for following in words[start + 1 : start + longest]:
            state = (state * CHAIN + following) & MASK64
            found.append(state)
    return found


def reference_char_ngrams(word: str, minn: int, maxn: int) -> list[tuple[str, int]]:
    """Return the character n-grams of ``<word>`` with their 32-bit hashes.

    They go by where they begin, shorter ones first.

    >>> [ngram for ngram, _ in reference_char_ngrams("ab", 2, 3)]
    ['<a', '<ab', 'ab', 'ab>', 'b>']
    """
    marked = f"<{word}>".encode("utf-8", "surrogateescape")
    begins = [at for at, byte in enumerate(marked) if byte & 0xC0 != 0x80] + [len(marked)]
    found = []
    for start in range(len(begins) - 1):
        for length in range(max(minn, 1), min(maxn, len(begins) - 1 - start) + 1):
            if length > 1 or 0 < start < len(begins) - 2:
                ngram = marked[begins[start] : begins[start + length]]
                found.append((ngram.decode("utf-8", "surrogateescape"), reference_fnv1a(ngram)))
    return found


def signed(hash32: int) -> int:
    """Read 32 bits as a number from -2^31 to 2^31 - 1."""
    return hash32 - 2**32 if hash32 >= 2**31 else hash32
