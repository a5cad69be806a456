"""Warnings about data that no model can be good on."""

import random

import numpy as np
import pytest

import fasttext_app as ft
from fasttext_app.model.train_warnings import (
    ContradictingLabels,
    FewSteps,
    MajorityAccuracy,
    NoSpaces,
    RareLabels,
    UnknownTexts,
)
from tests.conftest import TINY_EXAMPLES

TEXTS, LABELS = map(list, zip(*TINY_EXAMPLES, strict=True))


def warnings(texts=TEXTS, labels=LABELS, **settings):
    settings = {"validation": 0.0, "epochs": 60, "batch_size": 20, "threads": 1, **settings}
    return ft.train(texts, labels, **settings).training_warnings


def test_good_data_needs_no_advice():
    assert warnings() == ()


def test_a_run_of_few_steps_is_reported():
    assert warnings(epochs=3) == (FewSteps(3),)
    assert "trainer.epochs" in str(FewSteps(3))


def test_labels_with_few_rows_are_named_the_rarest_first():
    texts = [*TEXTS, "a vote in parliament", "rain and wind", "snow and wind"]
    labels = [*LABELS, "politics", "weather", "weather"]
    (warning,) = warnings(texts, labels)
    assert isinstance(warning, RareLabels)
    assert list(warning.counts.items()) == [("politics", 1), ("weather", 2)]
    assert "'politics' (1), 'weather' (2)" in str(warning)


def test_a_text_with_two_labels_is_reported_with_its_rows():
    texts, labels = [*TEXTS, TEXTS[0], TEXTS[0]], [*LABELS, "money", LABELS[0]]
    assert warnings(texts, labels) == (ContradictingLabels(1, (1, 21)),)


def test_texts_without_words_do_not_contradict_each_other():
    assert warnings([*TEXTS, "", ""], [*LABELS, "sport", "money"]) == ()


def test_validation_texts_without_a_known_word_are_counted():
    texts = [*TEXTS * 2, *(letter * 3 for letter in "abcdefghijklmnopqrst")]
    labels = [*LABELS * 2, *["sport", "money"] * 10]
    settings = {"validation": 0.4, "minn": 0, "maxn": 0, "min_count": 2, "refit": False}
    unknown = [w for w in warnings(texts, labels, **settings) if isinstance(w, UnknownTexts)]
    assert unknown
    assert 0 < unknown[0].texts < unknown[0].validation_rows


def test_an_accuracy_that_the_majority_explains_is_reported():
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(list("abcdef"), 3)) for _ in range(100)]
    labels = ["rare" if row % 10 == 0 else "common" for row in range(100)]
    found = [
        warning
        for warning in warnings(texts, labels, validation=0.3, epochs=1)
        if isinstance(warning, MajorityAccuracy)
    ]
    assert found
    assert found[0].label == "common"
    assert found[0].share == pytest.approx(0.9)


WITHOUT_SPACES = {
    "Chinese": ("进球今天的是因为看到今天比赛冠军", "下雨可以大的一个大的温度温度"),
    "Japanese": ("チームが試合に勝ちましたので嬉しい", "あしたは雨が降るでしょうと言った"),
    "Thai": ("ทีมชนะการแข่งขันฟุตบอลเมื่อวาน", "พรุ่งนี้ฝนจะตกหนักในภาคเหนือ"),
    "Khmer": ("ក្រុមបានឈ្នះការប្រកួតកាលពីម្សិលមិញ", "ថ្ងៃស្អែកនឹងមានភ្លៀងធ្លាក់ខ្លាំង"),
    "Burmese": ("အသင်းသည်ပြိုင်ပွဲတွင်အနိုင်ရခဲ့သည်", "မနက်ဖြန်မိုးသည်းထန်စွာရွာမည်"),
    "Lao": ("ທີມຊະນະການແຂ່ງຂັນເຕະບານມື້ວານນີ້", "ມື້ອື່ນຝົນຈະຕົກໜັກຢູ່ພາກເໜືອ"),
}


@pytest.mark.parametrize("language", WITHOUT_SPACES)
@pytest.mark.parametrize("tokenizer", ["basic_english", "whitespace", "fasttext"])
def test_sentences_without_spaces_are_reported(language, tokenizer):
    sport, weather = WITHOUT_SPACES[language]
    texts = [text[n:] + text[:n] for text in (sport, weather) for n in range(6)]
    texts, labels = texts * 2, (["sport"] * 6 + ["weather"] * 6) * 2
    (warning,) = [
        warning
        for warning in warnings(texts, labels, tokenizer=tokenizer)
        if isinstance(warning, NoSpaces)
    ]
    assert warning.letters >= 8
    assert warning.share > 0.7
    assert 'set text.tokenizer = "unicode"' in str(warning)
    assert warnings(texts, labels, tokenizer="unicode") == ()


def test_words_of_such_a_script_with_spaces_are_not_reported():
    texts = ["进球 今天 的 是 因为 看到", "下雨 可以 大 的 一个 温度"] * 10
    assert warnings(texts, ["sport", "weather"] * 10) == ()
    assert warnings([*TEXTS, "进球今天的是因为看到今天"], [*LABELS, "sport"]) == ()


def test_the_advised_tokenizer_learns_from_them():
    words = {"sport": ["进球", "比赛", "冠军"], "weather": ["下雨", "温度", "晴天"]}
    fillers, chance = ["今天", "的", "是", "因为", "看到", "一个", "可以", "大"], random.Random(0)

    def sentence(label):
        chosen = [*chance.choices(fillers, k=6), *chance.choices(words[label], k=2)]
        return "".join(chance.sample(chosen, len(chosen)))

    labels = ["sport", "weather"] * 100
    texts = [sentence(label) for label in labels]
    settings = {"word_ngrams": 1, "maxn": 0, "validation": 0.0, "threads": 1}
    model = ft.train(texts[:150], labels[:150], tokenizer="unicode", **settings)
    found = [prediction.labels[0] for prediction in model.predict(texts[150:])]
    assert found == labels[150:]
