"""Scoring beyond one machine: ``Scorer``, and thin adapters to engines, one module each.

>>> from fasttext_app.scoring import Scorer
>>> Scorer("no/such/model")
Traceback (most recent call last):
    ...
fasttext_app.errors.ArtifactError: no/such/model: no such model directory; train one with ...
"""

from fasttext_app.scoring.scorer import Scorer

__all__ = ["Scorer"]
