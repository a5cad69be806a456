"""The report on a model as a page: what its sections show, and how much of it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from fasttext_app._version import __version__
from fasttext_app.core.arrays import I64
from fasttext_app.errors import ConfigError
from fasttext_app.inference.classifier import TextClassifier
from fasttext_app.inference.display import model_facts
from fasttext_app.model.confusion_picture import MAX_LABELS, confusion_picture
from fasttext_app.model.thresholds import threshold_curve
from fasttext_app.pages.pictures import (
    Axis,
    Line,
    bar_chart,
    line_chart,
    reliability_chart,
    series_css,
)
from fasttext_app.pages.templates import page
from fasttext_app.reporting.intervals import Interval, mcnemar, resampled_f1, share_interval
from fasttext_app.reporting.rows import Rows
from fasttext_app.reporting.scored import Scored, classes_of, score
from fasttext_app.reviewing.page import CHARACTERS, case, label_confusions, shortened
from fasttext_app.reviewing.review import Review
from fasttext_app.text.chunks import as_chunks
from fasttext_app.text.tokenizers import load_tokenizer
from fasttext_app.training.history import Panel, history_of, panels

BARS, TABLE, CURVES, WORD_LISTS, EXAMPLES = 20, 30, 12, 12, 8
"""How many labels a section shows."""
WORDS = 15
"""Words of a label."""
WRONG, DIFFERENT = 20, 10
"""Texts that are surely wrong; texts on which two models differ, of each kind."""
PIECES = 160
"""Words of a text; the rest is left out."""
CONFUSIONS = 10
CUTS = (0.5, 0.7, 0.9, 0.95, 0.99)
LENGTHS = (0, 1, 3, 6, 11, 21, 51, 101, 201, 501, 1001)
"""Where the groups of text lengths begin, in words."""


def report(
    names: Sequence[str],
    models: Sequence[TextClassifier],
    rows: Rows,
    review: Review | None = None,
) -> Iterator[str]:
    """Yield the parts of the report on a model; a second one is compared with it.

    Args:
        names: the names of the models.
        models: one model or two.
        rows: the rows to score them on.
        review: a review of the training rows.

    Raises:
        DataError: there are no rows, or their labels cannot be read.
    """
    scored = [score(model, rows.batches, rows.data) for model in models]
    texts = pa.chunked_array([batch.column("text") for batch in rows.batches], pa.string())
    figures = [_figures(one) for one in scored]
    first = scored[0]
    several = len(scored) > 1
    values: dict[str, Any] = {
        "title": f"Report on {names[0]}" + (f" and {names[1]}" if several else ""),
        "version": __version__,
        "model": {"name": names[0], "facts": _facts(models[0])},
        "rows": f"{first.scores['examples']:,}",
        "source": rows.name,
        "figures": figures[0],
        "compare": _comparison(names, scored, figures, texts) if several else None,
        "data": _data(models[0], rows, first),
        "curves": _learning_curves(names, models),
        "labels": _label_table(first),
        "confusion": _confusion(first),
        "calibration": _calibration(first),
        "precision_recall": _precision_recall(first),
        "thresholds": _thresholds(first),
        "wrong": _surely_wrong(first, texts),
        "review": None if review is None else _review(review),
        "word_lists": _words(first),
        "examples": _examples(first, texts),
        "colored": not models[0].head.not_additive,
    }
    return page("reporting/page.html", **values)


# --- what a section shows, of many labels


def _most_frequent(
    scored: Scored, count: int | None = None, among: Container[str] | None = None
) -> list[str]:
    """Return the labels with the most rows, the most frequent first.

    Args:
        scored: has the labels.
        count: how many; None: all.
        among: leave out all other labels.
    """
    support = {name: row["support"] for name, row in scored.scores["per_label"].items()}
    names = sorted(support, key=lambda name: -support[name])
    return [name for name in names if among is None or name in among][:count]


def _shown(count: int, total: int, which: str) -> str:
    """Say which part of the labels a section shows, if it is not all of them.

    >>> _shown(20, 2000, "with the most rows"), _shown(3, 3, "")
    ('The 20 of 2,000 labels with the most rows.', '')
    """
    return f"The {count:,} of {total:,} labels {which}." if count < total else ""


# --- sections


def _facts(model: TextClassifier) -> list[tuple[str, str]]:
    facts = [(name.capitalize(), value) for name, value in model_facts(model.artifact).items()]
    text, settings = model.config.text, model.config.model
    characters = f"{text.minn} to {text.maxn}" if text.maxn else "none"
    return [
        *facts,
        ("Tokenizer", text.tokenizing),
        ("Word n-grams", f"up to {text.word_ngrams}"),
        ("Character n-grams", characters),
        ("Loss", settings.loss),
    ]


def _figures(scored: Scored) -> list[dict[str, str]]:
    """Return the scores with their intervals."""
    scores, rows = scored.scores, scored.scores["examples"]
    micro, macro = resampled_f1(scored.true, scored.predicted)
    right = share_interval(int(scored.right.sum()), rows)
    if scored.multi_label:
        figures = [
            _figure("Micro F1", scores["micro_f1"], micro),
            _figure("Macro F1", scores["macro_f1"], macro),
            _figure("Exact match", scores["exact_match"], right),
        ]
    else:
        figures = [
            _figure("Accuracy", scores["accuracy"], right),
            _figure("Macro F1", scores["macro_f1"], macro),
        ]
    figures.append(_figure("Calibration error", scores["calibration"]["ece"], None))
    unknown = scores.get("unknown_texts", 0)
    figures.append(
        {"name": "Unknown texts", "value": f"{unknown:,}", "range": "no known word or n-gram"}
    )
    return figures


def _figure(name: str, value: float, interval: Interval | None) -> dict[str, str]:
    shown = f"{interval.low:.4f} to {interval.high:.4f}" if interval else "0 is perfect"
    return {"name": name, "value": f"{value:.4f}", "range": shown}


def _data(model: TextClassifier, rows: Rows, scored: Scored) -> dict[str, Any]:
    trained = dict(zip(model.labels, model.artifact.labels.counts, strict=True))
    per_label = scored.scores["per_label"]
    scored_rows = {name: per_label[name]["support"] for name in scored.names}
    most_trained, most_scored = max([*trained.values(), 1]), max([*scored_rows.values(), 1])
    shown = sorted(scored.names, key=lambda name: (-scored_rows[name], -trained.get(name, 0)))
    balance = [
        {
            "label": name,
            "trained": trained.get(name, 0),
            "scored": scored_rows[name],
            "trained_share": trained.get(name, 0) / most_trained,
            "scored_share": scored_rows[name] / most_scored,
        }
        for name in shown[:BARS]
    ]
    tokenizer = load_tokenizer("whitespace")
    chunks = chain.from_iterable(as_chunks(batch.column("text")) for batch in rows.batches)
    lengths = np.concatenate([tokenizer(chunk).lengths for chunk in chunks])
    return {
        "balance": balance,
        "note": _shown(len(balance), len(shown), "with the most rows"),
        "lengths": _length_chart(lengths),
        "median": f"{np.median(lengths):,.0f}",
        "longest": f"{lengths.max():,}",
        "findings": list(rows.findings),
    }


def _length_chart(lengths: I64) -> Markup:
    counts = np.bincount(np.searchsorted(LENGTHS, lengths, "right") - 1, minlength=len(LENGTHS))
    used = np.flatnonzero(counts)
    groups = range(int(used[0]), int(used[-1]) + 1)
    names = []
    for group in groups:
        low = LENGTHS[group]
        high = LENGTHS[group + 1] - 1 if group + 1 < len(LENGTHS) else None
        names.append(f"{low}+" if high is None else str(low) if low == high else f"{low}–{high}")  # noqa: RUF001
    values = [int(counts[group]) for group in groups]
    return bar_chart("Text lengths", names, values, "words of a text")


def _learning_curves(
    names: Sequence[str], models: Sequence[TextClassifier]
) -> dict[str, Any] | None:
    histories = []
    for name, model in zip(names, models, strict=True):
        try:
            history = history_of(name, model.artifact.history)
        except (ValueError, TypeError, AttributeError, OverflowError):  # a stranger wrote it
            history = None
        histories += [] if history is None else [history]
    if not histories:
        return None
    shown = panels(histories)
    return {
        "charts": [_panel(panel) for panel in shown],
        "best": histories[0].best_epoch,
        "validated": histories[0].best_epoch is not None,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    lines = [
        Line(curve.name, curve.epochs, curve.values, curve.best_epoch) for curve in panel.curves
    ]
    values = list(chain.from_iterable(line.y for line in lines))
    epochs = list(chain.from_iterable(line.x for line in lines))
    reach = (max(values) - min(values)) or abs(max(values)) or 1.0
    low, high = min(values) - reach * 0.08, max(values) + reach * 0.08
    x = Axis("epoch", min(epochs) - 0.2, max(epochs) + 0.2, whole=True)
    chart = line_chart(panel.title.capitalize(), lines, x, Axis(panel.title, low, high))
    legend = [(line.name, series_css(index)) for index, line in enumerate(lines)]
    return {"title": panel.title.capitalize(), "chart": chart, "legend": legend}


def _label_table(scored: Scored) -> dict[str, Any]:
    """Return the scores of the labels, the lowest F1 first."""
    per_label = scored.scores["per_label"]
    occurring = [name for name in scored.names if per_label[name]["support"]]
    worst = sorted(occurring, key=lambda name: per_label[name]["f1"])[:TABLE]
    predictions = np.bincount(scored.predicted.indices, minlength=len(scored.names))
    rows = []
    for name in worst:
        row, predicted = per_label[name], int(predictions[scored.index_of[name]])
        hits = round(row["recall"] * row["support"])
        precision = share_interval(hits, predicted)
        recall = share_interval(hits, row["support"])
        rows.append(
            {
                "label": name,
                "rows": f"{row['support']:,}",
                "precision": f"{row['precision']:.3f}",
                "precision_range": _range(precision) if predicted else "never predicted",
                "recall": f"{row['recall']:.3f}",
                "recall_range": _range(recall),
                "f1": f"{row['f1']:.3f}",
                "share": row["f1"],
            }
        )
    unknown = scored.scores["unknown_labels"]
    return {
        "rows": rows,
        "note": _shown(len(worst), len(occurring), "with the lowest F1"),
        "unknown": [f"{name} ({count:,})" for name, count in list(unknown.items())[:TABLE]],
        "unknown_rows": f"{sum(unknown.values()):,}",
    }


def _range(interval: Interval) -> str:
    return f"{interval.low:.3f}–{interval.high:.3f}"  # noqa: RUF001


def _confusion(scored: Scored) -> dict[str, Any] | None:
    if scored.multi_label or len(scored.names) < 2:
        return None
    scores = scored.scores
    matrix = scores["confusion_matrix"]
    picture = None
    if matrix:
        picture = Markup(confusion_picture(scored.names, matrix))
    most = scores["confusions"][:CONFUSIONS]
    return {
        "picture": picture,
        "wide": len(scored.names) > 10,
        "confusions": [{**row, "rows": f"{row['rows']:,}"} for row in most],
        "note": _shown(min(MAX_LABELS, len(scored.names)), len(scored.names), "with the most rows"),
    }


def _calibration(scored: Scored) -> dict[str, Any]:
    result = scored.scores["calibration"]
    bins = [row for row in result["bins"] if row["count"]]
    of_pairs = result["over"] == "pairs"
    chart = reliability_chart(
        "Reliability diagram",
        [(row["confidence"], row["share"], row["count"]) for row in bins],
        f"mean probability of the {'label' if of_pairs else 'predicted label'}",
        f"share that is {'true' if of_pairs else 'right'}",
    )
    nll = result["nll"]
    record = scored.model.artifact.calibration.get("temperature")
    return {
        "chart": chart,
        "over": "pairs of a text and a label" if of_pairs else "texts by their predicted label",
        "measures": [
            ("Expected calibration error", f"{result['ece']:.4f}"),
            ("Largest gap of a bin", f"{result['mce']:.4f}"),
            ("Negative log-likelihood", "-" if nll is None else f"{nll:.4f}"),
            ("Brier score", f"{result['brier']:.4f}"),
            *([("Fitted temperature", f"{record['value']:.3f}")] if record else []),
        ],
    }


def _precision_recall(scored: Scored) -> dict[str, Any] | None:
    if scored.above is None:
        return None
    hits, totals = scored.above
    per_label = scored.scores["per_label"]
    known = {name: index for index, name in enumerate(scored.model.labels)}
    frequent = _most_frequent(scored, among=known)
    shown = [name for name in frequent if per_label[name]["support"]][:CURVES]
    tiles = []
    for name in shown:
        index, support = known[name], per_label[name]["support"]
        some = totals[index] > 0
        above, right = totals[index][some][::-1], hits[index][some][::-1]  # from few rows to all
        precision, recall = right / above, right / support
        average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
        line = Line(name, recall.tolist(), precision.tolist())
        title = f"Precision by recall of {name}"
        chart = line_chart(title, [line], Axis("recall"), Axis("precision"), 220, 180)
        tiles.append({"label": name, "chart": chart, "average": f"{average:.3f}"})
    note = _shown(len(tiles), len(scored.names), "with the most rows")
    return {"tiles": tiles, "note": note} if tiles else None


def _thresholds(scored: Scored) -> dict[str, Any]:
    """Return how many answers stay above a probability, and how many of these are right."""
    result: dict[str, Any] = {"cuts": [], "chart": None, "fitted": _fitted_thresholds(scored)}
    if scored.multi_label:
        return result
    right, rows = scored.right, len(scored.right)
    for cut in CUTS:
        reached = scored.confidence >= cut
        count, hits = int(reached.sum()), int(right[reached].sum())
        interval = share_interval(hits, count)
        result["cuts"].append(
            {
                "cut": f"{cut:g}",
                "answered": f"{count / rows:.1%}",
                "accuracy": f"{hits / count:.4f}" if count else "-",
                "range": _range(interval) if count else "",
            }
        )
    _, hits_above, selected = threshold_curve(scored.confidence, right)
    accuracy = hits_above / selected
    places = np.unique(np.searchsorted(selected, np.linspace(rows * 0.02, rows, 100)))
    places = places[places < len(selected)]
    line = Line("accuracy", (selected[places] / rows).tolist(), accuracy[places].tolist())
    low = min([*line.y, 1.0])
    floor = max(np.floor((low - 0.02) * 20) / 20, 0.0)
    result["chart"] = line_chart(
        "Accuracy by share of texts that are answered",
        [line],
        Axis("share of texts that are answered"),
        Axis("accuracy", float(floor), 1.0),
    )
    return result


def _fitted_thresholds(scored: Scored) -> dict[str, Any] | None:
    record = scored.model.artifact.calibration.get("thresholds")
    fitted = scored.model.fitted_thresholds
    if record is None or fitted is None:
        return None
    known = dict(zip(scored.model.labels, fitted.tolist(), strict=True))
    shown = _most_frequent(scored, TABLE, known)
    return {
        "goal": str(record.get("goal", "")),
        "rows": [(name, f"{known[name]:.4f}") for name in shown],
        "note": _shown(len(shown), len(known), "with the most rows"),
    }


# --- texts


def _case(
    scored: Scored, row: int, text: str, label: str | None = None, against: str | None = None
) -> dict[str, Any]:
    """Return a text with its words colored, if the model can say what they add."""
    return {
        "row": f"{row + 1:,}",
        "labels": scored.labels_of(classes_of(scored.true, row)),
        "predicted": scored.labels_of(classes_of(scored.predicted, row)),
        "best": scored.model.labels[scored.best[row]],
        "confidence": f"{scored.confidence[row]:.4f}",
        "own": f"{scored.own[row]:.4f}",
        "pieces": _pieces(scored, text, label, against),
    }


def _pieces(
    scored: Scored, text: str, label: str | None, against: str | None
) -> list[tuple[str, float | None, float]]:
    model = scored.model
    if label not in model.labels or against == label:
        label = against = None
    if against not in model.labels:
        against = None
    if model.head.not_additive:
        return [(shortened(text, 8 * PIECES), None, 0.0)]
    pieces = model.explain(text, label, against).shaded_pieces()
    return [*pieces[: 2 * PIECES], *([(" …", None, 0.0)] if len(pieces) > 2 * PIECES else [])]


def _surely_wrong(scored: Scored, texts: pa.ChunkedArray) -> list[dict[str, Any]]:
    """Return the rows whose labels the model contradicts most, which may be wrong themselves."""
    wrong = np.flatnonzero(~scored.right)
    order = wrong[np.argsort(-scored.surprise[wrong], kind="stable")][:WRONG]
    cases = []
    for row in order.tolist():
        true = classes_of(scored.true, row)
        given = scored.names[true[0]] if len(true) == 1 else None
        best = scored.model.labels[scored.best[row]]
        cases.append(_case(scored, row, texts[row].as_py(), best, given))
    return cases


def _review(review: Review) -> dict[str, Any]:
    """Return the training rows that are likely mislabeled, by their probabilities out of fold."""
    wrong = review.of("label")
    return {
        "rows": f"{review.rows:,}",
        "wrong": f"{len(wrong):,}",
        "confusions": label_confusions(review),
        "cases": [case(suspect, ()) for suspect in wrong[:WRONG]],
        "shown": f"{min(WRONG, len(wrong))}",
    }


def _words(scored: Scored) -> dict[str, Any] | None:
    model = scored.model
    if model.head.not_additive:
        return None
    known = set(model.labels)
    lists = []
    for label in _most_frequent(scored, WORD_LISTS, known):
        try:
            features = model.label_features(label, WORDS)
        except ConfigError:
            return None
        most = max([feature.value for feature in features], default=0.0)
        rows = [
            {"word": f.name, "value": f"{f.value:+.2f}", "share": f.value / most}
            for f in features
            if f.value > 0
        ]
        lists.append({"label": label, "words": rows})
    return {"lists": lists, "note": _shown(len(lists), len(known), "with the most rows")}


def _examples(scored: Scored, texts: pa.ChunkedArray) -> dict[str, Any]:
    """Return for each label a text that is typical of it, and one that is missed."""
    rows_of = np.repeat(np.arange(len(scored.true)), scored.true.lengths)
    shown = [
        name
        for name in _most_frequent(scored, EXAMPLES)
        if scored.scores["per_label"][name]["support"] and name in scored.model.labels
    ]
    examples = []
    for name in shown:
        rows = rows_of[scored.true.indices == scored.index_of[name]]
        right, missed = rows[scored.right[rows]], rows[~scored.right[rows]]
        cases = []
        if len(right):
            row = int(right[np.argmax(scored.own[right])])
            cases.append(("Typical", _case(scored, row, texts[row].as_py(), name)))
        if len(missed):
            row = int(missed[np.argmin(scored.own[missed])])
            cases.append(("Missed", _case(scored, row, texts[row].as_py(), name)))
        examples.append({"label": name, "cases": cases})
    return {
        "labels": examples,
        "note": _shown(len(shown), len(scored.names), "with the most rows"),
    }


# --- two models


def _comparison(
    names: Sequence[str],
    scored: Sequence[Scored],
    figures: Sequence[list[dict[str, str]]],
    texts: pa.ChunkedArray,
) -> dict[str, Any]:
    first, second = scored
    only_first, only_second = first.right & ~second.right, second.right & ~first.right
    counts = int(only_first.sum()), int(only_second.sum())
    p = mcnemar(*counts)
    return {
        "names": list(names),
        "figures": [{"name": a["name"], "models": [a, b]} for a, b in zip(*figures, strict=True)],
        "both": f"{int((first.right & second.right).sum()):,}",
        "neither": f"{int((~first.right & ~second.right).sum()):,}",
        "only": [f"{count:,}" for count in counts],
        "p": "< 0.0001" if p < 0.0001 else f"= {p:.4f}",
        "verdict": _verdict(names, counts, p),
        "rows": f"{len(texts):,}",
        "groups": [
            {
                "title": f"{names[a]} is right, {names[1 - a]} is wrong",
                "cases": _different(scored, mask, texts, wrong=1 - a),
            }
            for a, mask in enumerate((only_first, only_second))
        ],
    }


def _verdict(names: Sequence[str], counts: Sequence[int], p: float) -> str:
    if p >= 0.05:
        return "These rows do not show that one of the models is better (5 % level)."
    better = names[0] if counts[0] > counts[1] else names[1]
    return f"{better} is better on these rows (5 % level)."


def _different(
    scored: Sequence[Scored], mask: Any, texts: pa.ChunkedArray, *, wrong: int
) -> list[dict[str, Any]]:
    """Return texts on which the models differ, those first of which the wrong one is surest."""
    rows = np.flatnonzero(mask)
    rows = rows[np.argsort(-scored[wrong].surprise[rows], kind="stable")][:DIFFERENT]
    return [
        {
            "row": f"{row + 1:,}",
            "labels": scored[0].labels_of(classes_of(scored[0].true, row)),
            "answers": [
                {
                    "label": model.labels_of(classes_of(model.predicted, row)),
                    "probability": f"{model.confidence[row]:.4f}",
                }
                for model in scored
            ],
            "text": shortened(texts[row].as_py(), CHARACTERS),
        }
        for row in rows.tolist()
    ]
