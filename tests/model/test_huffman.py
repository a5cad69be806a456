"""Huffman trees of hierarchical softmax, against walks in plain Python."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.model.huffman import HuffmanTree
from tests.helpers import code_path

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


def logits_for(data, counts):
    rows = st.lists(
        st.floats(-30, 30, width=32), min_size=len(counts), max_size=len(counts)
    )  # a column more than there are nodes, as a linear layer has
    return np.array(data.draw(st.lists(rows, min_size=1, max_size=3)), np.float32)


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def walk(tree, place, logits, so_far, floor=0.0):
    """Return {class: log-probability} below a place, and take each turn by hand."""
    if place < tree.classes:
        return {place: so_far}
    node = place - tree.classes
    found = {}
    for below, sign in ((tree.left[node], -1), (tree.right[node], 1)):
        turn = log_sigmoid(sign * float(logits[node]))
        turn = math.log(math.exp(turn) + floor) if floor else turn
        found |= walk(tree, int(below), logits, so_far + turn, floor)
    return found


def root(tree):
    return 2 * tree.classes - 2


@pytest.mark.slow
@given(COUNTS, st.data(), st.sampled_from([0.0, 1e-5]))
@settings(deadline=None, max_examples=60)
def test_log_probabilities_are_those_of_a_walk(counts, data, floor):
    tree, logits = HuffmanTree.build(counts), logits_for(data, counts)
    found = tree.log_probabilities(logits, floor)
    assert found.shape == (len(logits), len(counts))
    for row, values in zip(logits, found, strict=True):
        by_hand = walk(tree, root(tree), row, 0.0, floor)
        assert sorted(by_hand) == list(range(len(counts)))
        np.testing.assert_allclose(values, [by_hand[c] for c in sorted(by_hand)], rtol=1e-6)


@pytest.mark.slow
@given(COUNTS, st.data(), st.sampled_from([0.0, 1e-5]))
@settings(deadline=None, max_examples=60)
def test_turns_are_added_up_alike_in_compiled_code(counts, data, floor):
    tree, logits = HuffmanTree.build(counts), 100 * logits_for(data, counts)
    with code_path(compiled=True):
        compiled = tree.log_probabilities(logits, floor)
    with code_path(compiled=False):
        plain = tree.log_probabilities(logits, floor)
    np.testing.assert_array_equal(compiled, plain)
    assert np.isfinite(plain).all()


@pytest.mark.slow
@given(COUNTS, st.data())
@settings(deadline=None, max_examples=60)
def test_probabilities_of_classes_sum_to_one(counts, data):
    logs = HuffmanTree.build(counts).log_probabilities(logits_for(data, counts))
    np.testing.assert_allclose(np.exp(logs.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.slow
@given(COUNTS, st.data())
@settings(deadline=None, max_examples=60)
def test_ways_lead_to_the_log_probabilities(counts, data):
    tree, logits = HuffmanTree.build(counts), logits_for(data, counts)
    nodes, turns = tree.paths()
    assert nodes.shape == turns.shape == (len(counts), max(map(len, ways(tree).values())))
    steps = np.where(turns != 0, -np.logaddexp(0, -turns * logits[:, nodes].astype(np.float64)), 0)
    np.testing.assert_allclose(steps.sum(axis=2), tree.log_probabilities(logits), rtol=1e-6)
    for number, way in ways(tree).items():
        taken = turns[number] != 0
        walked = zip(nodes[number][taken].tolist(), turns[number][taken].tolist(), strict=True)
        assert list(walked) == way


def ways(tree):
    """Return {class: [(node, turn), ...]}, by hand."""
    found, open_places = {}, [(root(tree), [])]
    while open_places:
        place, way = open_places.pop()
        if place < tree.classes:
            found[place] = way
            continue
        node = place - tree.classes
        for below, turn in ((tree.left[node], -1), (tree.right[node], 1)):
            open_places.append((int(below), [*way, (node, turn)]))
    return found


@pytest.mark.slow
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
@settings(deadline=None)
def test_no_tree_has_shorter_ways(counts):
    tree = HuffmanTree.build(counts)
    length = sum(counts[number] * len(way) for number, way in ways(tree).items())
    heap, shortest = sorted(counts), 0
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        shortest += pair
        heapq.heappush(heap, pair)
    assert length == shortest
