"""``fasttext-app ft``: the original's commands, flags and lines, so that a script changes a word.

fasttext supervised -input train.txt -output model -lr 0.5
fasttext-app ft supervised -input train.txt -output model -lr 0.5
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fasttext_app.compat import FastText
    from fasttext_app.interop.label_scores import Meter

__all__ = ["app"]

app = typer.Typer(
    name="ft",
    help="The original fastText's own commands, over .bin and .ftz files.",
    no_args_is_help=True,
)
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A .bin or .ftz file.")]
TextFile = Annotated[str, typer.Argument(metavar="FILE", help="Lines; '-': standard input.")]
Count = Annotated[int, typer.Argument(metavar="K", min=1, help="Words to show.")]
Labels = Annotated[int, typer.Argument(metavar="K", help="Labels of a line; -1: all.")]
Least = Annotated[
    float, typer.Argument(metavar="TH", min=0, max=1, help="Leave out less likely labels.")
]
FLAGS = {"ignore_unknown_options": True, "allow_extra_args": True}
NEGATIVE = {"ignore_unknown_options": True}  # -1 is a number


def _flags(arguments: list[str], known: dict[str, Any]) -> dict[str, Any]:
    """Read ``-name value`` pairs, each of the type of its default.

    Raises:
        typer.BadParameter: a flag is unknown, has no value, or one of another type.
    """
    from fasttext_app.errors import did_you_mean

    found: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        name = word.removeprefix("-")
        if not word.startswith("-") or name not in known:
            raise typer.BadParameter(f"unknown argument: {word}{did_you_mean(name, known)}")
        if isinstance(known[name], bool):
            found[name] = True
            continue
        value = next(words, None)
        if value is None:
            raise typer.BadParameter(f"{word} is missing an argument")
        try:
            found[name] = type(known[name])(value)
        except ValueError:
            raise typer.BadParameter(f"{word}: {value!r} is not a number") from None
    return found


def _needed(found: dict[str, Any], *names: str) -> None:
    missing = [f"-{name}" for name in names if not found.get(name)]
    if missing:
        raise typer.BadParameter(f"empty input or output path: give {' and '.join(missing)}")


@app.command(context_settings=FLAGS)
def supervised(context: typer.Context) -> None:
    """Train a classifier: -input FILE -output NAME [-lr -dim -epoch -wordNgrams -minn -maxn -bucket
    -minCount -loss -neg -thread -label -pretrainedVectors -seed]; NAME.bin and NAME.vec are made.
    """  # noqa: D205
    from fasttext_app import compat
    from fasttext_app.interop.train_options import DEFAULTS
    from fasttext_app.interop.word_vectors import write_vectors

    found = _flags(context.args, {"input": "", "output": "", **DEFAULTS})
    _needed(found, "input", "output")
    source, output = found.pop("input"), found.pop("output")
    _check_places(output, ".bin", ".vec")
    model = compat.train_supervised(source, **found)
    _note(f"Number of words:  {len(model.words)}")
    _note(f"Number of labels: {len(model.labels)}")
    model.save_model(f"{output}.bin")
    write_vectors(model.vectors, f"{output}.vec")


@app.command(context_settings=FLAGS)
def quantize(context: typer.Context) -> None:
    """Put NAME.bin into product codes: -output NAME [-cutoff N] [-qnorm] [-dsub N]; NAME.ftz is
    made.
    """  # noqa: D205
    from fasttext_app import compat

    known = {"input": "", "output": "", "cutoff": 0, "dsub": 2, "qnorm": False}
    known |= {"retrain": False, "qout": False, "epoch": 5, "lr": 0.1, "thread": 0, "verbose": 2}
    found = _flags(context.args, known)
    _needed(found, "output")
    output = found.pop("output")
    _check_places(output, ".ftz")
    model = compat.load_model(f"{output}.bin")
    model.quantize(**found)
    model.save_model(f"{output}.ftz")


@app.command("test", context_settings=NEGATIVE)
def score(model: ModelFile, file: TextFile, k: Labels = 1, th: Least = 0.0) -> None:
    """Score a model: lines, precision and recall at K."""
    _show_scores(_classifier(model, k).metered(file, k, th), k)


@app.command("test-label", context_settings=NEGATIVE)
def score_labels(model: ModelFile, file: TextFile, k: Labels = 1, th: Least = 0.0) -> None:
    """Score a model label by label."""
    meter = _classifier(model, k).metered(file, k, th)
    for label in meter.labels:
        figures = {
            "F1-Score": meter.f1(label),
            "Precision": meter.precision(label),
            "Recall": meter.recall(label),
        }
        shown = "".join(
            f"{name} : {'--------' if math.isnan(value) else format(value, '.6f')}  "
            for name, value in figures.items()
        )
        typer.echo(f"{shown} {label}")
    _show_scores(meter, k, ".3f")


def _show_scores(meter: Meter, k: int, form: str = ".3g") -> None:
    typer.echo(f"N\t{meter.examples}")
    typer.echo(f"P@{k}\t{meter.precision():{form}}")
    typer.echo(f"R@{k}\t{meter.recall():{form}}")


@app.command(context_settings=NEGATIVE)
def predict(model: ModelFile, file: TextFile, k: Labels = 1, th: Least = 0.0) -> None:
    """Print the K most likely labels of each line."""
    for labels, _ in _predicted(model, file, k, th):
        typer.echo(" ".join(labels))


@app.command("predict-prob", context_settings=NEGATIVE)
def predict_prob(model: ModelFile, file: TextFile, k: Labels = 1, th: Least = 0.0) -> None:
    """Print the K most likely labels of each line, with their probabilities."""
    for labels, probabilities in _predicted(model, file, k, th):
        pairs = zip(labels, probabilities, strict=True)
        typer.echo(" ".join(f"{label} {value:.6g}" for label, value in pairs))


def _predicted(model: Path, file: str, k: int, th: float) -> Iterator[tuple[list[str], Any]]:
    from fasttext_app.interop.label_scores import text_lines

    loaded = _classifier(model, k)
    for lines in text_lines(file):
        yield from zip(*loaded.predict(lines, k, th), strict=True)


@app.command("print-word-vectors")
def print_word_vectors(model: ModelFile) -> None:
    """Print the vector of each word of standard input."""
    from fasttext_app.interop.label_scores import text_lines
    from fasttext_app.interop.word_vectors import numbers_line
    from fasttext_app.text.fasttext_lines import SPACES

    vectors = _load(model).vectors
    for lines in text_lines("-"):
        for word in (word for line in lines for word in SPACES.split(line) if word):
            _say(f"{word} {numbers_line(vectors.word(word))}")


@app.command("print-sentence-vectors")
def print_sentence_vectors(model: ModelFile) -> None:
    """Print the vector of each line of standard input."""
    from fasttext_app.interop.label_scores import text_lines
    from fasttext_app.interop.word_vectors import numbers_line

    vectors = _load(model).vectors
    for lines in text_lines("-"):
        for line in lines:
            typer.echo(numbers_line(vectors.sentence(line)))


@app.command()
def nn(model: ModelFile, k: Count = 10) -> None:
    """Print the K words nearest to each word of standard input."""
    vectors = _load(model).vectors
    for (word,) in _queries("Query word? ", 1):
        for score, name in vectors.nearest(word, k):
            _say(f"{name} {score:.6g}")


@app.command()
def analogies(model: ModelFile, k: Count = 10) -> None:
    """Print the K words nearest to A - B + C, for each three words of standard input."""
    vectors = _load(model).vectors
    for first, second, third in _queries("Query triplet (A - B + C)? ", 3):
        for score, name in vectors.analogies(first, second, third, k):
            _say(f"{name} {score:.6g}")


def _queries(prompt: str, size: int) -> Iterator[list[str]]:
    """Read words of standard input, so many at a time, with a prompt before each."""
    words: list[str] = []
    typer.echo(prompt, nl=False)
    for line in sys.stdin:
        words += line.split()
        while len(words) >= size:
            yield words[:size]
            words = words[size:]
            typer.echo(prompt, nl=False)


def _load(model: Path) -> FastText:
    from fasttext_app import compat

    return compat.load_model(model)


def _classifier(model: Path, k: int) -> FastText:
    if k == 0 or k < -1:
        raise typer.BadParameter("must be at least 1, or -1 for all labels", param_hint="K")
    loaded = _load(model)
    _ = loaded.classifier  # an error for word vectors
    return loaded


def _check_places(output: str, *suffixes: str) -> None:
    """Refuse places where a model could not be saved, before the work of training it."""
    from fasttext_app.errors import ArtifactError

    folder = Path(output).parent
    if not folder.is_dir():
        raise ArtifactError(f"{output}: there is no folder {folder}")
    for place in (Path(output + suffix) for suffix in suffixes):
        if place.exists() and not place.is_file():
            raise ArtifactError(f"{place}: is a folder or a device; choose another -output")


def _say(line: str) -> None:
    """Print a line; bytes that are no UTF-8 come out as they came in."""
    typer.echo(line.encode("utf-8", "surrogateescape"))


def _note(line: str) -> None:
    typer.echo(line, err=True)
