"""What changes in texts before they are cut into tokens, alike on every path."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import python_strings, strings_from_bytes
from fasttext_app.text.rewriting import PATTERNS, Rewriting
from fasttext_app.text.tokenizers import load_tokenizer
from tests.helpers import code_path

ALL = Rewriting(lowercase=True, replace=tuple(PATTERNS))
PIECES = st.sampled_from(
    ["http://a.b/c?d=1#e", "www.X.org.", "me@x.co.uk", "1,000.5", "19th", "12", "👍🏽", "❤️", "🇩🇪"]
) | st.sampled_from(["İ", "ΑΣ", "今", "ก", " ", ",", "(", '"', "A", "é", "__label__x", "<br />"])
TEXTS = st.lists(PIECES | st.characters(codec="utf-8"), max_size=10).map("".join)
TOKENIZERS = ["basic_english", "unicode", "whitespace", "fasttext"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("url", "see http://a.b/c?d=1#e.", "see __url__ ."),
        ("url", "(https://x.org/a_b), WWW.Foo.COM!", "( __url__ ), __url__ !"),
        ("url", "請看http://a.cn/x。好", "請看 __url__ 。好"),
        (
            "url",
            "de.wikipedia.org/wiki http://de.x/wiki/Österreich",
            "de.wikipedia.org/wiki __url__",
        ),
        ("url", "http:// awww.no", "http:// awww.no"),
        ("email", "to me.you+tag@x.co.uk, a@b", "to __email__ , a@b"),
        ("email", "写信me@x.cn吧", "写信 __email__ 吧"),
        ("emoji", "ok❤️👍🏽👨\u200d👩\u200d👧 🇩🇪🇫🇷 1️⃣", "ok" + " __emoji__" * 6),
        ("emoji", "© ™ 1 # ☎", "© ™ 1 # __emoji__"),
        ("number", "1,000.50 and 3. or ٣٤", "__number__ and __number__ . or __number__"),
        ("number", "19th covid19 3.5kg v2 é12 x_1", "19th covid19 3.5kg v2 é12 x_1"),
        ("number", "2024年1月 10:30", "__number__ 年 __number__ 月 __number__ : __number__"),
    ],
)
def test_replacements_by_example(name, text, expected):
    assert " ".join(Rewriting(replace=(name,)).text(text).split()) == expected


def test_a_url_keeps_the_address_and_the_numbers_in_it():
    assert ALL.text("At HTTP://me@x.com/12?a=b@c.de") == "at  __url__ "
    assert Rewriting(replace=("number", "email")).text("a1@b2.com") == " __email__ "


def test_without_any_of_it_a_text_stays_itself():
    assert not Rewriting()
    assert Rewriting().text("Http://x.org İ") == "Http://x.org İ"


@pytest.mark.slow
@given(TEXTS)
@settings(deadline=None, max_examples=100)
def test_each_character_is_traced_to_its_origin(text):
    rewritten, origins = ALL.traced(text)
    assert rewritten == ALL.text(text)
    assert len(origins) == len(rewritten)
    for letter, (start, end) in zip(rewritten, origins, strict=True):
        if end - start == 1 and "__" not in rewritten:
            assert letter in text[start:end].lower() or letter == "ς"
    starts = [start for start, _ in origins]
    assert starts == sorted(starts)


@pytest.mark.slow
@given(st.lists(TEXTS, max_size=6))
@settings(deadline=None, max_examples=50)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_columns_single_texts_and_the_reference_agree(name, texts):
    tokenizer, plain = load_tokenizer(name, rewriting=ALL), load_tokenizer(name)
    expected = plain.split([ALL.text(text) for text in texts])
    assert tokenizer.split(texts) == expected
    assert tokenizer(pa.array(texts, pa.string())).to_lists() == expected
    for text, tokens in list(zip(texts, expected, strict=True))[:2]:
        assert tokenizer.tokenize_text(text).to_lists() == [tokens]
    assert pickle.loads(pickle.dumps(tokenizer)).split(texts) == expected


@pytest.mark.parametrize("name", TOKENIZERS)
def test_spans_point_into_the_text_as_it_was(name):
    tokenizer = load_tokenizer(name, rewriting=ALL)
    text = "İT is http://X.org/a 12 TIMES 👍🏽"
    tokens = [token for token in tokenizer.split([text])[0] if token != "</s>"]
    shown = [text[start:end] for start, end in tokenizer.spans(text)][: len(tokens)]
    by_token = dict(zip(tokens, shown, strict=True))
    assert by_token["__url__"] == "http://X.org/a"
    assert by_token["__number__"] == "12"
    assert by_token["__emoji__"] == "👍🏽"
    assert by_token["times"] == "TIMES"
    assert by_token["i\u0307t"] == "İT"


def test_a_tokenizer_of_a_library_gets_rewritten_texts_too():
    tokenizer = load_tokenizer("torchtext:basic_english", rewriting=ALL)
    assert tokenizer(pa.array(["See WWW.x.org"])).to_lists() == [["see", "__url__"]]


@pytest.mark.parametrize("compiled", [True, False])
def test_a_column_may_have_bytes_that_are_not_utf8(compiled):
    with code_path(compiled=compiled):
        column = ALL.column(strings_from_bytes([b"A\xff 12", b"", b"B"]))
        assert python_strings(column) == ["a\udcff  __number__ ", "", "b"]
