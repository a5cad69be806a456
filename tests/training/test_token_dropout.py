"""Token dropout: which ids stay is a hash, the same on every way on which a batch is cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.bits import mix_word
from fasttext_app.core.ragged import Ragged
from fasttext_app.model.classifier import FastTextClassifier
from fasttext_app.training.batch import Grouping
from fasttext_app.training.dataset import EncodedDataset, ShardedDataset
from fasttext_app.training.loader import epoch
from fasttext_app.training.token_dropout import TokenDropout
from fasttext_app.training.trainer import Trainer
from fasttext_app.training.validation import Validator
from tests.helpers import make_config

BITS_64 = (1 << 64) - 1
keys = st.integers(0, BITS_64)


def scrambled(number: int) -> int:
    """SplitMix64 as its paper has it: the next draw of a generator whose state is ``number``."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & BITS_64
    number = (number ^ number >> 27) * 0x94D049BB133111EB & BITS_64
    return number ^ number >> 31


def stays(key: int, text: int, place: int, rate: float) -> bool:
    golden = 0x9E3779B97F4A7C15
    of_text = scrambled((key + text * golden) & BITS_64)
    return scrambled((of_text + place * golden) & BITS_64) >> 32 >= round(rate * 2**32)


def test_the_hash_is_that_of_the_published_generator():
    golden, state, drawn = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(3):
        state = (state + golden) & BITS_64
        drawn.append(scrambled(state))
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(keys)
@settings(deadline=None, max_examples=20)
def test_the_compiled_hash_is_the_same(number):
    with np.errstate(over="ignore"):
        assert int(mix_word(np.uint64(number))) == scrambled(number)


@given(keys, st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 9)), max_size=20))
@settings(deadline=None, max_examples=25)
def test_what_stays_is_what_the_hash_says(key, ids):
    texts, places = (torch.tensor([pair[side] for pair in ids]) for side in (0, 1))
    kept = TokenDropout(0.3, key).kept(texts.long(), places.long())
    assert kept.tolist() == [stays(key, *pair, 0.3) for pair in ids]


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_the_share_that_is_left_out_is_the_rate(rate):
    texts = torch.arange(400).repeat_interleave(100)
    kept = TokenDropout(rate, 0).within(1).kept(texts, torch.arange(100).repeat(400))
    assert float(kept.float().mean()) == pytest.approx(1 - rate, abs=0.01)
    by_place, by_text = kept.view(400, 100).float().mean(0), kept.view(400, 100).float().mean(1)
    assert float(by_place.std()) < 0.04  # of 400 draws each
    assert float(by_text.std()) < 0.08  # of 100 draws each


def test_epochs_shards_and_seeds_draw_anew():
    texts, places = torch.zeros(64, dtype=torch.long), torch.arange(64)
    one = TokenDropout(0.5, 1)
    parts = [one, one.within(0), one.within(1), one.within(1).within(1), TokenDropout(0.5, 2)]
    drawn = {tuple(part.kept(texts, places).tolist()) for part in parts}
    assert len(drawn) == len(parts)


def make_data(bags: list[list[int]], *, weighted: bool = False) -> EncodedDataset:
    idf = np.linspace(1, 2, 31, dtype=np.float32) if weighted else None
    return EncodedDataset(Ragged.from_lists(bags, np.int32), np.arange(len(bags)) % 2, idf)


def test_a_gathered_text_is_what_is_left_of_it_and_may_be_empty():
    bags = [[1, 2, 3, 4], [5], [], [6, 7]]
    dropout = TokenDropout(0.6, 5)
    batch = make_data(bags).gather(torch.tensor([3, 1, 0, 2]), dropout)
    left = [
        [row for place, row in enumerate(bags[text]) if stays(5, text, place, 0.6)]
        for text in (3, 1, 0, 2)
    ]
    assert [] in left[:3], "the case shows nothing"
    assert batch.indices.tolist() == [row for bag in left for row in bag]
    assert torch.diff(batch.offsets).tolist() == list(map(len, left))


def test_the_tf_idf_weights_of_what_is_left_sum_to_one():
    bags = [[n, n + 1, n + 2, n + 3] for n in range(20)]
    batch = make_data(bags, weighted=True).gather(torch.arange(20), TokenDropout(0.5, 1))
    sums = np.add.reduceat(
        np.append(batch.per_sample_weights.numpy(), 0), batch.offsets.numpy()[:-1]
    )
    full = np.diff(batch.offsets.numpy()) > 0
    assert not full.all()
    assert sums[full] == pytest.approx(1)


def texts_of(data, seed: int, grouping, skip: int = 0, rate: float = 0.4) -> list[list[list[int]]]:
    generator = torch.Generator().manual_seed(seed)
    batches = epoch(data, 3, generator, grouping, skip, TokenDropout(rate, seed).within(2))
    return [[batch.indices.tolist(), batch.offsets.tolist()] for batch in batches]


def test_equal_texts_in_two_shards_lose_different_ids():
    shards = ShardedDataset([lambda: make_data([list(range(31))])] * 2, [1, 1])
    (first, _), (second, _) = texts_of(shards, 1, None)
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 8])
def test_shards_and_skipped_batches_change_nothing(threads, monkeypatch):
    monkeypatch.setattr("fasttext_app.training.loader.CUT_IDS", 8)
    rng = np.random.default_rng(0)
    wholes = [
        make_data([rng.integers(0, 31, rng.integers(0, 9)).tolist() for _ in range(size)])
        for size in (10, 7, 8)
    ]
    shards = ShardedDataset([lambda whole=whole: whole for whole in wholes], [10, 7, 8])
    for data in (wholes[0], shards):
        plain = texts_of(data, 1, None)
        grouping = Grouping(rows=31, mean=True, threads=threads)
        for skip in range(len(plain)):
            assert texts_of(data, 1, grouping, skip) == plain[skip:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        {"token_dropout": 0.9},
        {"bag_dropout": 0.9},
        {"label_smoothing": 0.5},
        {"focal_gamma": 3.0},
    ],
    ids=str,
)
def test_validation_is_as_without_the_options_of_training(option):
    data = make_data([[n % 9, 9 + n % 2, 3] for n in range(30)])

    def figures(**options):
        config = make_config(**{"dim": 4, "lr": 0.5, "epochs": 2, **options})
        model = FastTextClassifier.from_config(config.model, 31, 2, torch.Generator())
        torch.nn.init.ones_(model.linear.weight[0])
        trainer = Trainer(model, config)
        before = Validator.__call__(trainer._validator, model, data)
        trainer.fit(data)
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        return before, weights

    (plain, trained), (figures_of_option, trained_with) = figures(), figures(**option)
    assert figures_of_option == plain
    assert any(not torch.equal(value, trained_with[name]) for name, value in trained.items())
