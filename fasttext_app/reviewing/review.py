"""``review``: likely label errors, near-duplicates with other labels, and what to label first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from fasttext_app.config.schema import Config
from fasttext_app.core.arrays import I64, Bool
from fasttext_app.core.arrow import to_arrow
from fasttext_app.data.labels import cell_labels
from fasttext_app.errors import DataError
from fasttext_app.reviewing.confident_learning import Doubts, doubts, doubts_of_several
from fasttext_app.reviewing.near_duplicates import near_duplicates
from fasttext_app.reviewing.next_to_label import next_to_label
from fasttext_app.reviewing.out_of_fold import (
    OutOfFold,
    Progress,
    choose_folds,
    out_of_fold,
    train_on,
)
from fasttext_app.reviewing.rows import ReviewRows

Reason = Literal["label", "duplicate", "unlabeled"]


@dataclass(frozen=True)
class Suspect:
    """A row to look at."""

    row: int
    """Its number in the data, from 1."""
    reason: Reason
    """``label``: its label is likely wrong; ``duplicate``: a near-duplicate has another label;
    ``unlabeled``: it is worth labeling."""
    label: str
    """Its label cell."""
    suggested: str
    """The label cell that it likely should have."""
    probability: float | None
    """Of the suggested label."""
    label_probability: float | None
    """Of its own label."""
    like: int | None
    """A near-duplicate with another label, from 1."""
    text: str
    kept: tuple[Any, ...] = ()
    """The values of the columns to copy."""


@dataclass(frozen=True)
class Review:
    """The result of a review."""

    suspects: list[Suspect]
    """Likely label errors, most suspect first; then near-duplicates; then rows to label."""
    rows: int
    """Rows with a label."""
    unlabeled: int
    labels: dict[str, int]
    """The number of rows with each label."""
    confusions: dict[tuple[str, str], int]
    """Likely label errors by (label, suggested label), most frequent first."""
    not_judged: int
    """Rows whose label is too rare to be judged."""
    kept: pa.Schema = field(default_factory=lambda: pa.schema([]))
    """The columns to copy."""

    def of(self, reason: Reason) -> list[Suspect]:
        """Return the rows that are listed for a reason."""
        return [suspect for suspect in self.suspects if suspect.reason == reason]

    def to_table(self) -> pa.Table:
        """Return the suspects as a table: the columns of the CSV file."""
        names = ("row", "reason", "label", "suggested", "probability", "label_probability", "like")
        columns: dict[str, Any] = {"row": pa.array([s.row for s in self.suspects], pa.int64())}
        for place, column in enumerate(self.kept):
            values = [suspect.kept[place] for suspect in self.suspects]
            columns[_free(column.name)] = pa.array(values, column.type)
        kinds = {"probability": pa.float64(), "label_probability": pa.float64(), "like": pa.int64()}
        for name in (*names[1:], "text"):
            values = [getattr(suspect, name) for suspect in self.suspects]
            columns[name] = pa.array(values, kinds.get(name, pa.string()))
        return pa.table(columns)


def _free(name: str) -> str:
    """Return the name of a copied column beside those of a review."""
    own = {"row", "reason", "label", "suggested", "probability", "label_probability", "like"}
    return f"input_{name}" if name in own | {"text"} else name


def review(
    config: Config,
    rows: ReviewRows,
    *,
    folds: int = 5,
    pick: int = 100,
    progress: Progress | None = None,
) -> Review:
    """Review the labels of rows.

    Args:
        config: how to train the models that judge them; ``trainer.seed`` chooses the folds.
        rows: the rows.
        folds: how many models to train, each on all folds but one.
        pick: how many unlabeled rows to list.
        progress: is told of each training run.

    Raises:
        DataError: there are too few rows or labels.
    """
    separator = config.data.label_separator if not config.data.soft_labels else None
    is_labeled = rows.is_labeled
    labeled, unlabeled = np.flatnonzero(is_labeled), np.flatnonzero(~is_labeled)
    cells = rows.cells.filter(to_arrow(is_labeled)).to_pylist()
    bags = [tuple(cell_labels(cell, separator)) for cell in cells]
    counts = Counter(label for bag in bags for label in bag)
    labels = tuple(sorted(counts))
    if not labels:
        raise DataError(f"{rows.spec}: no row has a label; label some rows first")
    texts = rows.texts.filter(to_arrow(is_labeled))
    groups = near_duplicates(texts)
    _check(rows.spec, labels, groups, folds)
    table = pa.table({"text": texts, "label": pa.chunked_array([cells], pa.string())})
    code_of = {cell: code for code, cell in enumerate(sorted(set(cells)))}
    codes = np.array([code_of[cell] for cell in cells], np.int64)
    fold_of_row = choose_folds(codes, groups, folds, config.trainer.seed)
    runs = folds + bool(len(unlabeled) and pick)
    scored = out_of_fold(config, table, rows.spec, fold_of_row, labels, progress, runs)
    judged = _judge(scored, bags, several=separator is not None)
    suspects = _suspects(rows, labeled, cells, bags, scored, judged, groups, codes, separator)
    if len(unlabeled) and pick:
        if progress is not None:
            progress(runs, runs)
        suspects += _to_label(config, rows, unlabeled, table, pick)
    confusions = Counter(
        (suspect.label, suspect.suggested) for suspect in suspects if suspect.reason == "label"
    )
    return Review(
        suspects,
        len(labeled),
        len(unlabeled),
        dict(counts.most_common()),
        dict(confusions.most_common()),
        int((~judged.can_judge).sum()),
        rows.kept.schema,
    )


def _check(spec: str, labels: Sequence[str], groups: I64, folds: int) -> None:
    if len(labels) < 2:
        raise DataError(
            f"{spec}: all rows have the label {labels[0]!r}; a review needs two labels or more"
        )
    distinct = len(np.unique(groups))
    if distinct < 2 * folds:
        raise DataError(
            f"{spec}: {distinct:,} different texts with labels are too few for {folds} folds; add "
            "rows, or use fewer folds"
        )


@dataclass(frozen=True)
class _Judged:
    found: Doubts
    can_judge: Bool
    """Whether the model of a row's fold knows its labels, [N]."""
    given: I64 | Bool
    """The class of each row, [N]; or whether it has each label, [N, C]."""


def _judge(scored: OutOfFold, bags: Sequence[Sequence[str]], *, several: bool) -> _Judged:
    column_of = {name: column for column, name in enumerate(scored.labels)}
    if not several:
        given = np.array([column_of[bag[0]] for bag in bags], np.int64)
        can_judge = scored.known[scored.folds, given]
        return _Judged(doubts(scored.proba, given, can_judge), can_judge, given)
    flags = np.zeros(scored.proba.shape, bool)
    for row, bag in enumerate(bags):
        flags[row, [column_of[label] for label in bag]] = True
    known = scored.known[scored.folds]
    knows_all: Bool = ~np.any(flags & ~known, axis=1)
    return _Judged(doubts_of_several(scored.proba, flags, known), knows_all, flags)


def _suspects(
    rows: ReviewRows,
    labeled: I64,
    cells: Sequence[str],
    bags: Sequence[Sequence[str]],
    scored: OutOfFold,
    judged: _Judged,
    groups: I64,
    codes: I64,
    separator: str | None,
) -> list[Suspect]:
    """List the rows with a label that is likely wrong, and other rows of groups with two labels."""
    found = judged.found
    wrong = np.flatnonzero(found.is_wrong & judged.can_judge)
    wrong = wrong[np.argsort(-found.margin[wrong], kind="stable")]
    like = _conflicts(groups, codes)
    is_wrong = np.zeros(len(cells), bool)
    is_wrong[wrong] = True
    copies = np.flatnonzero((like >= 0) & ~is_wrong)
    copies = copies[np.argsort(-found.margin[copies], kind="stable")]
    listed = labeled[np.concatenate((wrong, copies))]
    kept = dict(zip(listed.tolist(), _kept_values(rows, listed), strict=True))

    def suspect(row: int, reason: Reason) -> Suspect:
        label = int(found.likely[row])
        own = float(scored.proba[row, label])
        value: float | None
        if separator is None:
            suggested = scored.labels[label]
            value, given = own, float(scored.proba[row, judged.given[row]])
        else:
            has = scored.labels[label] in bags[row]
            changed = [name for name in bags[row] if name != scored.labels[label]]
            changed += [] if has else [scored.labels[label]]
            suggested = separator.join(changed)
            value, given = (1 - own, own) if has else (own, 1 - own)
        if reason == "duplicate":
            suggested, value = cells[like[row]], None
        place = int(labeled[row])
        return Suspect(
            place + 1,
            reason,
            cells[row],
            suggested,
            value,
            given if reason == "label" or separator is None else None,
            int(labeled[like[row]]) + 1 if like[row] >= 0 else None,
            rows.texts[place].as_py(),
            kept[place],
        )

    return [suspect(row, "label") for row in wrong.tolist()] + [
        suspect(row, "duplicate") for row in copies.tolist()
    ]


def _kept_values(rows: ReviewRows, places: I64) -> list[tuple[Any, ...]]:
    """Return the values to copy of some rows."""
    columns = [column.to_pylist() for column in rows.kept.take(pa.array(places)).columns]
    return list(zip(*columns, strict=True)) if columns else [()] * len(places)


def _conflicts(groups: I64, codes: I64) -> I64:
    """Return for each row a near-duplicate with a label that is no rarer in the group, or -1, [N].

    >>> _conflicts(np.array([0, 0, 0, 3, 3]), np.array([5, 5, 7, 5, 7])).tolist()
    [-1, -1, 0, 4, 3]
    """
    like = np.full(len(groups), -1, np.int64)
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        values, first, counts = np.unique(codes[members], return_index=True, return_counts=True)
        if len(values) < 2:
            continue
        for row in members.tolist():
            own = counts[values == codes[row]][0]
            others = np.where(values == codes[row], 0, counts)
            if others.max() >= own:
                like[row] = members[first[others.argmax()]]
    return like


def _to_label(
    config: Config, rows: ReviewRows, unlabeled: I64, labeled: pa.Table, pick: int
) -> list[Suspect]:
    """List the unlabeled rows that are worth labeling first, by a model of all labeled rows."""
    model = train_on(config, labeled, rows.spec)
    texts = rows.texts.take(pa.array(unlabeled))
    proba, vectors = model.predict_proba(texts), model.embed(texts)
    order = next_to_label(
        proba, vectors, pick, seed=config.trainer.seed, independent=model.head.independent
    )
    kept = _kept_values(rows, unlabeled[order])
    best = proba.argmax(axis=1)
    return [
        Suspect(
            int(unlabeled[row]) + 1,
            "unlabeled",
            "",
            model.labels[best[row]],
            float(proba[row, best[row]]),
            None,
            None,
            texts[row].as_py(),
            kept[place],
        )
        for place, row in enumerate(order.tolist())
    ]
