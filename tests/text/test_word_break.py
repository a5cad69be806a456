"""The ``unicode`` tokenizer: the boundaries of UAX #29, and the same tokens in compiled code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttext_app.core.arrow import strings_from_bytes
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.unicode_data import VERSION, WORD_BREAK
from fasttext_app.text.vocabulary import Vocabulary
from fasttext_app.text.word_break import CLASSES, segments, unicode_spans, unicode_words
from tests.helpers import DATA, SCRIPTS, code_path
from tests.text.test_tokenizers import checked, column

TOKENIZER = load_tokenizer("unicode")
# A character of each class, and of each place in UTF-8.
CHARACTERS = (
    "aB é'.,:;_1٣\"אדア゙ーあ今天กั국\r\n\t\x85\u00a0\u3000\u200b\u200d\u00ad\u0301\ufe0f🇩🇪😀❤Ⓜ🏽©€"
    "\U0010ffff\ue000\U00020000"
)
TEXTS = st.lists(st.sampled_from(CHARACTERS) | st.characters(codec="utf-8"), max_size=12).map(
    "".join
)


def boundary_tests():
    for line in (DATA / "WordBreakTest.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            marks, points = line.split()[::2], line.split()[1::2]
            bounds = [place for place, mark in enumerate(marks) if mark == "÷"]
            yield "".join(chr(int(point, 16)) for point in points), bounds


def test_segments_end_where_the_unicode_consortium_says():
    tests = list(boundary_tests())
    assert len(tests) == 1823
    for text, bounds in tests:
        assert [0, *(end for _, end in segments(text))] == bounds, ascii(text)


def test_compiled_code_finds_the_tokens_of_those_texts_too():
    texts = [text for text, _ in boundary_tests()]
    assert TOKENIZER(column(texts)).to_lists() == [unicode_words(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (" \t\u3000\u200b\n", []),
        ("Can't stop, won't stop!", ["Can't", "stop", ",", "won't", "stop", "!"]),
        ("3.5 1,000 v2 a_b", ["3.5", "1,000", "v2", "a_b"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("👨\u200d👩\u200d👧👍🏽🇩🇪🇫🇷", ["👨\u200d👩\u200d👧", "👍🏽", "🇩🇪", "🇫🇷"]),
        ("今天下雨。", ["今", "今天", "天", "天下", "下", "下雨", "雨", "。"]),
        (
            "カタカナとひらがな",
            ["カタカナ", "と", "とひ", "ひ", "ひら", "ら", "らが", "が", "がな", "な"],
        ),
        ("한국어 문장", ["한국어", "문장"]),
        ("ภาษา", ["ภ", "ภา", "า", "าษ", "ษ", "ษา", "า"]),
        ("ខ្មែរ", ["ខ្", "ខ្មែ", "មែ", "មែរ", "រ"]),
        ("今A天", ["今", "A", "天"]),
        ("今 天", ["今", "天"]),
        ("今\u200b天", ["今", "天"]),
        ("__url__", ["__url__"]),
    ],
)
def test_tokens_by_example(text, tokens):
    assert unicode_words(text) == TOKENIZER(column([text])).to_lists()[0] == tokens


@pytest.mark.slow
@given(st.lists(TEXTS, max_size=8))
@example(["", "\u0301a", "今天" * 40, "a" * 99, "'" * 99])
@settings(deadline=None, max_examples=200)
def test_a_column_and_a_single_text_get_the_tokens_of_the_reference(texts):
    checked("unicode")(column(texts))
    for text in texts[:2]:
        assert TOKENIZER.tokenize_text(text).to_lists() == [unicode_words(text)]


@pytest.mark.slow
@given(TEXTS)
@settings(deadline=None, max_examples=200)
def test_spans_are_those_of_the_tokens_and_only_spaces_are_in_none(text):
    spans = unicode_spans(text)
    assert [text[start:end] for start, end in spans] == unicode_words(text)
    assert spans == sorted(spans, key=lambda span: span[0])
    covered = {place for span in spans for place in range(*span)}
    for start, end in segments(text):
        assert (start in covered) == (end - 1 in covered)
    assert unicode_words("".join(text[place] for place in sorted(covered))) or not covered


@pytest.mark.parametrize("compiled", [True, False])
def test_the_rows_of_a_text_are_the_same_alone_and_in_a_column(compiled):
    texts = ["今天 it's 3.5°C", "ภาษา 今天下雨", "", "下雨 it's"]
    vocabulary = Vocabulary.build([TOKENIZER(column(texts))])
    encoder = TextEncoder(TOKENIZER, vocabulary, word_ngrams=2, minn=1, maxn=3, bucket=50)
    expected = encoder.encode_plain(texts).to_lists()
    with code_path(compiled=compiled):
        assert encoder.encode(texts).to_lists() == expected
        assert [encoder.encode_text(text).to_lists()[0] for text in texts] == expected


def test_bytes_that_are_not_utf8_are_tokens():
    texts = [b"a\xffb", b"\xe4\xbb", b"\xc0\x80", b"\xf4\xff\xff\xff", b"\xe4\xbba\xf0\x9f\x98"]
    found = TOKENIZER(strings_from_bytes(texts))
    joined = [[bytes(w) for w in words] for words in byte_lists(found)]
    assert joined[0] == [b"a", b"\xff", b"b"]
    assert [b"".join(words) for words in joined] == texts


def byte_lists(tokens):
    words = tokens.words
    names = [
        words.data[start:end].tobytes()
        for start, end in zip(words.bounds[:-1], words.bounds[1:], strict=True)
    ]
    bounds = zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
    return [[names[code] for code in tokens.codes[start:end]] for start, end in bounds]


def test_each_class_has_a_letter_of_its_own():
    assert CLASSES.keys() == {"Other", *WORD_BREAK}
    assert len(set(CLASSES.values())) == len(CLASSES)


def test_the_table_is_that_of_the_unicode_data():
    folder = Path("/usr/share/unicode")
    if not (folder / "auxiliary" / "WordBreakProperty.txt").exists():
        pytest.skip("needs the Unicode data, as in Debian's package unicode-data")
    spec = importlib.util.spec_from_file_location("s", SCRIPTS / "write_unicode_data.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    if f'VERSION = "{VERSION}"' not in (source := script.render(folder)):
        pytest.skip(f"needs version {VERSION} of the Unicode data")
    assert source == script.TARGET.read_text(encoding="utf-8")
