"""Tokenizers give the same tokens for Arrow columns as their reference implementations."""

from __future__ import annotations

import csv
import itertools
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fasttext_app.errors import ConfigError, MissingDependencyError
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.text.tokens import Tokens

laws = settings(deadline=None, max_examples=50)

SPACES = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
NOT_QUITE_SPACES = "\u180e\u200b\u200d\u2060\ufeff"  # format characters: str.split keeps them
PIECES = st.one_of(
    st.sampled_from(SPACES + NOT_QUITE_SPACES + "'\".,()!?;:<>/-&"),
    st.sampled_from(["<br />", "<BR />", "<br/>", '<br "/>', "İ", "Σ", "ΣΑΣ", "ß", "ǅ", "K", "I"]),
    st.sampled_from(["word", "Can't", "U.S.", "😀", "\U0001d504", "e\u0301", "\\", "\x00", "\x7f"]),
    st.builds(
        str.__mul__, st.sampled_from("xyé"), st.sampled_from([5, 6, 7, 8, 9, 15, 16, 17, 64])
    ),
    st.characters(codec="utf-8"),
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def column(texts):
    return pa.array(texts, pa.string())


def checked(name):
    """Return a built-in tokenizer that checks each compiled call against the reference."""
    tokenizer = load_tokenizer(name)

    def tokenize(texts):
        tokens = tokenizer(texts)
        assert tokens.to_lists() == tokenizer.split(texts.to_pylist())
        return tokens

    return tokenize


basic_english, whitespace = checked("basic_english"), checked("whitespace")


def values(tokens):
    return [word for text in tokens.to_lists() for word in text]


@pytest.fixture(scope="module")
def torchtext_basic_english():
    from torchtext.data.utils import get_tokenizer

    return get_tokenizer("basic_english")


# --- basic_english -----------------------------------------------------------------------------


@pytest.mark.slow
@given(TEXTS)
@example("")
@example("<br />")
@example("ends in a stop. ")
@laws
def test_basic_english_of_one_text_equals_torchtext(torchtext_basic_english, text):
    assert basic_english(column([text])).to_lists() == [torchtext_basic_english(text)]


@pytest.mark.slow
@given(st.lists(TEXTS, max_size=12))
@laws
def test_basic_english_of_a_column_equals_torchtext_text_by_text(torchtext_basic_english, texts):
    expected = [torchtext_basic_english(text) for text in texts]
    assert basic_english(column(texts)).to_lists() == expected


@pytest.mark.slow
@given(st.lists(TEXTS, max_size=8), st.integers(0, 8), st.integers(0, 8))
@laws
def test_basic_english_of_a_slice_equals_torchtext(torchtext_basic_english, texts, start, length):
    sliced = column(texts).slice(min(start, len(texts)), length)
    expected = [torchtext_basic_english(text) for text in sliced.to_pylist()]
    assert basic_english(sliced).to_lists() == expected


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("İstanbul", ["i\u0307stanbul"]),  # one letter becomes two
        ("ΟΔΟΣ ΣΑΣ", ["οδος", "σας"]),  # the final sigma
        ("GROẞ ǅ K", ["groß", "ǆ", "k"]),  # the last is the Kelvin sign
        ("a<br />b", ["a", "b"]),
        ("a<BR />b", ["a", "b"]),
        ("don't", ["don", "'", "t"]),
        ('say "so"', ["say", "so"]),
        ("U.S.", ["u", ".", "s", "."]),
        ("a;b:c", ["a", "b", "c"]),
        ("no\x1fbreak", ["no", "break"]),
        ("zero\u200bwidth", ["zero\u200bwidth"]),
    ],
)
def test_basic_english_by_example(text, tokens):
    assert basic_english(column([text])).to_lists() == [tokens]


@pytest.mark.ag_news
@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_basic_english_equals_torchtext_on_the_rows_of_ag_news(
    ag_news_dir, torchtext_basic_english, split
):
    with (ag_news_dir / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = itertools.islice(csv.reader(file), 20_000)
        texts = [f"{title} {description}" for _, title, description in rows]
    tokens = basic_english(column(texts))
    expected = [torchtext_basic_english(text) for text in texts]
    assert values(tokens) == [token for text in expected for token in text]
    assert np.diff(tokens.offsets).tolist() == [len(text) for text in expected]


# --- whitespace --------------------------------------------------------------------------------


@pytest.mark.slow
def test_whitespace_splits_at_the_same_code_points_as_str_split_and_keeps_all_others():
    points = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    blocks = ["a".join(points[start : start + 4096]) for start in range(0, len(points), 4096)]
    for block in blocks:
        assert whitespace(column([block])).to_lists() == [block.split()]


@pytest.mark.slow
@given(st.lists(TEXTS, max_size=12))
@laws
def test_whitespace_of_a_column_equals_str_split(texts):
    assert whitespace(column(texts)).to_lists() == [text.split() for text in texts]


@pytest.mark.parametrize("space", SPACES)
def test_whitespace_leaves_no_empty_token_at_either_end(space):
    texts = [f"{space}a", f"a{space}", f"{space}a{space}{space}b{space}", space, space * 3, ""]
    assert whitespace(column(texts)).to_lists() == [["a"], ["a"], ["a", "b"], [], [], []]


@pytest.mark.parametrize("tokenize", [whitespace, basic_english])
@pytest.mark.parametrize("texts", [[], [""], ["", "", " "]])
def test_texts_without_words_have_empty_bags(tokenize, texts):
    tokens = tokenize(column(texts))
    assert tokens.to_lists() == [[] for _ in texts]
    assert tokens.words.column.type == pa.string()


@pytest.mark.parametrize("tokenize", [whitespace, basic_english])
def test_words_that_differ_in_one_byte_are_told_apart(tokenize):
    words = [
        "a" * start + byte + "a" * (size - start - 1)
        for size in (*range(1, 20), 33)
        for start in range(size)
        for byte in "ab"
    ]
    tokens = tokenize(column([" ".join(words), *words]))
    assert len(tokens.words) == len(set(words))


# --- what lies behind the end of a buffer ------------------------------------------------------


def text_before(text, following):
    """Return a column of one text whose bytes are followed by others in memory."""
    data = text.encode()
    offsets = np.array([0, len(data)], dtype=np.int32)
    return pa.StringArray.from_buffers(
        1, pa.py_buffer(offsets), pa.py_buffer(data + following).slice(0, len(data))
    )


@pytest.mark.parametrize("following", [b"\xff", b"\x80", b"\xf0", b" ", b"\xe3\x80\x80", b"x"])
@pytest.mark.parametrize("text", ["the end. ", "the end ", "the end.\u3000", " ", "a b \n "])
def test_the_bytes_after_a_text_do_not_change_its_tokens(text, following):
    assert whitespace(text_before(text, following)).to_lists() == [text.split()]


def test_spaces_at_the_border_of_two_texts_belong_to_neither_token():
    assert whitespace(column(["a ", " b", "\u3000", " c "])).to_lists() == [["a"], ["b"], [], ["c"]]


@pytest.mark.slow
def test_a_period_at_the_end_of_a_text_is_a_token():
    # basic_english replaces the period by ' . '. The buffer's size varies with the length of the
    # text, and what follows it in memory is arbitrary.
    for length in range(2000):
        text = "é" * (length % 70) + f"x{length}. "
        assert basic_english(column([text])).to_lists() == [[text[:-2], "."]]


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["basic_english", "whitespace", "torchtext:basic_english"])
def test_a_tokenizer_keeps_its_name_and_needs_no_file(name):
    tokenizer = load_tokenizer(name)
    assert (tokenizer.name, tokenizer.asset) == (name, None)
    assert tokenizer(column(["a b", ""])).to_lists() == [["a", "b"], []]


@pytest.mark.slow
@given(st.lists(TEXTS, max_size=6))
@settings(deadline=None, max_examples=30)
def test_torchtext_basic_english_is_that_of_torchtext(torchtext_basic_english, texts):
    tokens = load_tokenizer("torchtext:basic_english")(column(texts))
    assert tokens.to_lists() == list(map(torchtext_basic_english, texts))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("basic_englsh", "'basic_englsh' is not a tokenizer; did you mean 'basic_english'?"),
        ("qqq", "'qqq' is not a tokenizer; known: basic_english, unicode, whitespace, fasttext, "),
        ("torchtext:mosses", "torchtext has no tokenizer 'mosses'; did you mean 'moses'?"),
        ("torchtext:qqq", "torchtext has no tokenizer 'qqq'; known: basic_english, spacy"),
        ("hf:", "'hf:' is not a tokenizer; known: "),
        ("", "'' is not a tokenizer; known: "),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(name, message):
    with pytest.raises(ConfigError) as caught:
        load_tokenizer(name)
    assert str(caught.value).startswith(f"text.tokenizer: {message}")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("revtok", "revtok"),
        ("subword", "revtok"),
        ("moses", "sacremoses"),
        ("toktok", "nltk"),
        ("spacy", "spacy"),
    ],
)
def test_a_missing_package_of_a_torchtext_tokenizer_is_named(monkeypatch, capsys, name, package):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(
        MissingDependencyError, match=f"torchtext:{name} needs the package {package}; pip"
    ):
        load_tokenizer(f"torchtext:{name}")
    assert capsys.readouterr().out == ""  # stdout belongs to the data that a command writes


# --- Hugging Face files ------------------------------------------------------------------------


@pytest.fixture
def word_level_file(tmp_path):
    """A WordLevel tokenizer file that would truncate and pad texts and add special tokens."""
    import tokenizers

    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[PAD]": 2, "the": 3, "end": 4, ".": 5}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = tokenizers.normalizers.Lowercase()
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", 1)]
    )
    backend.enable_truncation(3)
    backend.enable_padding(pad_id=2, pad_token="[PAD]")
    path = tmp_path / "word_level.json"
    backend.save(str(path))
    return path


def test_a_word_level_file_tokenizes_whole_texts_without_special_tokens(word_level_file):
    tokenizer = load_tokenizer(f"hf:{word_level_file}")
    texts = ["The end.", "", "the the the the the the", "the moon"]
    assert tokenizer(column(texts)).to_lists() == [
        ["the", "end", "."],
        [],
        ["the"] * 6,
        ["the", "[UNK]"],
    ]


def test_a_bpe_file_tokenizes_into_its_pieces(tmp_path):
    import tokenizers

    vocabulary = {piece: row for row, piece in enumerate(["l", "o", "w", "e", "r", "lo", "low"])}
    model = tokenizers.models.BPE(vocab=vocabulary, merges=[("l", "o"), ("lo", "w")])
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.save(str(tmp_path / "bpe.json"))
    tokens = load_tokenizer(f"hf:{tmp_path / 'bpe.json'}")(column(["lower low", "owl"]))
    assert tokens.to_lists() == [["low", "e", "r", "low"], ["o", "w", "l"]]


def test_a_piece_of_a_word_is_not_ruled_out_as_a_token(word_level_file):
    words = column(["##ing", "any thing"])
    assert load_tokenizer(f"hf:{word_level_file}").possible_tokens(words) is words


def test_the_asset_is_the_tokenizer_file_byte_for_byte(word_level_file):
    tokenizer = load_tokenizer(f"hf:{word_level_file}")
    assert tokenizer.asset == word_level_file.read_bytes()


def test_a_saved_asset_is_used_instead_of_the_file(word_level_file):
    asset = word_level_file.read_bytes()
    word_level_file.unlink()
    tokenizer = load_tokenizer(f"hf:{word_level_file}", asset)
    assert tokenizer(column(["the end"])).to_lists() == [["the", "end"]]


def test_a_missing_tokenizer_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"hf:.*none\.json: cannot read the tokenizer file: No"):
        load_tokenizer(f"hf:{tmp_path / 'none.json'}")


@pytest.mark.parametrize("content", [b"", b"not json", b"\xff\xfe", b"{}", b'{"model": 3}'])
def test_a_file_that_is_not_a_tokenizer_is_refused(tmp_path, content):
    path = tmp_path / "garbage.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"hf:.*garbage\.json: not a tokenizer file: "):
        load_tokenizer(f"hf:{path}")


def test_a_missing_tokenizers_package_is_named(monkeypatch, word_level_file):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(
        MissingDependencyError, match=r"tokenizers; pip install -c constraints.txt '\.\[hf\]'"
    ):
        load_tokenizer(f"hf:{word_level_file}")


# --- the rest ----------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.lists(st.lists(st.text(max_size=5), max_size=5), max_size=6))
@laws
def test_token_lists_survive_the_round_trip(tokens):
    assert Tokens.from_lists(tokens).to_lists() == tokens
