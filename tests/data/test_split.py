"""The validation rows: a stratified choice."""

import numpy as np
import pytest

from fasttext_app.core.ragged import Ragged
from fasttext_app.data.split import choose_validation_rows


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [[50, 50], [900, 90, 10], [2, 2, 2, 100], [7] * 30])
def test_every_class_with_two_rows_is_on_both_sides_in_proportion(sizes, fraction):
    classes = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    held_out = choose_validation_rows(classes, fraction, seed=0)
    counts = np.bincount(classes[held_out], minlength=len(sizes))
    for size, count in zip(sizes, counts, strict=True):
        assert 1 <= count < size
        assert abs(count - size * fraction) <= 1


def test_a_class_with_one_row_is_trained_on():
    classes = np.array([0] * 10 + [1] * 10 + [2])
    for seed in range(20):
        assert not choose_validation_rows(classes, 0.5, seed)[-1]


def test_the_fraction_is_exact_if_no_class_is_rare():
    classes = np.arange(1000) % 7
    assert choose_validation_rows(classes, 0.1, seed=3).sum() == 100


def test_rows_with_several_labels_are_stratified_by_the_rarest():
    sets = Ragged.from_lists([[0], [0, 1], [0, 2], []])
    targets = np.array([0] * 60 + [1] * 20 + [2] * 10 + [3] * 10)
    held_out = choose_validation_rows(targets, 0.2, 0, sets)
    assert np.bincount(targets[held_out]).tolist() == [12, 4, 2, 2]
