"""The span of a token in its text holds the characters that the token was made of."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fasttext_app.text.tokenizers import load_tokenizer

ODD = [
    "<br />",
    '"',
    "'",
    ".",
    ";",
    " ",
    "\t",
    "\u00a0",
    "İ",
    "ΑΣ",
    "ẞ",
    "é",
    "😀",
    "a",
    "B",
    "<br",
]
TEXTS = st.lists(st.sampled_from(ODD) | st.characters(codec="utf-8"), max_size=12).map("".join)


def cut(name, text):
    tokenizer = load_tokenizer(name)
    return tokenizer.split([text])[0], tokenizer.spans(text)


def folded(text):
    """Lower-case letter by letter, so that a final sigma is like any other."""
    return "".join(letter.lower() for letter in text).replace("\u03c2", "\u03c3")


@pytest.mark.slow
@given(TEXTS)
@example('<"br />x')
@example("ΟΔΟΣ. İstanbul")
def test_the_span_of_a_basic_english_token_holds_its_text(text):
    tokens, spans = cut("basic_english", text)
    assert len(tokens) == len(spans)
    for token, (start, end) in zip(tokens, spans, strict=True):
        assert 0 <= start < end <= len(text)
        assert folded(text[start:end]).replace('"', "") == folded(token)


@pytest.mark.slow
@given(TEXTS)
def test_the_spans_of_basic_english_are_in_order_and_cover_all_but_dropped_characters(text):
    _, spans = cut("basic_english", text)
    places = [0, *(place for span in spans for place in span), len(text)]
    assert places == sorted(places)
    between = [text[a:b] for a, b in zip(places[::2], places[1::2], strict=True)]
    assert (
        not "".join(between)
        .lower()
        .replace("<br />", "")
        .translate(
            str.maketrans("", "", '";:<br/>')  # a <br /> can contain quotes
        )
        .strip()
    )


@pytest.mark.slow
@given(TEXTS)
def test_the_span_of_a_whitespace_token_is_the_token(text):
    tokens, spans = cut("whitespace", text)
    assert [text[start:end] for start, end in spans] == tokens


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(["a", "__label__a", "</s>", "b</s>", "é", "\0", "\n", " "])).map(
        "".join
    )
)
def test_the_span_of_a_fasttext_token_is_the_token(text):
    tokens, spans = cut("fasttext", text)
    shown = [text[start:end] for start, end in spans]
    assert [shown or "</s>" for shown in shown] == tokens
    assert all(start < end for start, end in spans[:-1])


def test_labels_with_another_prefix_have_no_span():
    assert cut("fasttext:#", "#x to be") == (["to", "be", "</s>"], [(3, 5), (6, 8), (8, 8)])


def test_the_spans_of_a_hugging_face_tokenizer_are_its_offsets(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"big": 0, "cat": 1, "[UNK]": 2}, unk_token="[UNK]")
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = tokenizers.normalizers.Lowercase()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.save(str(tmp_path / "t.json"))
    name = f"hf:{tmp_path / 't.json'}"
    assert cut(name, " Big  CAT") == (["big", "cat"], [(1, 4), (6, 9)])


def test_torchtext_tokenizers_have_no_spans():
    assert load_tokenizer("torchtext:basic_english").spans is None
