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
    from fasttext_app.compat.model import FastText
    from fasttext_app.fasttext.scoring import Meter


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
        ConfigError: it is one of autotune's.
    """
    from fasttext_app.errors import did_you_mean
    from fasttext_app.fasttext.options import refuse_autotune

    found: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        name = word.removeprefix("-")
        if not word.startswith("-") or name not in known:
            refuse_autotune(name, "-")
            hint = did_you_mean(word, [f"-{flag}" for flag in known])
            raise typer.BadParameter(f"unknown argument: {word}{hint}")
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
    -minCount -minCountLabel -loss -neg -thread -label -pretrainedVectors -seed -saveOutput];
    NAME.bin and NAME.vec are made, and with -saveOutput NAME.output.
    """  # noqa: D205
    from fasttext_app.compat.model import trained
    from fasttext_app.compat.training import train
    from fasttext_app.fasttext.options import DEFAULTS
    from fasttext_app.fasttext.word_vectors import write_outputs, write_vectors

    found = _flags(context.args, {"input": "", "output": "", "saveOutput": False, **DEFAULTS})
    _needed(found, "input", "output")
    source, output = found.pop("input"), found.pop("output")
    save_output = found.pop("saveOutput", False)
    _check_places(output, ".bin", ".vec", *([".output"] if save_output else []))
    model = trained(*train(source, found, mark="-"))
    _note(f"Number of words:  {len(model.words)}")
    _note(f"Number of labels: {len(model.labels)}")
    model.save_model(f"{output}.bin")
    write_vectors(model.vectors, f"{output}.vec")
    if save_output:
        write_outputs(model.classifier.artifact, f"{output}.output")


@app.command(context_settings=FLAGS)
def quantize(context: typer.Context) -> None:
    """Put NAME.bin into product codes: -output NAME [-cutoff N] [-retrain -input FILE -epoch -lr
    -thread] [-qnorm] [-qout] [-dsub N]; NAME.ftz is made.
    """  # noqa: D205
    from fasttext_app.compat import load_model
    from fasttext_app.compat.model import FastText
    from fasttext_app.compat.training import quantized
    from fasttext_app.inference.classifier import TextClassifier

    known = {"input": "", "output": "", "cutoff": 0, "dsub": 2, "qnorm": False, "qout": False}
    known |= {"retrain": False, "epoch": 5, "lr": 0.05, "thread": 0, "verbose": 2}
    found = _flags(context.args, known)
    retrain = found.pop("retrain", False)
    _needed(found, "output", *(["input"] if retrain else []))
    output, source, _ = found.pop("output"), found.pop("input", None), found.pop("verbose", 2)
    _check_places(output, ".ftz")
    before = load_model(f"{output}.bin")
    artifact = quantized(
        before.classifier.artifact,
        source if retrain else None,
        **{"epoch": known["epoch"], "lr": known["lr"], **found},
        mark="-",
    )
    after = FastText(TextClassifier(artifact))
    after.save_model(f"{output}.ftz")
    sizes = [Path(output + suffix).stat().st_size / 1e6 for suffix in (".bin", ".ftz")]
    _note(f"Size: {sizes[0]:,.1f} MB, now {sizes[1]:,.1f} MB")
    if source:
        scores = [model.test(source)[1] for model in (before, after)]
        _note(f"P@1 on {source}: {scores[0]:.3f}, now {scores[1]:.3f}")


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
    from fasttext_app.fasttext.lines import text_lines

    loaded = _classifier(model, k)
    for lines in text_lines(file):
        yield from zip(*loaded.predict(lines, k, th), strict=True)


@app.command("print-word-vectors")
def print_word_vectors(model: ModelFile) -> None:
    """Print the vector of each word of standard input."""
    from fasttext_app.fasttext.lines import text_lines
    from fasttext_app.fasttext.word_vectors import numbers_line
    from fasttext_app.text.fasttext_tokenizer import split_words

    vectors = _load(model).vectors
    for lines in text_lines("-"):
        for word in (word for line in lines for word in split_words(line)):
            _say(f"{word} {numbers_line(vectors.word(word))}")


@app.command("print-sentence-vectors")
def print_sentence_vectors(model: ModelFile) -> None:
    """Print the vector of each line of standard input."""
    from fasttext_app.fasttext.lines import text_lines
    from fasttext_app.fasttext.word_vectors import numbers_line

    vectors = _load(model).vectors
    for lines in text_lines("-"):
        for line in lines:
            typer.echo(numbers_line(vectors.sentence(line)))


@app.command("print-ngrams")
def print_ngrams(
    model: ModelFile, word: Annotated[str, typer.Argument(metavar="WORD", help="Any word.")]
) -> None:
    """Print the vectors of a word and of each of its character n-grams."""
    from fasttext_app.fasttext.word_vectors import numbers_line

    vectors = _load(model).vectors
    for name, row in zip(*vectors.subwords(word), strict=True):
        _say(f"{name} {numbers_line(vectors.rows([row])[0])}")


@app.command()
def dump(
    model: ModelFile,
    option: Annotated[
        str, typer.Argument(metavar="OPTION", help="One of args, dict, input and output.")
    ],
) -> None:
    """Print what a file holds: its settings, its words and labels, or a matrix of numbers."""
    from fasttext_app.fasttext.dump import PARTS, dumped
    from fasttext_app.fasttext.file_format import read_file

    if option not in PARTS:
        raise typer.BadParameter(f"must be one of {', '.join(PARTS)}", param_hint="OPTION")
    for line in dumped(read_file(model), option):
        _say(line)


@app.command(context_settings=FLAGS)
def skipgram(context: typer.Context) -> None:
    """Not here: this program trains classifiers."""
    _refuse_vectors("skipgram")


@app.command(context_settings=FLAGS)
def cbow(context: typer.Context) -> None:
    """Not here: this program trains classifiers."""
    _refuse_vectors("cbow")


def _refuse_vectors(command: str) -> None:
    from fasttext_app.errors import ConfigError

    raise ConfigError(
        f"{command}: this program trains classifiers; train word vectors with the original, whose "
        "files `ft nn`, `ft print-word-vectors` and model.pretrained read"
    )


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
