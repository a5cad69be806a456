"""fastText's text files: one example a line, with its labels among the words."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fasttext_app.config.schema import DataConfig
from fasttext_app.core.arrow import string_array
from fasttext_app.data.lines import scan_lines
from fasttext_app.data.source import SEVERAL, Batches, checked_shares
from fasttext_app.errors import DataError


def scan_fasttext(path: Path, config: DataConfig, *, labels: bool) -> Batches:
    """Read a fastText file: words that begin with the label prefix are labels, the rest is text.

    Where labels are wanted, a line must have exactly one, or with ``data.label_separator`` one or
    more, and lines of white space are passed over, as fastText does. Where they are not, every line
    is a text.

    Raises:
        DataError: as :func:`scan_lines`; or a line has no label, or several; or weights are wanted.
    """
    if labels and config.weight_column is not None:
        raise DataError(
            f"{path}: fastText text has no columns, and so no data.weight_column; "
            "use CSV, TSV, JSON lines or Parquet"
        )
    any_line = False
    for number, lines in scan_lines(path, config.errors):
        any_line = True
        if not labels:
            yield pa.record_batch({"text": _without_labels(lines, config.label_prefix)})
            continue
        blank = pc.equal(pc.utf8_trim_whitespace(lines), "")
        line_name = partial(_line_name, path, number)
        label, text = _split_labels(lines, config, line_name)
        batch = pa.record_batch({"text": text, "label": checked_shares(label, config, line_name)})
        yield batch.filter(pc.invert(blank))
    if not any_line and str(path) != "-":  # a pipe may carry nothing
        raise DataError(f"{path}: the file is empty")


def _line_name(path: Path, first: int, row: int) -> str:
    return f"{path}:{first + row}"


def _label_pattern(prefix: str) -> str:
    return rf"(^|\s){re.escape(prefix)}\S"


def _without_labels(lines: pa.StringArray, prefix: str) -> pa.StringArray:
    labeled = pc.match_substring_regex(lines, _label_pattern(prefix))
    if not pc.any(labeled).as_py():
        return lines
    rest = pc.replace_substring_regex(lines, _label_pattern(prefix) + r"\S*", " ")
    return pc.if_else(labeled, pc.utf8_trim_whitespace(rest), lines)


def _split_labels(
    lines: pa.StringArray, config: DataConfig, row_name: partial[str]
) -> tuple[pa.StringArray, pa.StringArray]:
    prefix, separator = config.label_prefix, config.label_separator
    leading = pc.extract_regex(lines, rf"^\s*{re.escape(prefix)}(?P<label>\S+)(?P<text>.*)$")
    label, text = leading.field("label"), pc.utf8_trim_whitespace(leading.field("text"))
    more = pc.match_substring_regex(text.fill_null(""), _label_pattern(prefix))
    found = pc.and_(leading.is_valid(), pc.invert(more))
    if pc.all(found).as_py():
        return label, text
    labels, texts = label.to_pylist(), text.to_pylist()
    for row in pc.indices_nonzero(pc.invert(found)).to_pylist():  # no label in front, or several
        line = lines[row].as_py()
        words = [word for word in line.split() if word.startswith(prefix) and word != prefix]
        if len(words) > 1 and separator is None:
            raise DataError(
                f"{row_name(row)}: the line has {len(words)} labels ({', '.join(words[:3])}); "
                f"a row must have exactly one{SEVERAL}"
            )
        if not words and line.strip():
            raise DataError(f"{row_name(row)}: the line has no word that begins with {prefix}")
        labels[row] = (separator or "").join(word.removeprefix(prefix) for word in words) or None
        texts[row] = _without_labels(lines.slice(row, 1), prefix)[0].as_py() if words else None
    return string_array(labels), string_array(texts)
