"""``Fingerprint``: a digest of rows, to recognize the same data again."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from fasttext_app.core.arrow import string_buffers, to_numpy

COLUMNS = ("text", "label")


class Fingerprint:
    """A digest of batches of rows, the same however the rows are cut into batches.

    >>> rows = pa.record_batch({"text": ["to be", "or not"], "label": ["a", "b"]})
    >>> at_once, row_by_row = Fingerprint(), Fingerprint()
    >>> at_once.update(rows)
    >>> for row in (0, 1):
    ...     row_by_row.update(rows.slice(row, 1))
    >>> at_once.digest() == row_by_row.digest()
    True
    """

    def __init__(self) -> None:
        # The bytes and the lengths of each column: without the lengths, "ab", "c" and "a", "bc"
        # would have the same digest.
        self._hashes = {name: (hashlib.sha256(), hashlib.sha256()) for name in COLUMNS}
        self._weight_hash = hashlib.sha256()
        self._has_weights = False

    def update(self, batch: pa.RecordBatch) -> None:
        """Add rows of ``text`` and ``label``, and of ``weight`` if they have weights."""
        for name, (bytes_hash, lengths_hash) in self._hashes.items():
            data, bounds = string_buffers(batch.column(name))
            bytes_hash.update(data[bounds[0] : bounds[-1]].data)
            lengths_hash.update(np.diff(bounds).astype("<i4").tobytes())
        if "weight" in batch.schema.names:
            self._weight_hash.update(to_numpy(batch.column("weight")).astype("<f4").tobytes())
            self._has_weights = True

    def copy(self) -> Fingerprint:
        """Return a copy, to which other rows can be added."""
        other = Fingerprint()
        other._hashes = {
            name: (bytes_hash.copy(), lengths_hash.copy())
            for name, (bytes_hash, lengths_hash) in self._hashes.items()
        }
        other._weight_hash, other._has_weights = self._weight_hash.copy(), self._has_weights
        return other

    def digest(self) -> str:
        """Return the digest of all rows so far, in hexadecimal."""
        digests = [column_hash.digest() for pair in self._hashes.values() for column_hash in pair]
        if self._has_weights:
            digests.append(self._weight_hash.digest())
        return hashlib.sha256(b"".join(digests)).hexdigest()
