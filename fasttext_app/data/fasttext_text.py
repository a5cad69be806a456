"""fastText's text files: one example a line, with its labels among the words.

Checked as text like any other file. Lines of any bytes, as the original reads them, are in
``fasttext/lines.py``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pyarrow as pa

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import compute as pc
from fasttext_app.core.arrow import string_array, string_buffers
from fasttext_app.data.bad_rows import FileErrors, Locate, convert_rows
from fasttext_app.data.byte_stream import InputFile
from fasttext_app.data.checked_stream import CheckedStream
from fasttext_app.data.columns import SEVERAL_LABELS_HINT, check_label_cells, refuse_marks
from fasttext_app.data.lines import BLOCK_BYTES, Survey, lines_of, survey_lines
from fasttext_app.data.source import Batches, NoColumnsError
from fasttext_app.errors import DataError
from fasttext_app.text.fasttext_tokenizer import label_name


def scan_fasttext(
    path: InputFile, config: DataConfig, with_labels: bool, errors: FileErrors
) -> Batches:
    """Read a file in which words that begin with the label prefix are labels.

    With labels, a line must have exactly one, or with ``data.label_separator`` one or more, and
    blank lines are skipped, as in fastText. Without, every line is a text.

    Raises:
        DataError: the file is missing or not text, a line has no label or too many, or
            ``data.weight_column`` is set.
    """
    for name in ("weight_column", "label_columns"):
        if with_labels and getattr(config, name):
            raise DataError(
                f"{path}: fastText text has no columns, so data.{name} cannot be read; "
                "use CSV, TSV, JSON lines or Parquet"
            )
    if not with_labels and config.keep not in ((), "all"):
        raise NoColumnsError(
            f"{path}: lines of text have no columns, so data.keep names none of them"
        )
    convert = partial(_to_examples, config=config, with_labels=with_labels)
    is_empty = True
    with CheckedStream.of(path, config) as stream:
        for first, lines in lines_of(stream):
            is_empty = False
            rows = pa.record_batch({"line": lines})
            yield convert_rows(rows, convert, _locate_lines(path, first), errors)
    if is_empty and str(path) != "-":  # a pipe may carry nothing
        raise DataError(f"{path}: the file is empty")


def survey_fasttext(path: Path, config: DataConfig, number: int, count: int) -> Survey:
    """Find out where the last line of a share of a file ends.

    Raises:
        DataError: the file is missing, or not text.
    """
    if config.skip_bad:
        return None
    with CheckedStream.of(path, config) as stream:
        return survey_lines(stream, BLOCK_BYTES, number, count)


def _to_examples(
    rows: pa.RecordBatch, locate: Locate, config: DataConfig, with_labels: bool
) -> pa.RecordBatch:
    lines = rows.column("line")
    refuse_marks(lines, "the line", config, locate)
    if not with_labels:
        return pa.record_batch({"text": _without_labels(lines, config.label_prefix)})
    blank = pc.equal(pc.utf8_trim_whitespace(lines), "")
    label, text = _split_labels(lines, config, locate)
    check_label_cells(label, config, locate)
    return pa.record_batch({"text": text, "label": label}).filter(pc.invert(blank))


def _locate_lines(path: InputFile, first: int) -> Locate:
    return lambda row: f"{path}:{first + row}"


def _label_pattern(prefix: str) -> str:
    return rf"(^|\s){re.escape(prefix)}"


def _without_labels(lines: pa.StringArray, prefix: str) -> pa.StringArray:
    data, _ = string_buffers(lines)
    if not re.search(re.escape(prefix.encode()), data.data):  # searches all lines at once
        return lines
    labeled = pc.match_substring_regex(lines, _label_pattern(prefix))
    if not pc.any(labeled).as_py():
        return lines
    rest = pc.replace_substring_regex(lines, _label_pattern(prefix) + r"\S*", " ")
    return pc.if_else(labeled, pc.utf8_trim_whitespace(rest), lines)


def _split_labels(
    lines: pa.StringArray, config: DataConfig, locate: Locate
) -> tuple[pa.StringArray, pa.StringArray]:
    """Return (label cells, texts) of lines; both are null for a blank line."""
    prefix, separator = config.label_prefix, config.label_separator
    # Nearly every line has one label, in front: such lines are split as a column.
    leading = pc.extract_regex(lines, rf"^\s*{re.escape(prefix)}(?P<label>\S*)(?P<text>.*)$")
    label, text = leading.field("label"), pc.utf8_trim_whitespace(leading.field("text"))
    bare = pc.match_substring_regex(label, rf"^({re.escape(prefix)})*$")
    if pc.any(bare).as_py():
        label = pc.if_else(bare, pc.binary_join_element_wise(prefix, label, ""), label)
    more = pc.match_substring_regex(text.fill_null(""), _label_pattern(prefix))
    one_in_front = pc.and_(leading.is_valid(), pc.invert(more))
    if pc.all(one_in_front).as_py():
        return label, text
    # The others one by one.
    labels, texts = label.to_pylist(), text.to_pylist()
    for row in pc.indices_nonzero(pc.invert(one_in_front)).to_pylist():
        line = lines[row].as_py()
        words = [word for word in line.split() if word.startswith(prefix)]
        if len(words) > 1 and separator is None:
            raise DataError(
                f"{locate(row)}: the line has {len(words)} labels ({', '.join(words[:3])}); "
                f"a row must have exactly one{SEVERAL_LABELS_HINT}"
            )
        if not words and line.strip():
            raise DataError(
                f"{locate(row)}: the line has no word that begins with {prefix}; "
                "for another format than fastText's, set data.format"
            )
        labels[row] = (separator or "").join(label_name(word, prefix) for word in words) or None
        texts[row] = _without_labels(lines.slice(row, 1), prefix)[0].as_py() if words else None
    return string_array(labels), string_array(texts)
