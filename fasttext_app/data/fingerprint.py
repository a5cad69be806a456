"""``Fingerprint``: a digest of rows, by which the same data is known again."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrow import string_buffers, to_numpy

COLUMNS = ("text", "label")


class Fingerprint:
    """Takes in batches of rows; the digest does not depend on how they are cut.

    >>> rows = pa.record_batch({"text": ["to be", "or not"], "label": ["a", "b"]})
    >>> whole, parts = Fingerprint(), Fingerprint()
    >>> whole.update(rows)
    >>> for row in (0, 1):
    ...     parts.update(rows.slice(row, 1))
    >>> whole.digest() == parts.digest()
    True
    """

    def __init__(self) -> None:
        # Of each column its bytes and its lengths, so that no text can pass for two.
        self._hashes = {name: (hashlib.sha256(), hashlib.sha256()) for name in COLUMNS}
        self._weights = hashlib.sha256()
        self._weighed = False

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in some rows of ``text`` and ``label``, and of ``weight`` if they have it."""
        for name, (of_bytes, of_lengths) in self._hashes.items():
            data, bounds = string_buffers(batch.column(name))
            of_bytes.update(data[bounds[0] : bounds[-1]].data)
            of_lengths.update(np.diff(bounds).astype("<i4").tobytes())

        if "weight" in batch.schema.names:
            self._weights.update(to_numpy(batch.column("weight")).astype("<f4").tobytes())
            self._weighed = True

    def copy(self) -> Fingerprint:
        """Return one that goes on from here by itself."""
        other = Fingerprint()
        other._hashes = {
            name: (of_bytes.copy(), of_lengths.copy())
            for name, (of_bytes, of_lengths) in self._hashes.items()
        }
        other._weights, other._weighed = self._weights.copy(), self._weighed
        return other

    def digest(self) -> str:
        """Return the digest of all rows so far, in hexadecimal."""
        parts = [hashed.digest() for pair in self._hashes.values() for hashed in pair]
        parts += [self._weights.digest()] if self._weighed else []
        return hashlib.sha256(b"".join(parts)).hexdigest()
