"""``TextEncoder`` follows its rules, whatever the chunks, the threads and the code path.

The reference here is written from the documented rules alone and shares no code with the package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttext_app.core.ragged import Ragged
from fasttext_app.errors import ConfigError, DataError
from fasttext_app.text import chunks as module
from fasttext_app.text.chunks import as_chunks, read_chunks
from fasttext_app.text.encoder import TextEncoder
from fasttext_app.text.tokenizers import Tokenizer, load_tokenizer
from fasttext_app.text.tokens import Tokens
from fasttext_app.text.vocabulary import Vocabulary
from tests.helpers import code_path

laws = settings(deadline=None, max_examples=30)

TRAINING = ["to be or not to be", "that is the question", "être 漢字 😀 é", "to be"]
WORDS = st.sampled_from(
    [*" ".join(TRAINING).split(), "unknown", "ünknown", "x", "👩\u200d🚀", "e\u0301", "b" * 300]
)
TEXTS = st.lists(st.lists(WORDS, max_size=7).map(" ".join), max_size=9)
SETTINGS = st.tuples(
    st.integers(1, 4),  # word_ngrams
    st.sampled_from([(0, 0), (1, 1), (1, 3), (2, 4), (3, 6)]),  # minn, maxn
    st.sampled_from([1, 2, 97, 1000, 2_000_000]),  # bucket
)


def make(word_ngrams=1, lengths=(0, 0), bucket=0, texts=TRAINING, tokenizer=None, **limits):
    tokenizer = tokenizer or load_tokenizer("whitespace")
    vocabulary = Vocabulary.build(map(tokenizer, as_chunks(texts)), **limits)
    minn, maxn = lengths
    return TextEncoder(
        tokenizer, vocabulary, word_ngrams=word_ngrams, minn=minn, maxn=maxn, bucket=bucket
    )


# --- the rules, in plain Python ----------------------------------------------------------------


def plain_hash(string):
    value = 2166136261
    for byte in string.encode():
        signed = byte - 256 if byte > 127 else byte
        value = ((value ^ (signed % 2**32)) * 16777619) % 2**32
    return value


def plain_encode(text, setting):
    word_ngrams, (minn, maxn), bucket = setting
    counted = Counter(word for line in TRAINING for word in line.split())
    order = sorted(counted, key=lambda word: (-counted[word], word.encode()))
    words = text.split()
    ids = []
    for word in words:
        ids += [order.index(word)] if word in order else []
        marked = f"<{word}>"
        for start in range(len(marked) if maxn else 0):
            for length in range(minn, min(maxn, len(marked) - start) + 1):
                piece = marked[start : start + length]
                if length == 1 and start in (0, len(marked) - 1):
                    continue
                ids.append(len(order) + plain_hash(piece) % bucket)
    for start in range(len(words)):
        for length in range(2, min(word_ngrams, len(words) - start) + 1):
            value = 0
            for word in words[start : start + length]:
                hashed = plain_hash(word)
                value = (value * 116049371 + (hashed - 2**32 if hashed >> 31 else hashed)) % 2**64
            ids.append(len(order) + value % bucket)
    return ids


@pytest.mark.slow
@given(TEXTS, SETTINGS)
@laws
def test_encoding_follows_the_documented_rules(texts, setting):
    assert make(*setting).encode(texts).to_lists() == [
        plain_encode(text, setting) for text in texts
    ]


# --- one way to encode -------------------------------------------------------------------------


@pytest.mark.slow
@given(TEXTS, SETTINGS)
@laws
def test_a_text_gets_the_same_ids_alone_as_in_bulk(texts, setting):
    encoder = make(*setting)
    alone = [ids for text in texts for ids in encoder.encode([text]).to_lists()]
    assert encoder.encode(texts).to_lists() == alone


@pytest.mark.slow
@given(TEXTS, SETTINGS, st.integers(1, 4), st.sampled_from([0, 1, 2, 5]))
@laws
def test_chunks_and_threads_do_not_change_the_ids(texts, setting, rows, threads):
    encoder = make(*setting)
    whole = encoder.encode(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_ROWS", rows)
        pieces = encoder.encode(texts, threads=threads)
    assert pieces.indices.tolist() == whole.indices.tolist()
    assert pieces.offsets.tolist() == whole.offsets.tolist()


@pytest.mark.slow
@given(TEXTS, st.lists(st.integers(0, 9), max_size=4))
@laws
def test_the_chunks_of_a_column_do_not_change_the_ids(texts, cuts):
    encoder, bounds = make(2, (2, 3), 50), [0, *sorted(cuts), len(texts)]
    chunks = [texts[start:end] for start, end in pairwise(bounds)]
    column = pa.chunked_array(chunks, pa.string())
    assert encoder.encode(column).to_lists() == encoder.encode(texts[: len(column)]).to_lists()


@pytest.mark.slow
@given(TEXTS, SETTINGS)
@laws
def test_ids_are_32_bit_rows_of_the_table(texts, setting):
    encoder = make(*setting)
    bags = encoder.encode(texts)
    assert len(bags) == len(texts)
    assert (bags.indices >= 0).all()
    assert (bags.indices < encoder.rows).all()
    assert (bags.indices.dtype, bags.offsets.dtype) == (np.int32, np.int64)


@pytest.mark.parametrize("wrap", [list, tuple, np.array, pa.array])
def test_any_sequence_of_strings_is_accepted(wrap):
    assert make().encode(wrap(["to be", "nothing"])).to_lists() == [[1, 0], []]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.utf8())]
)
def test_any_arrow_string_type_is_accepted(kind):
    assert make().encode(pa.array(["to be", "nothing"]).cast(kind)).to_lists() == [[1, 0], []]


# --- edges -------------------------------------------------------------------------------------


def test_words_outside_the_vocabulary_take_part_in_ngrams():
    encoder = make(2, (0, 0), 1000, texts=["a a b"], min_count=2)
    (word, with_c), (same_word, with_b) = encoder.encode(["a c", "a b"]).to_lists()
    assert word == same_word == 0
    assert with_c != with_b


def test_no_texts_give_no_bags():
    bags = make().encode([])
    assert (len(bags), bags.to_lists(), bags.indices.dtype) == (0, [], np.int32)


def test_an_empty_vocabulary_leaves_only_buckets():
    assert make(texts=[]).encode(["to be"]).to_lists() == [[]]
    encoder = make(2, (2, 3), 10, texts=[])
    assert encoder.rows == 10
    assert len(encoder.encode(["to be"]).indices) > 0


def test_more_rows_than_32_bit_ids_can_name_are_refused():
    with pytest.raises(ConfigError, match=r"text\.bucket = 2147483648: .* more than 2\^31 rows"):
        make(2, (0, 0), 2**31)


@pytest.mark.parametrize(("word_ngrams", "lengths"), [(2, (0, 0)), (1, (2, 3))])
def test_ngrams_without_buckets_are_refused(word_ngrams, lengths):
    with pytest.raises(ConfigError, match=r"text\.bucket = 0: .* need a bucket of at least 1"):
        make(word_ngrams, lengths, bucket=0)


def test_a_single_string_is_refused_rather_than_read_as_characters():
    with pytest.raises(DataError, match="texts: got a str where a list or a column"):
        make().encode("to be")


@pytest.mark.parametrize("texts", [["to", None], pa.array(["to", None])])
def test_a_text_that_is_none_is_refused(texts):
    with pytest.raises(DataError, match="texts, row 2: there is no text"):
        make().encode(texts)


@pytest.mark.parametrize("texts", [["to", 1], [["to"]], ["\ud800"], [b"\xff"]])
def test_a_text_that_is_not_a_string_is_refused(texts):
    with pytest.raises(DataError, match=r"texts, row [12]: (got an? \w+ where|is not valid)"):
        make().encode(texts)


# --- chunks and threads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "sizes"), [(0, []), (1, [1]), (3, [3]), (4, [2, 2]), (6, [3, 3]), (7, [3, 3, 1])]
)
def test_columns_are_cut_at_the_row_limit(monkeypatch, texts, sizes):
    monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    assert [len(chunk) for chunk in as_chunks(["x"] * texts)] == sizes


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [(1500, [1500]), (3500, [1167, 1167, 1166]), (5000, [1250] * 4), (20_000, [2500] * 8)],
)
def test_large_columns_are_cut_into_as_many_chunks_for_each_core(monkeypatch, texts, sizes):
    monkeypatch.setattr(module, "CORES", 4)
    monkeypatch.setattr(module, "CHUNK_ROWS", 5000 if texts < 20_000 else 4000)
    assert [len(chunk) for chunk in as_chunks(["x"] * texts)] == sizes


def test_columns_are_cut_at_the_byte_limit(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    texts = [f"{number:0300d}" for number in range(10)]
    chunks = as_chunks(texts)
    assert len(chunks) == 3
    assert [text for chunk in chunks for text in chunk.to_pylist()] == texts


def test_a_text_longer_than_the_byte_limit_is_a_chunk_by_itself(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 10)
    assert [chunk.to_pylist() for chunk in as_chunks(["x" * 100])] == [["x" * 100]]


def test_tokens_give_the_same_ids_in_any_number_of_parts():
    encoder = make(3, (0, 0), 100)
    tokens = [["to", "be", "or"], [], ["not", "x"]]
    whole = encoder.encode_tokens(Tokens.from_lists(tokens)).to_lists()
    parts = [encoder.encode_tokens(Tokens.from_lists([text])).to_lists() for text in tokens]
    assert [bag for part in parts for bag in part] == whole


# --- plain and compiled, whole and pruned ------------------------------------------------------


ANY_TEXTS = st.lists(
    st.text(st.sampled_from("aB <>/s\n\0\u2003éÉ\u0130.,'\"_l"), max_size=30)
    | st.sampled_from(["</s>", "a </s> b", "__label__a b", "__label__a", "it's <br /> ß"])
    | st.lists(WORDS, max_size=7).map(" ".join),
    max_size=6,
)
TOKENIZERS = st.sampled_from(["whitespace", "basic_english", "fasttext", "fasttext:<", "hf"])


@pytest.mark.slow
@given(ANY_TEXTS, SETTINGS, TOKENIZERS)
@laws
def test_plain_and_compiled_code_give_the_same_ids(texts, setting, tokenizer):
    kind = load_tokenizer(tokenizer) if tokenizer != "hf" else Tokenizer("hf", split_by_letter)
    encoder = make(*setting, tokenizer=kind)
    column = pa.array(texts, pa.string())
    plain = encoder.encode_plain(texts)
    ways = [encoder.encode_tokens(kind(column))]
    for compiled in (False, True):
        with code_path(compiled=compiled):
            ways.append(encoder.encode_chunk(column))
            ways.append(Ragged.concat([encoder.encode_text(text) for text in texts] or [plain]))
    for bags in ways:
        assert bags.to_lists() == plain.to_lists()
        assert bags.indices.dtype == np.int32


def split_by_letter(texts):
    return [list(text) for text in texts]


@pytest.mark.slow
def test_a_single_text_and_any_column_run_the_same_machine_code():
    """For another kind of array, numba would compile again, for seconds, during predictions."""
    code = (
        "import json\n"
        "import pyarrow as pa, pyarrow.compute as pc\n"
        "from fasttext_app.core import jit\n"
        "from fasttext_app.text import kernels, token_kernels\n"
        "from fasttext_app.text.encoder import TextEncoder\n"
        "from fasttext_app.text.tokenizers import load_tokenizer\n"
        "from fasttext_app.text.tokens import Tokens\n"
        "from fasttext_app.text.vocabulary import Vocabulary\n"
        "jit.enable()\n"
        "kernels_used = [token_kernels.code_column, token_kernels.end_lines,\n"
        "    kernels.find_words, kernels.char_ngram_hashes, kernels.emit_rows]\n"
        "column = pa.array(['a', 'É', 'c', ''])\n"
        "words = Vocabulary.build([Tokens.from_lists([['to', 'be']])])\n"
        "for name in ('basic_english', 'fasttext'):\n"
        "    encoder = TextEncoder(\n"
        "        load_tokenizer(name), words, word_ngrams=2, minn=2, maxn=3, bucket=50)\n"
        "    encoder.encode_tokens(Tokens.from_lists([['a', 'b'], []]))\n"
        "    for text in ('to be', '', 'Ünknown É', '__label__a </s> b', 'x' * 5000):\n"
        "        encoder.encode_text(text)\n"
        "        encoder.encode([text, text])\n"
        "    for texts in (column, column.slice(1, 1), pc.utf8_lower(column), column.slice(3, 1),\n"
        "                  pa.concat_arrays([column, column]), column.take(pa.array([2, 0]))):\n"
        "        encoder.encode_chunk(texts)\n"
        "    print(json.dumps([len(kernel.signatures) for kernel in kernels_used]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    signatures = [json.loads(line) for line in done.stdout.splitlines()]
    assert signatures == [[1, 0, 1, 1, 1], [1, 1, 1, 1, 1]], done.stderr  # end_lines is fasttext's


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("tokenizer", ["fasttext", "basic_english"])
def test_lone_surrogates_are_refused_or_read_as_bytes(compiled, tokenizer):
    encoder = make(2, (2, 3), 50, tokenizer=load_tokenizer(tokenizer))
    with code_path(compiled=compiled):
        with pytest.raises(DataError, match=r"text: is not valid Unicode .*surrogates"):
            encoder.encode_text("to \udcff be")
        for escaped, meant in (("to \udcff be", "to \udcff be"), ("to b\udcc3\udc89", "to bÉ")):
            found = encoder.encode_text(escaped, "surrogateescape")
            assert found.to_lists() == encoder.encode_plain([meant]).to_lists()


@pytest.mark.slow
@given(TEXTS, SETTINGS, st.sets(st.integers(0, 200)))
@laws
def test_a_pruned_encoder_drops_ngrams_whose_bucket_has_no_row(texts, setting, wanted):
    encoder = make(*setting)
    kept = sorted(bucket for bucket in wanted if bucket < encoder.bucket)
    pruned = encoder.pruned(np.array(kept, dtype=np.int32))
    words = len(encoder.vocabulary)
    rows = {words + bucket: words + place for place, bucket in enumerate(kept)}
    rows |= {row: row for row in range(words)}
    expected = [[rows[i] for i in bag if i in rows] for bag in encoder.encode(texts).to_lists()]
    assert pruned.rows == words + len(kept)
    assert pruned.encode_plain(texts).to_lists() == expected
    column = pa.array(texts, pa.string())
    assert pruned.encode_tokens(pruned.tokenizer(column)).to_lists() == expected


def test_a_long_list_is_cut_into_the_same_texts_as_a_column(monkeypatch):
    monkeypatch.setattr(module, "LIST_ROWS", 1000)
    texts = [str(number) for number in range(3500)]
    chunks = list(read_chunks(texts))
    assert len(chunks) > 1
    assert [text for chunk in chunks for text in chunk.to_pylist()] == texts


@pytest.mark.parametrize("bad", [None, 5])
def test_a_bad_text_of_a_long_list_is_named_by_its_row(monkeypatch, bad):
    monkeypatch.setattr(module, "LIST_ROWS", 1000)
    texts = ["x"] * 3500
    texts[2800] = bad
    with pytest.raises(DataError, match="texts, row 2801:"):
        list(read_chunks(texts))
