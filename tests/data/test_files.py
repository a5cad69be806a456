"""Every file format gives the rows that a plain Python reader of it gives."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fasttext_app.config.schema import DataConfig
from fasttext_app.data import csv as delimited
from fasttext_app.data import jsonl, lines, parquet
from fasttext_app.data.spec import open_source, open_texts
from fasttext_app.errors import DataError

FIXTURES_ARE_FINE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Write = Callable[..., Path]
Rows = list[tuple[str, str]]

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r\t\1\x1f\x85"),
    max_size=20,
)
ODD_TEXT = st.one_of(TEXT, st.text(alphabet='a",\n\r\t é', max_size=12))
LABEL = st.text(alphabet="abcé, \"'0", min_size=1, max_size=5)
ROWS = st.lists(st.tuples(ODD_TEXT, LABEL), min_size=1, max_size=8)


@pytest.fixture
def file(tmp_path: Path) -> Write:
    """Write a file, text as UTF-8 without changing line ends, and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(gzip.compress(data) if name.lower().endswith(".gz") else data)
        return path

    return write


def rows_of(path: Path | str, split: str = "train", **settings: object) -> Rows:
    config = DataConfig.model_validate({"source": str(path)} | settings)
    table = open_source(config).read(split)
    assert table.schema.names == ["text", "label"]
    assert set(table.schema.types) == {pa.string()}
    return list(zip(*table.to_pydict().values(), strict=True))


def texts_of(path: Path, **settings: object) -> list[str]:
    config = DataConfig.model_validate({"source": str(path)} | settings)
    batches = list(open_texts(config))
    assert all(batch.schema.names == ["text"] for batch in batches)
    return [text for batch in batches for text in batch.column("text").to_pylist()]


def written(rows: Rows, **dialect: object) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, **dialect).writerows([("text", "label"), *rows])
    return buffer.getvalue()


# --- CSV and TSV


def test_csv_columns_can_be_in_any_order(file):
    path = file("a.csv", "id,label,text\n1,x,one\n2,y,two\n")
    assert rows_of(path) == [("one", "x"), ("two", "y")]
    assert texts_of(path) == ["one", "two"]


def test_csv_without_a_header_has_numbered_columns(file):
    path = file("a.csv", "x,1,one\ny,2,two\n")
    wanted = {"header": False, "text_columns": ["3"], "label_column": "1"}
    assert rows_of(path, **wanted) == [("one", "x"), ("two", "y")]
    with pytest.raises(DataError, match=r"no column 'text'; the columns are '1', '2', '3'"):
        rows_of(path, header=False)


def test_quoted_csv_fields_can_contain_quotes_and_line_breaks(file):
    path = file("a.csv", 'text,label\n"a ""quoted"", word",x\n"two\nlines",y\n"","z"\n')
    assert rows_of(path) == [('a "quoted", word', "x"), ("two\nlines", "y"), ("", "z")]


def test_a_quote_inside_an_unquoted_field_is_an_ordinary_character(file):
    path = file("a.csv", 'text,label\na 5" disk,x\n6\'2" and 5\'1",y\n')
    assert rows_of(path) == [('a 5" disk', "x"), ("6'2\" and 5'1\"", "y")]


def test_csv_without_quoting_keeps_quotes(file):
    path = file("a.csv", 'text,label\n"half,x\nb"c,"y"\n')
    assert rows_of(path, quote=False) == [('"half', "x"), ('b"c', '"y"')]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_lines_can_end_in_any_way(file, end):
    assert rows_of(file("a.csv", f"text,label{end}one,x{end}two,y")) == [("one", "x"), ("two", "y")]


def test_csv_skips_empty_lines(file):
    path = file("a.csv", "\n\ntext,label\n\none,x\r\n\r\ntwo,y\n\n")
    assert rows_of(path) == [("one", "x"), ("two", "y")]


def test_an_empty_line_of_a_single_column_is_an_empty_text(file):
    """So that predictions stay aligned with the rows of the file."""
    assert texts_of(file("a.csv", "text\none\n\nthree\n")) == ["one", "", "three"]


@pytest.mark.parametrize("start", ["\n", "\r\n", "\n\n\n"])
def test_empty_lines_before_the_header_are_skipped(file, start):
    assert texts_of(file("a.csv", f"{start}text\none\n\nthree\n")) == ["one", "", "three"]


def test_csv_can_have_a_byte_order_mark(file):
    assert rows_of(file("a.csv", "\ufefftext,label\none,x\n")) == [("one", "x")]


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ"])
def test_csv_can_be_gzipped(file, name):
    assert rows_of(file(name, "text,label\none,x\n")) == [("one", "x")]


def test_several_text_columns_are_joined_by_a_space(file):
    path = file("a.csv", "label,title,body\nx,one,two\ny,,only body\nz,only title,\nx,,\n")
    wanted = {"text_columns": ["title", "body"]}
    texts = ["one two", "only body", "only title", ""]
    assert [text for text, _ in rows_of(path, **wanted)] == texts
    assert texts_of(path, **wanted) == texts
    assert rows_of(path, text_columns=["body", "title"])[0] == ("two one", "x")


def test_labels_stay_as_they_are_written(file):
    path = file("a.csv", "text,label\na,1\nb,01\nc,1.0\nd,true\ne,NA\nf, x \n")
    assert [label for _, label in rows_of(path)] == ["1", "01", "1.0", "true", "NA", " x "]


def test_texts_stay_as_they_are_written(file):
    texts = ["2020-01-01", "null", "NaN", "12", "1e5", "  spaces  ", "#"]
    path = file("a.csv", "text,label\n" + "".join(f"{text},x\n" for text in texts))
    assert [text for text, _ in rows_of(path)] == texts


def test_the_text_column_can_be_the_label_column(file):
    path = file("a.csv", "text,label\na,x\n")
    assert rows_of(path, text_columns=["label"]) == [("x", "x")]


def test_tsv_is_delimited_by_tabs(file):
    path = file("a.tsv", 'text\tlabel\n"a\tb, ""c"""\tx\nd,e\ty\n')
    assert rows_of(path) == [('a\tb, "c"', "x"), ("d,e", "y")]
    assert rows_of(file("a.tsv.gz", "text\tlabel\none\tx\n")) == [("one", "x")]


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(rows=ROWS, delimiter=st.sampled_from(",\t"), end=st.sampled_from(["\n", "\r\n"]))
def test_csv_and_tsv_read_what_the_csv_module_wrote(file, rows, delimiter, end):
    name = "a.csv" if delimiter == "," else "a.tsv"
    path = file(name, written(rows, delimiter=delimiter, lineterminator=end))
    assert rows_of(path) == rows
    assert texts_of(path) == [text for text, _ in rows]


@pytest.mark.slow
@settings(FIXTURES_ARE_FINE, max_examples=120)
@given(
    body=st.text(alphabet='a"",,\n\r é', max_size=16) | st.text(alphabet='"",\n', max_size=10),
    quote=st.booleans(),
)
def test_csv_is_read_or_refused_like_python_s_strict_reader(file, body, quote):
    path = file("a.csv", "text,label\n" + body)
    quoting = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(body, newline=""), quoting=quoting, strict=True)
    try:
        expected = [row for row in reader if row]
        assert all(len(row) == 2 for row in expected)
    except (csv.Error, AssertionError):
        with pytest.raises(DataError, match=rf"^{path}:\d+: "):
            texts_of(path, quote=quote)
        return
    got = texts_of(path, quote=quote)
    assert got == [row[0] for row in expected]


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(rows=st.lists(st.tuples(ODD_TEXT, LABEL), min_size=8, max_size=30))
def test_csv_rows_do_not_depend_on_the_size_of_blocks(file, rows):
    assert max(len("".join(row).encode()) for row in rows) < 110
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", 256)
        assert rows_of(file("a.csv", written(rows))) == rows


@pytest.mark.slow
def test_a_line_break_inside_quotes_survives_the_end_of_a_block(file, monkeypatch):
    r"""Arrow drops the ``\n`` of ``\r\n`` if a block ends between the two."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    for before in range(64):
        rows = [("a" * before, "x"), ("b\r\nc", "y"), ("d" * 30, "z")]
        assert rows_of(file("a.csv", written(rows))) == rows


@pytest.mark.parametrize("block", [1 << 26, 64])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("only", "the row has 1 fields where 2 are expected"),
        ("a,b,c", "the row has 3 fields where 2 are expected"),
        ('"a "b" c",x', "a quoted field does not end as it should"),
        ('"a,x', "a quoted field does not end as it should"),
        ("text,", "column 'label' has no label"),
    ],
)
def test_a_bad_row_is_named_with_its_line(file, monkeypatch, block, bad, message):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block)
    before = "text,label\n" + "some words,x\n" * 20 + '\n"two\nlines",x\n'
    path = file("a.csv", before + bad + "\n" + "more words,y\n" * 20)
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value).startswith(f"{path}:25: {message}")


def test_a_bad_row_after_empty_lines_is_named_with_its_line(file):
    path = file("a.csv", "\n\na,x\n\nb,\n")
    with pytest.raises(DataError, match=r"a\.csv:5: column '2' has no label"):
        rows_of(path, header=False, text_columns=["1"], label_column="2")


def test_a_missing_label_after_empty_lines_is_named_with_its_line(file):
    path = file("a.csv", "\n\nlabel\nx\n\ny\n")
    with pytest.raises(DataError, match=r"a\.csv:5: column 'label' has no label"):
        rows_of(path, text_columns=["label"])


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(rows=st.lists(st.tuples(ODD_TEXT, LABEL), min_size=8, max_size=30))
def test_csv_rows_can_be_longer_than_a_block(file, rows):
    """The file is then read again in larger blocks; no row is lost or repeated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", 64)
        rows.insert(len(rows) // 2, ("long " * 40, "x"))
        assert rows_of(file("a.csv", written(rows))) == rows


def test_a_row_longer_than_the_largest_block_is_refused(file, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(lines, "MAX_ROW_BYTES", 1 << 20)
    path = file("a.csv", "text,label\na,x\n" + "word " * 700_000 + ",x\n")
    with pytest.raises(DataError, match=r"a\.csv:3: a row is longer than 1 MB; split its text$"):
        rows_of(path)


def test_a_missing_column_is_refused_with_a_list_of_columns(file):
    path = file("a.csv", "texts,class\na,x\n")
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value) == (
        f"{path}: there is no column 'text'; did you mean 'texts'? the columns are "
        "'texts', 'class' (choose with --text-column and --label-column; if the file has "
        "no header, with --set data.header=false)"
    )


def test_a_duplicate_column_is_refused(file):
    path = file("a.csv", "text,label,text\na,x,b\n")
    with pytest.raises(DataError, match="there are several columns 'text'; rename all but one"):
        rows_of(path)
    twice_elsewhere = file("b.csv", "text,label,note,note\na,x,1,2\n")
    assert rows_of(twice_elsewhere) == [("a", "x")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.csv.gz"])
@pytest.mark.parametrize("content", ["", "\ufeff"])
def test_an_empty_file_is_refused(file, name, content):
    with pytest.raises(DataError, match="the file is empty"):
        rows_of(file(name, content))


def test_a_header_without_rows_is_refused_unless_only_texts_are_read(file):
    with pytest.raises(DataError, match=r"a\.csv: there are no rows"):
        rows_of(file("a.csv", "text,label\n"))
    assert texts_of(file("b.csv", "text,label\n")) == []


# --- JSON lines


def json_lines(rows: list[dict[str, object]], **options: object) -> str:
    return "".join(json.dumps(row, **options) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz"])
def test_json_lines_have_one_example_each(file, name):
    rows = [{"id": 1, "text": "one", "label": "x"}, {"label": "y", "text": "two", "more": [1]}]
    assert rows_of(file(name, json_lines(rows))) == [("one", "x"), ("two", "y")]
    assert texts_of(file(name, json_lines(rows))) == ["one", "two"]


@pytest.mark.parametrize(
    ("labels", "read"),
    [(["x", "y"], ["x", "y"]), ([10, -9], ["10", "-9"]), ([True, False], ["true", "false"])],
)
def test_json_labels_can_be_strings_numbers_or_booleans(file, labels, read):
    path = file("a.jsonl", json_lines([{"text": "t", "label": label} for label in labels]))
    assert [label for _, label in rows_of(path)] == read


def test_a_json_text_that_looks_like_a_date_stays_as_it_is(file):
    texts = ["2020-01-01", "2020-01-01T00:00:00Z", "12", "true"]
    path = file("a.jsonl", json_lines([{"text": text, "label": text} for text in texts]))
    assert rows_of(path) == [(text, text) for text in texts]


def test_blank_json_lines_are_skipped(file):
    path = file("a.jsonl", '\n \t\n{"text":"a","label":"x"}\r\n\r\n{"text":"b","label":"y"}')
    assert rows_of(path) == [("a", "x"), ("b", "y")]


def test_json_text_columns_are_joined(file):
    path = file("a.jsonl", json_lines([{"title": "a", "body": "b", "label": "x"}]))
    assert rows_of(path, text_columns=["title", "body"]) == [("a b", "x")]


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(rows=ROWS, ascii_only=st.booleans())
def test_json_lines_read_what_json_dumps_wrote(file, rows, ascii_only):
    content = json_lines([{"text": t, "label": n} for t, n in rows], ensure_ascii=ascii_only)
    path = file("a.jsonl", content)
    assert rows_of(path) == rows
    assert texts_of(path) == [text for text, _ in rows]


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(rows=st.lists(st.tuples(ODD_TEXT, LABEL), min_size=8, max_size=30))
def test_json_rows_do_not_depend_on_the_size_of_blocks(file, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "BLOCK_BYTES", 512)
        patch.setattr(lines, "BLOCK_BYTES", 64)
        content = json_lines([{"text": text, "label": label} for text, label in rows])
        assert rows_of(file("a.jsonl", content)) == rows


GOOD_JSON = '{"text":"a","label":"x"}\n'


@pytest.mark.slow
@pytest.mark.parametrize("block", [1 << 26, 128])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"text":"b"}', "column 'label' has no label"),
        ('{"text":"b","label":""}', "column 'label' has no label"),
        ('{"text":"b","label":null}', "column 'label' has no label"),
        ('{"label":"x"}', "column 'text' has no value"),
        ('{"text":null,"label":"x"}', "column 'text' has no value"),
        ('{"text":5,"label":"x"}', "field 'text' is int where str is expected"),
        ('{"text":["b"],"label":"x"}', "field 'text' is list where str is expected"),
        ('{"text":"b","label":1}', "field 'label' is int where str is expected"),
        ('{"text":"b","label":["x","y"]}', "field 'label' is list where str is expected"),
        ('{"text":"b","label":1.5}', "field 'label' is float where str is expected"),
        ('{"text":"b","label":"x"', "the line is not one JSON object: "),
        ("text b", "the line is not one JSON object: Expecting value at column 1"),
        ("[1]", "expected one JSON object a line"),
        ("5", "expected one JSON object a line"),
        ('{"text":"b","text":"c","label":"x"}', "JSON parse error: Column(/text) was specified"),
        ('{"text":"\\ud83d","label":"x"}', "field 'text' has half of a surrogate pair; "),
        ('{"text":5,"label":' + "9" * 5000 + "}", "the line is not one JSON object: Exceeds"),
        ('{"text":5,"z":' + "[" * 100_000, "the line is not one JSON object: maximum recursion"),
    ],
)
def test_a_bad_json_line_is_named_with_its_line(file, monkeypatch, block, bad, message):
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", block)
    path = file("a.jsonl", GOOD_JSON * 20 + "\n \n" + bad + "\n" + GOOD_JSON * 20)
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value).startswith(f"{path}:23: {message}")


@pytest.mark.slow
def test_a_json_line_longer_than_a_block_is_read_and_one_beyond_the_limit_refused(
    file, monkeypatch
):
    long = json.dumps({"text": "word " * 700_000, "label": "x"})
    path = file("a.jsonl", GOOD_JSON * 3 + long + "\n" + GOOD_JSON)
    assert [len(text) for text, _ in rows_of(path)] == [1, 1, 1, 3_500_000, 1]
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 1 << 18)
    assert len(rows_of(path)) == 5
    monkeypatch.setattr(lines, "MAX_ROW_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"a\.jsonl:4: a row is longer than 1 MB; split its text$"):
        rows_of(path)


def test_a_json_label_of_another_type_is_refused(file):
    path = file("a.jsonl", '{"text":"a","label":1}\n\n{"text":"b","label":"x"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:3: field 'label' is str where int is expected"):
        rows_of(path)
    huge = file("b.jsonl", '{"text":"a","label":1}\n{"text":"a","label":' + "9" * 30 + "}\n")
    with pytest.raises(DataError, match=r"b\.jsonl:2: .*999"):
        rows_of(huge)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["text"]', ":1: expected objects, in an array or one after the other"),
        ("5", ":1: expected one JSON object a line"),
        ("\n\n", ": the file is empty"),
        ('{"texts":"a","label":"x"}', ": there is no column 'text'; did you mean 'texts'?"),
    ],
)
def test_json_that_is_not_an_object_a_line_is_refused(file, content, message):
    with pytest.raises(DataError) as error:
        rows_of(file("a.json", content))
    assert message in str(error.value)


# --- Parquet


def parquet_file(path: Path, text: pa.Array, label: pa.Array, **options: object) -> Path:
    metadata = options.pop("metadata", None)
    table = pa.table({"text": text, "label": label}).replace_schema_metadata(metadata)
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_parquet_strings_can_have_any_string_type(tmp_path, kind, as_dictionary):
    column = pa.array(["a", "b", "a"], pa.string())
    column = column.dictionary_encode() if as_dictionary else column.cast(kind)
    path = parquet_file(tmp_path / "a.parquet", column, column)
    assert rows_of(path) == [("a", "a"), ("b", "b"), ("a", "a")]
    assert texts_of(path) == ["a", "b", "a"]


def test_a_row_group_of_parquet_is_given_back_after_it_is_read(tmp_path):
    rows, groups = parquet.BATCH_ROWS, 8
    column = pa.array([f"{row:020}" for row in range(rows)] * groups)
    path = parquet_file(
        *(tmp_path / "a.parquet", column, pa.array(["x"] * len(column))),
        **{"row_group_size": rows, "use_dictionary": False, "compression": "none"},
    )
    del column
    config = DataConfig.model_validate({"source": str(path)})
    before = pa.total_allocated_bytes()
    held = [pa.total_allocated_bytes() - before for _ in open_texts(config)]
    assert len(held) == groups
    assert max(held) < path.stat().st_size / 2


@pytest.mark.parametrize("group_rows", [1, 7, 100])
def test_rows_of_parquet_stay_in_order_whatever_the_row_groups(tmp_path, monkeypatch, group_rows):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 10)
    texts = [str(row) for row in range(50)]
    path = tmp_path / "a.parquet"
    parquet_file(path, pa.array(texts), pa.array(texts), row_group_size=group_rows)
    assert texts_of(path) == texts
    assert rows_of(path) == [(text, text) for text in texts]


@pytest.mark.parametrize("group_rows", [1, 7, 100])
@pytest.mark.parametrize("count", [1, 3, 80])
def test_pieces_of_parquet_give_the_batches_of_the_file(tmp_path, monkeypatch, group_rows, count):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 10)
    texts = [str(row) for row in range(50)]
    path = tmp_path / "a.parquet"
    parquet_file(path, pa.array(texts), pa.array(texts), row_group_size=group_rows)
    (part,) = open_source(DataConfig(source=str(path))).parts("train")
    pieces = part.pieces([part.survey(0, count)])
    assert len(pieces) <= count
    assert (len(pieces) > 1) == (count > 1 and group_rows < 50)
    assert sum(piece.size for piece in pieces) <= part.size
    assert [batch for piece in pieces for batch in piece.scan(True)] == [*part.scan(True)]


def test_parquet_labels_can_be_integers_or_booleans(tmp_path):
    path, text = tmp_path / "a.parquet", pa.array(["a", "b"])
    for column, read in (
        (pa.array([2, 10], pa.int8()), ["2", "10"]),
        (pa.array([2**63, 0], pa.uint64()), [str(2**63), "0"]),
        (pa.array([True, False]), ["true", "false"]),
    ):
        assert [n for _, n in rows_of(parquet_file(path, text, column))] == read


def huggingface(feature: object) -> dict[str, str]:
    return {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}


def test_parquet_class_names_come_from_the_schema(tmp_path):
    names = {"names": ["bad", "good"], "_type": "ClassLabel"}
    text, label = pa.array(["a", "b", "c"]), pa.array([1, 0, 1])
    path = parquet_file(tmp_path / "a.parquet", text, label, metadata=huggingface(names))
    assert rows_of(path) == [("a", "good"), ("b", "bad"), ("c", "good")]
    source = open_source(DataConfig(source=str(path)))
    assert source.label_names == ["bad", "good"]


@pytest.mark.parametrize("label", [-1, 2])
def test_a_parquet_class_without_a_name_is_refused(tmp_path, label):
    path = parquet_file(
        tmp_path / "a.parquet",
        pa.array(["a", "b"]),
        pa.array([0, label]),
        metadata=huggingface({"names": ["bad", "good"]}),
    )
    message = rf"a\.parquet, row 2: label {label} has no name; the names go from 0 to 1"
    with pytest.raises(DataError, match=message):
        rows_of(path)


@pytest.mark.parametrize(
    "metadata",
    [
        huggingface({"dtype": "int64", "_type": "Value"}),
        huggingface([{"dtype": "int64", "_type": "Value"}]),
        huggingface({"names": None}),
        {"huggingface": "not JSON"},
        {"huggingface": "[]"},
        {"huggingface": '{"info": null}'},
        {"huggingface": '{"info": ' + "[" * 100_000},
        {"pandas": "{}"},
    ],
)
def test_parquet_metadata_without_class_names_is_ignored(tmp_path, metadata):
    path = parquet_file(tmp_path / "a.parquet", pa.array(["a"]), pa.array([3]), metadata=metadata)
    assert rows_of(path) == [("a", "3")]


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        (pa.array(["a"]), pa.array([["x"]]), "row 1: column 'label' holds lists; a row must have"),
        (pa.array(["a"]), pa.array([1.5]), "row 1: column 'label' holds the number 1.5; "),
        (pa.array([1]), pa.array(["x"]), "row 1: column 'text' holds int64, not text"),
        (pa.array([b"a"]), pa.array(["x"]), "row 1: column 'text' holds binary, not text"),
        (pa.array(["a", None]), pa.array(["x", "y"]), "row 2: column 'text' has no value"),
        (pa.array(["a", "b"]), pa.array(["x", None]), "row 2: column 'label' has no label"),
        (pa.array(["a", "b"]), pa.array(["x", ""]), "row 2: column 'label' has no label"),
    ],
)
def test_parquet_columns_of_other_types_are_refused(tmp_path, text, label, message):
    path = parquet_file(tmp_path / "a.parquet", text, label)
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value).startswith(f"{path}, {message}")


def test_with_errors_replaced_a_missing_text_is_empty(tmp_path, file):
    path = parquet_file(tmp_path / "a.parquet", pa.array(["a", None]), pa.array(["x", "y"]))
    assert rows_of(path, errors="replace") == [("a", "x"), ("", "y")]
    assert texts_of(path, errors="replace") == ["a", ""]
    null = parquet_file(tmp_path / "b.parquet", pa.nulls(1), pa.array(["x"]))
    assert rows_of(null, errors="replace") == [("", "x")]
    json_lines = file("a.jsonl", '{"text":"a","label":"x"}\n{"label":"y"}\n')
    assert rows_of(json_lines, errors="replace") == [("a", "x"), ("", "y")]


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(rows=ROWS, group=st.integers(1, 4), batch=st.integers(1, 5))
def test_parquet_is_read_row_group_by_row_group(tmp_path, rows, group, batch):
    texts, labels = zip(*rows, strict=True)
    path = tmp_path / "a.parquet"
    parquet_file(path, pa.array(texts), pa.array(labels), row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "BATCH_ROWS", batch)
        assert rows_of(path) == rows
        assert texts_of(path) == list(texts)


def test_a_bad_row_of_a_later_row_group_is_named_with_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 2)
    labels = pa.array(["x"] * 6 + [None])
    path = parquet_file(tmp_path / "a.parquet", pa.array(["a"] * 7), labels, row_group_size=3)
    with pytest.raises(DataError, match="row 7: column 'label' has no label"):
        rows_of(path)


def test_a_file_that_is_not_parquet_is_refused(tmp_path, file):
    for content in (b"", b"PAR1", b"text,label\na,x\n" * 5):
        with pytest.raises(DataError, match="not a complete Parquet file"):
            rows_of(file("a.parquet", content))
    whole = parquet_file(tmp_path / "b.parquet", pa.array(["a"] * 99), pa.array(["x"] * 99))
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a complete Parquet file"):
        rows_of(whole)


def test_a_damaged_parquet_page_is_refused(tmp_path):
    texts = [f"text number {number}" for number in range(999)]
    path = parquet_file(tmp_path / "a.parquet", pa.array(texts), pa.array(["x"] * 999))
    data = bytearray(path.read_bytes())
    data[4:200] = bytes(196)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: not a complete Parquet file"):
        rows_of(path)


def test_a_parquet_file_without_rows_or_columns_is_refused(tmp_path):
    path = parquet_file(tmp_path / "a.parquet", pa.array([], "string"), pa.array([], "string"))
    with pytest.raises(DataError, match=r"a\.parquet: there are no rows"):
        rows_of(path)
    with pytest.raises(DataError, match="no column 'body'; the columns are 'text', 'label'"):
        rows_of(path, text_columns=["body"])


# --- fastText text, and plain lines


def test_a_fasttext_label_can_be_anywhere_on_its_line(file):
    path = file("a.txt", "__label__x one two\none __label__y two\none two __label__z\n__label__x")
    assert rows_of(path) == [("one two", "x"), ("one  two", "y"), ("one two", "z"), ("", "x")]


@pytest.mark.parametrize("name", ["a.txt", "train.ft", "noname", "a.txt.gz"])
def test_a_file_with_any_other_name_is_fasttext_text(file, name):
    path = file(name, "__label__x one\r\n__label__y two\r\n")
    assert rows_of(path) == [("one", "x"), ("two", "y")]


def test_blank_fasttext_lines_are_skipped_when_labels_are_read(file):
    path = file("a.txt", "\n__label__x one\n \t \n\n__label__y two\n\n")
    assert rows_of(path) == [("one", "x"), ("two", "y")]


def test_fasttext_labels_can_have_another_prefix(file):
    path = file("a.txt", "#x one __label__two\n#y.* three\n")
    assert rows_of(path, label_prefix="#") == [("one __label__two", "x"), ("three", "y.*")]
    special = file("b.txt", "(.*x one\n")
    assert rows_of(special, label_prefix="(.*") == [("one", "x")]


def test_fasttext_keeps_the_spaces_inside_a_text(file):
    path = file("a.txt", "__label__x  one   two\tthree \n")
    assert rows_of(path) == [("one   two\tthree", "x")]


@pytest.mark.parametrize("block", [1 << 22, 64])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("__label__x __label__y text", "the line has 2 labels (__label__x, __label__y); a row"),
        ("__label__x a __label__y b __label__z __label__w", "the line has 4 labels (__label__x, "),
        ("no label here", "the line has no word that begins with __label__"),
        ("__label__x __label__ text", "the line has 2 labels (__label__x, __label__); a row"),
        ("text__label__x", "the line has no word that begins with __label__"),
    ],
)
def test_a_bad_fasttext_line_is_named_with_its_line(file, monkeypatch, block, bad, message):
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    good = "__label__x some words\n"
    path = file("a.txt", good * 20 + "\n" + bad + "\n" + good * 20)
    with pytest.raises(DataError) as error:
        rows_of(path)
    assert str(error.value).startswith(f"{path}:22: {message}")


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.text("aé_😀\u2028", min_size=1, max_size=6), max_size=5).map(" ".join),
            st.text("abé_,", min_size=1, max_size=6),
            st.booleans(),
        ),
        min_size=1,
        max_size=20,
    ),
    block=st.sampled_from([16, 64, 1 << 22]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_fasttext_reads_what_was_written(file, rows, block, end):
    written_lines = [
        f"__label__{label} {text}" if in_front else f"{text} __label__{label}"
        for text, label, in_front in rows
    ]
    path = file("a.txt", end.join(written_lines) + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block)
        assert rows_of(path) == [(text.strip(), label) for text, label, _ in rows]


def test_without_labels_blank_lines_are_texts(file):
    assert texts_of(file("a.txt", "one\n\n  two \r\n\nlast")) == ["one", "", "  two ", "", "last"]
    assert texts_of(file("a.txt", "\n")) == [""]


def test_the_prefix_alone_is_a_label(file):
    content = "__label__ a b\nc __label__ d\n__label____label__ e\n__label__x f\n__label__\n"
    texts, labels = zip(*rows_of(file("a.txt", content)), strict=True)
    assert labels == ("__label__", "__label__", "__label____label__", "x", "__label__")
    assert [text.split() for text in texts] == [["a", "b"], ["c", "d"], ["e"], ["f"], []]
    assert [text.split() for text in texts_of(file("a.txt", content))] == list(
        map(str.split, texts)
    )


def test_without_labels_only_lines_with_a_label_are_changed(file):
    """A line with a label does not change the lines around it."""
    path = file("a.txt", " one \n__label__x two\nthree __label__y four\n __label\n  five")
    expected = [" one ", "two", "three  four", " __label", "  five"]
    assert [" ".join(text.split(" ")) for text in texts_of(path)][:2] == expected[:2]
    texts = texts_of(path)
    assert texts[2].split() == ["three", "four"]
    assert texts[3:] == expected[3:]


@pytest.mark.slow
@FIXTURES_ARE_FINE
@given(
    content=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    block=st.sampled_from([16, 1 << 22]),
)
def test_only_a_line_feed_ends_a_line(file, content, block):
    assume(content[0] != "\ufeff" and "\r" not in content and "__label__" not in content)
    expected = content.split("\n")
    if content.endswith("\n"):
        expected.pop()
    path = file("a.txt", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", block)
        assert texts_of(path) == expected


def test_texts_can_come_from_a_named_pipe(tmp_path):
    """As from ``--input <(zcat texts.gz)``."""
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("one\ntwo\n",))
    writer.start()
    assert texts_of(pipe) == ["one", "two"]
    writer.join()


def test_texts_of_a_missing_file_or_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: no such file$"):
        texts_of(tmp_path / "none.txt")
    with pytest.raises(DataError, match="there are no data files in the folder; name a file"):
        texts_of(tmp_path)


# --- patterns, folders, single files


def test_a_single_file_serves_as_any_split(file):
    path = file("a.csv", "text,label\none,x\n")
    source = open_source(DataConfig(source=str(path)))
    assert source.single
    assert not source.has("train")
    for split in ("train", "test", "anything"):
        assert len(source.read(split)) == 1


def test_a_pattern_has_a_split_for_each_matching_file(file, tmp_path):
    for split in ("train", "dev", "test-small"):
        file(f"set-{split}.csv", f"text,label\n{split},x\n")
    file("set-train.csv.bak", "")
    pattern = f"{tmp_path}/set-{{split}}.csv"
    source = open_source(DataConfig(source=pattern))
    assert set(source.splits) == {"train", "validation", "test-small"}
    assert source.has("validation")
    assert rows_of(pattern, "validation") == [("dev", "x")]
    assert rows_of(pattern, "test-small") == [("test-small", "x")]
    with pytest.raises(DataError, match="no split 'tran'; did you mean 'train'"):
        rows_of(pattern, "tran")


def test_a_pattern_can_be_relative(file, tmp_path, monkeypatch):
    file("train.csv", "text,label\none,x\n")
    monkeypatch.chdir(tmp_path)
    assert rows_of("{split}.csv") == [("one", "x")]
    assert rows_of("./{split}.csv") == [("one", "x")]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{split}-{split}.csv", "must contain '{split}' exactly once"),
        ("none/{split}.csv", "there is no folder "),
        ("{split}.tsv", "no file matches the pattern"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(file, tmp_path, pattern, message):
    file("train.csv", "")
    with pytest.raises(DataError) as error:
        open_source(DataConfig(source=f"{tmp_path}/{pattern}"))
    assert message in str(error.value)


def test_a_pattern_that_matches_two_files_of_one_split_is_refused(file, tmp_path):
    file("train.csv", "text,label\none,x\n")
    file("training.csv", "text,label\ntwo,x\n")
    with pytest.raises(DataError, match=r"both train\.csv and training\.csv are the split 'train'"):
        open_source(DataConfig(source=f"{tmp_path}/{{split}}.csv"))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("Training.TSV", "train"),
        ("validation.jsonl", "validation"),
        ("valid.txt.gz", "validation"),
        ("val.parquet", "validation"),
        ("dev.csv", "validation"),
        ("test.ndjson", "test"),
        ("testing.json", "test"),
    ],
)
def test_a_folder_has_a_split_for_each_file_named_for_one(file, tmp_path, name, split):
    file(name, "")
    file("other.csv", "")
    file("train.md", "")
    (tmp_path / "test").mkdir()
    assert open_source(DataConfig(source=str(tmp_path))).splits == (split,)


def write_each(folder: Path, *names: str) -> None:
    """Write files of one row each; its text is the name of the file."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if ".csv" in name:
            path.write_text(f"text,label\n{name},x\n")
        elif ".jsonl" in name:
            path.write_text(json.dumps({"text": name, "label": "x"}))
        else:
            path.write_text(f"__label__x {name}\n")


def names_in(spec: Path | str, split: str = "train", **settings: object) -> list[str]:
    return [text for text, _ in rows_of(spec, split, **settings)]


def test_a_folder_of_files_is_read_by_name(tmp_path):
    names = ["b.csv", "a.jsonl", "sub/c.csv", "part-10.csv", "part-2.csv"]
    write_each(tmp_path, *names, "_temporary/d.csv", ".e.csv", "notes.txt", "README")
    assert open_source(DataConfig(source=str(tmp_path))).single
    assert names_in(tmp_path) == ["a.jsonl", "b.csv", "part-10.csv", "part-2.csv", "sub/c.csv"]
    config = DataConfig(source=str(tmp_path))
    assert [row["text"] for batch in open_texts(config) for row in batch.to_pylist()] == names_in(
        tmp_path
    )


@pytest.mark.parametrize("names", [["b.txt", "a.txt.gz"], ["part-00000", "part-00001"]])
def test_a_folder_may_hold_fasttext_text(tmp_path, names):
    write_each(tmp_path, *names)
    for path in tmp_path.glob("*.gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert names_in(tmp_path) == sorted(names)


def test_files_without_a_byte_are_left_out_of_several(tmp_path):
    write_each(tmp_path, "a.csv", "c.csv")
    (tmp_path / "b.csv").touch()
    assert names_in(tmp_path) == ["a.csv", "c.csv"]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (
            ["train-00001-of-00002.csv", "train-00000-of-00002.csv", "eval-00000-of-00001.csv"],
            {
                "train": ["train-00000-of-00002.csv", "train-00001-of-00002.csv"],
                "test": ["eval-00000-of-00001.csv"],
            },
        ),
        (
            ["my_train_1.csv", "my-dev.jsonl", "other.csv"],
            {"train": ["my_train_1.csv"], "validation": ["my-dev.jsonl"]},
        ),
        (
            ["train/2.csv", "train/1.csv", "test/1.csv"],
            {"train": ["train/1.csv", "train/2.csv"], "test": ["test/1.csv"]},
        ),
    ],
)
def test_files_are_sorted_into_splits_by_their_names(tmp_path, names, splits):
    write_each(tmp_path, *names)
    assert set(open_source(DataConfig(source=str(tmp_path))).splits) == set(splits)
    assert {split: names_in(tmp_path, split) for split in splits} == splits


def test_a_glob_reads_the_files_that_match_by_name(tmp_path):
    write_each(tmp_path, "b.csv", "a.csv", "a.jsonl", "sub/c.csv")
    assert names_in(f"{tmp_path}/*.csv") == ["a.csv", "b.csv"]
    assert names_in(f"{tmp_path}/**/*.csv") == ["a.csv", "b.csv", "sub/c.csv"]
    assert names_in(f"{tmp_path}/[b-z].csv") == ["b.csv"]
    with pytest.raises(DataError, match=r"\*\.tsv: no file matches$"):
        names_in(f"{tmp_path}/*.tsv")
    write_each(tmp_path, "[1].csv")
    assert names_in(f"{tmp_path}/[1].csv") == ["[1].csv"]


def test_a_pattern_with_a_glob_has_several_files_for_a_split(tmp_path):
    write_each(tmp_path, "train-1.csv", "train-0.csv", "dev-0.csv", "x/train/0.csv", "x/test/0.csv")
    pattern = f"{tmp_path}/{{split}}-*.csv"
    assert names_in(pattern) == ["train-0.csv", "train-1.csv"]
    assert names_in(pattern, "validation") == ["dev-0.csv"]
    assert names_in(f"{tmp_path}/**/{{split}}/*.csv", "test") == ["x/test/0.csv"]


def test_several_sources_are_read_in_their_order(tmp_path):
    write_each(tmp_path, "b.csv", "a.jsonl", "more/1.csv", "more/2.csv")
    sources = [f"{tmp_path}/{name}" for name in ("b.csv", "a.jsonl", "more", "b.csv")]
    source = open_source(DataConfig(source=tuple(sources)))
    assert source.single
    texts = ["b.csv", "a.jsonl", "more/1.csv", "more/2.csv", "b.csv"]
    assert source.read("train")["text"].to_pylist() == texts
    batches = open_texts(DataConfig(source=tuple(sources)))
    assert [row["text"] for batch in batches for row in batch.to_pylist()] == texts


def test_the_splits_of_several_sources_are_joined(tmp_path):
    write_each(tmp_path, "a/train.csv", "a/test.csv", "b/train.csv", "c.csv")
    sources = (f"{tmp_path}/a", f"{tmp_path}/b")
    source = open_source(DataConfig(source=sources))
    assert source.splits == ("test", "train")
    assert source.read("train")["text"].to_pylist() == ["a/train.csv", "b/train.csv"]
    assert source.read("test")["text"].to_pylist() == ["a/test.csv"]
    with pytest.raises(DataError, match=r"/a has splits \(test, train\) and .*/c\.csv has none; "):
        open_source(DataConfig(source=(*sources, f"{tmp_path}/c.csv")))


def test_a_folder_reads_each_split_in_its_own_format(file, tmp_path):
    file("train.csv", "text,label\none,x\n")
    file("dev.txt", "__label__y two\n")
    file("test.jsonl", GOOD_JSON)
    assert rows_of(tmp_path, "train") == [("one", "x")]
    assert rows_of(tmp_path, "validation") == [("two", "y")]
    assert rows_of(tmp_path, "test") == [("a", "x")]
    with pytest.raises(DataError, match="no split 'other'; it has: validation, test, train"):
        rows_of(tmp_path, "other")


def test_a_folder_with_two_files_of_one_split_is_refused(file, tmp_path):
    file("train.csv", "")
    file("train.jsonl", "")
    with pytest.raises(DataError) as error:
        open_source(DataConfig(source=str(tmp_path)))
    assert str(error.value) == (
        f"{tmp_path}: both train.csv and train.jsonl are the split 'train'; name one file, "
        "or a pattern such as '{split}.csv' that matches only one of them"
    )


def test_a_split_without_rows_is_refused(file, tmp_path):
    file("train.csv", "text,label\n")
    with pytest.raises(DataError, match="split 'train': there are no rows"):
        rows_of(tmp_path)


@pytest.mark.parametrize("spec", [None, ""])
def test_a_missing_spec_is_refused_with_the_possible_ones(spec):
    with pytest.raises(DataError, match="no data: pass --data SPEC"):
        open_source(DataConfig(source=spec))


def test_a_spec_that_means_nothing_is_refused():
    with pytest.raises(DataError, match=r"^nothing\.csv: no such file, folder or dataset$"):
        open_source(DataConfig(source="nothing.csv"))
    with pytest.raises(DataError, match="did you mean 'ag_news'"):
        open_source(DataConfig(source="agnews"))
