"""The tables of ``bench_defaults.py``: an overview, means over the sets, and one for each set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import mean, stdev

from defaults.contenders import OURS
from defaults.scores import Comparison, Scores, Verdict

NONE = "\N{EN DASH}"
MARKS: dict[Verdict, str] = {"better": " ▼", "not different": "", "worse": " ▲"}
"""The mark on a peer's accuracy, by the verdict on our defaults."""


@dataclass
class Result:
    """One contender on one set."""

    runs: list[Scores]
    """One for each seed."""
    comparison: Comparison | None = None
    """Our defaults against this peer, both with the first seed."""

    def mean(self, score: Callable[[Scores], float | None]) -> float | None:
        """Return the mean of a score over the seeds; None if the contender lacks it."""
        values = [value for run in self.runs if (value := score(run)) is not None]
        return mean(values) if values else None


@dataclass
class SetResults:
    """All contenders on one set."""

    name: str
    title: str
    train_rows: int
    test_rows: int
    labels: int
    contenders: dict[str, Result] = field(default_factory=dict)


def accuracy(run: Scores) -> float:
    """Return the accuracy in percent."""
    return 100 * run.accuracy


def macro_f1(run: Scores) -> float:
    """Return the macro F1 in percent."""
    return 100 * run.macro_f1


def ece(run: Scores) -> float | None:
    """Return the expected calibration error."""
    return run.ece


def seconds(run: Scores) -> float:
    """Return the time of fitting."""
    return run.seconds


def set_table(results: SetResults) -> str:
    """Return the table of one set, under a heading."""
    lines = [
        f"### {results.title}",
        "",
        f"`{results.name}`: {results.train_rows:,} training rows, {results.test_rows:,} test rows, "
        f"{results.labels} labels.",
        "",
        "| | accuracy | macro F1 | ECE | fit | our defaults are |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, result in results.contenders.items():
        percentages = [accuracy(run) for run in result.runs]
        spread = f" ± {stdev(percentages):.1f}" if len(percentages) > 1 else ""
        comparison = result.comparison
        verdict = f"{comparison.verdict} (p {_p(comparison.p)})" if comparison else ""
        lines.append(
            f"| {name} | {mean(percentages):.1f}{spread} | {_number(result.mean(macro_f1), 1)} "
            f"| {_number(result.mean(ece), 3)} | {_number(result.mean(seconds), 1)} s | {verdict} |"
        )
    return "\n".join(lines)


def overview(results: list[SetResults]) -> str:
    """Return the accuracy of every contender on every set."""
    names = contender_names(results)
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for entry in results:
        cells = []
        for name in names:
            verdict = _verdict(entry, name)
            mark = MARKS[verdict] if verdict else ""
            cells.append(f"{_number(entry.contenders[name].mean(accuracy), 1)}{mark}")
        lines.append(f"| {entry.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_table(results: list[SetResults]) -> str:
    """Return the means over the sets, and on how many of them a peer is significantly different."""
    lines = [
        "| mean of the sets | accuracy | macro F1 | ECE | fit "
        "| sets where our defaults are better / not different / worse |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in contender_names(results):
        verdicts = Counter(
            verdict for entry in results if (verdict := _verdict(entry, name)) is not None
        )
        counts = " / ".join(str(verdicts[verdict]) for verdict in MARKS) if verdicts else ""
        lines.append(
            f"| {name} | {_number(mean_over_sets(results, name, accuracy), 1)} "
            f"| {_number(mean_over_sets(results, name, macro_f1), 1)} "
            f"| {_number(mean_over_sets(results, name, ece), 3)} "
            f"| {_number(mean_over_sets(results, name, seconds), 1)} s | {counts} |"
        )
    return "\n".join(lines)


def summary(results: list[SetResults]) -> str:
    """Say how our defaults do against the best peer in the mean, and where a peer beats them."""
    peers = [name for name in contender_names(results) if name != OURS]
    if not peers:
        return "No peer took part."
    sentences = []
    for label, score in (("accuracy", accuracy), ("macro F1", macro_f1)):
        means = {name: mean_over_sets(results, name, score) or 0.0 for name in (OURS, *peers)}
        best = max(peers, key=lambda name: means[name])
        sentences.append(
            f"Mean {label}: {means[OURS]:.1f} with our defaults, {means[best]:.1f} with the best "
            f"peer, {best}."
        )
    losses = [
        f"{entry.title} ({', '.join(winners)})"
        for entry in results
        if (winners := [name for name in peers if _verdict(entry, name) == "worse"])
    ]
    sentences.append(
        f"Our defaults are significantly below a peer on {len(losses)} of {len(results)} sets"
        + (f": {'; '.join(losses)}." if losses else ".")
    )
    return "\n".join(sentences)


def report(results: list[SetResults]) -> str:
    """Return all tables."""
    legend = (
        "Accuracy in percent. ▼: significantly below our defaults, ▲: significantly above them "
        "(McNemar's exact test, 5 %)."
    )
    parts = [overview(results), legend, mean_table(results), summary(results)]
    return "\n\n".join([*parts, *map(set_table, results)])


def contender_names(results: list[SetResults]) -> list[str]:
    """Return the names of the contenders, ours first; the same take part on every set."""
    return list(results[0].contenders)


def mean_over_sets(
    results: Iterable[SetResults], name: str, score: Callable[[Scores], float | None]
) -> float | None:
    """Return the mean of a contender's score over the sets; None if it lacks the score."""
    values = [entry.contenders[name].mean(score) for entry in results]
    numbers = [value for value in values if value is not None]
    return mean(numbers) if numbers else None


def _verdict(entry: SetResults, name: str) -> Verdict | None:
    comparison = entry.contenders[name].comparison
    return comparison.verdict if comparison else None


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
