"""``fasttext-app ft``: the original's commands, with its flags and its output.

fasttext supervised -input train.txt -output model -lr 0.5
fasttext-app ft supervised -input train.txt -output model -lr 0.5
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttext_app.cli import messages

if TYPE_CHECKING:
    from fasttext_app.compat.model import FastText
    from fasttext_app.fasttext.scoring import Meter


app = typer.Typer(
    name="ft",
    help="The commands of the original fastText, for .bin and .ftz files.",
    no_args_is_help=True,
)
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="A .bin or .ftz file.")]
TextFile = Annotated[str, typer.Argument(metavar="FILE", help="Lines; '-': standard input.")]
Neighbors = Annotated[int, typer.Argument(metavar="K", min=1, help="Words to print.")]
Labels = Annotated[int, typer.Argument(metavar="K", help="Labels for each line; -1: all.")]
Threshold = Annotated[
    float, typer.Argument(metavar="TH", min=0, max=1, help="Leave out less likely labels.")
]
SINGLE_DASH_FLAGS: dict[str, Any] = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "help_option_names": ["--help"],  # -h would be found in -thread
}
FILE_FLAGS: dict[str, Any] = {"input": "", "output": "", "saveOutput": False}
QUANTIZE_FLAGS = {"cutoff": 0, "retrain": False, "qnorm": False, "qout": False, "dsub": 2}
"""Flags beside the options of training, each with a default of the type of its value."""
NEGATIVE_NUMBERS = {"ignore_unknown_options": True}  # else -1 would be an unknown option


@app.command(context_settings=SINGLE_DASH_FLAGS)
def supervised(context: typer.Context) -> None:
    """Train a classifier: -input FILE -output NAME [-lr -dim -epoch -wordNgrams -minn -maxn -bucket
    -minCount -minCountLabel -loss -neg -thread -label -pretrainedVectors -seed -saveOutput].
    Writes NAME.bin and NAME.vec, and with -saveOutput NAME.output.

    Examples:
        fasttext-app ft supervised -input train.txt -output model -lr 0.5
    """  # noqa: D205
    from fasttext_app.compat.training import train
    from fasttext_app.fasttext.options import DEFAULTS
    from fasttext_app.fasttext.word_vectors import write_output_vectors, write_vectors

    flags = _parse_flags(context.args)
    _require(flags, "input", "output")
    path, output = flags.pop("input"), flags.pop("output")
    save_output = flags.pop("saveOutput", False)
    flags = _only(flags, DEFAULTS, "ft quantize")
    _check_writable(output, ".bin", ".vec", *([".output"] if save_output else []))
    model = train(path, flags, dash="-")
    _note(f"Number of words:  {len(model.words)}")
    _note(f"Number of labels: {len(model.labels)}")
    model.save_model(f"{output}.bin")
    write_vectors(model.vectors, f"{output}.vec")
    if save_output:
        write_output_vectors(model.classifier.artifact, f"{output}.output")


@app.command("quantize", context_settings=SINGLE_DASH_FLAGS)
def quantize_file(context: typer.Context) -> None:
    """Quantize NAME.bin into product codes: -output NAME [-cutoff N] [-retrain -input FILE -epoch
    -lr -thread] [-qnorm] [-qout] [-dsub N]. Writes NAME.ftz.

    Examples:
        fasttext-app ft quantize -output model
        fasttext-app ft quantize -output model -qnorm -retrain -input train.txt
    """  # noqa: D205
    from fasttext_app.compat.model import FastText
    from fasttext_app.compat.quantize import DEFAULT_LR, quantize
    from fasttext_app.inference.classifier import TextClassifier

    flags = _parse_flags(context.args)
    retrain = flags.pop("retrain", False)
    _require(flags, "output", *(["input"] if retrain else []))
    path, output = flags.pop("input", ""), flags.pop("output")
    defaults = {"epoch": 5, "lr": DEFAULT_LR, "thread": 0}
    flags = defaults | _only(flags, [*QUANTIZE_FLAGS, *defaults], "ft supervised")
    _check_writable(output, ".ftz")
    model = _load_model(Path(f"{output}.bin"))
    artifact = quantize(model.classifier.artifact, path if retrain else None, **flags, dash="-")
    quantized = FastText.from_classifier(TextClassifier(artifact))
    quantized.save_model(f"{output}.ftz")
    before, after = (Path(output + suffix).stat().st_size / 1e6 for suffix in (".bin", ".ftz"))
    _note(f"Size: {before:,.1f} MB, now {after:,.1f} MB")
    if path:
        before, after = model.test(path)[1], quantized.test(path)[1]
        _note(f"P@1 on {path}: {before:.3f}, now {after:.3f}")


@app.command("test", context_settings=NEGATIVE_NUMBERS)
def evaluate(model: ModelFile, file: TextFile, k: Labels = 1, th: Threshold = 0.0) -> None:
    """Print the number of labeled lines, and precision and recall at K.

    Examples:
        fasttext-app ft test model.bin test.txt
        fasttext-app ft test model.bin test.txt 5
    """
    _print_scores(_load_classifier(model, k).measure(file, k, th), k)


@app.command("test-label", context_settings=NEGATIVE_NUMBERS)
def evaluate_labels(model: ModelFile, file: TextFile, k: Labels = 1, th: Threshold = 0.0) -> None:
    """Print the F1 score, precision and recall of each label, then the scores of `test`.

    Examples:
        fasttext-app ft test-label model.bin test.txt
    """
    meter = _load_classifier(model, k).measure(file, k, th)
    for label in meter.labels:
        scores = {
            "F1-Score": meter.f1(label),
            "Precision": meter.precision(label),
            "Recall": meter.recall(label),
        }
        columns = "".join(
            f"{name} : {'--------' if math.isnan(score) else format(score, '.6f')}  "
            for name, score in scores.items()
        )
        _print(f"{columns} {label}")
    _print_scores(meter, k, ".3f")


def _print_scores(meter: Meter, k: int, number_format: str = ".3g") -> None:
    _print(f"N\t{meter.examples}")
    _print(f"P@{k}\t{meter.precision():{number_format}}")
    _print(f"R@{k}\t{meter.recall():{number_format}}")


@app.command(context_settings=NEGATIVE_NUMBERS)
def predict(model: ModelFile, file: TextFile, k: Labels = 1, th: Threshold = 0.0) -> None:
    """Print the K most likely labels of each line.

    Examples:
        fasttext-app ft predict model.bin lines.txt
        fasttext-app ft predict model.bin - 3 < lines.txt
    """
    for labels, _ in _predictions(model, file, k, th):
        _print(" ".join(labels))


@app.command("predict-prob", context_settings=NEGATIVE_NUMBERS)
def predict_prob(model: ModelFile, file: TextFile, k: Labels = 1, th: Threshold = 0.0) -> None:
    """Print the K most likely labels of each line, with their probabilities.

    Examples:
        fasttext-app ft predict-prob model.bin lines.txt
        fasttext-app ft predict-prob model.bin lines.txt -1 0.5
    """
    for labels, probabilities in _predictions(model, file, k, th):
        pairs = zip(labels, probabilities, strict=True)
        _print(" ".join(f"{label} {probability:.6g}" for label, probability in pairs))


def _predictions(model: Path, file: str, k: int, th: float) -> Iterator[tuple[list[str], Any]]:
    """Yield the labels and probabilities of each line."""
    from fasttext_app.fasttext.lines import text_lines

    classifier = _load_classifier(model, k)
    for lines in text_lines(file):
        yield from zip(*classifier.predict(lines, k, th), strict=True)


@app.command("print-word-vectors")
def print_word_vectors(model: ModelFile) -> None:
    """Print the vector of each word of standard input.

    Examples:
        fasttext-app ft print-word-vectors model.bin < words.txt
    """
    from fasttext_app.fasttext.lines import text_lines
    from fasttext_app.fasttext.word_vectors import vector_line
    from fasttext_app.text.fasttext_tokenizer import split_words

    vectors = _load_model(model).vectors
    for lines in text_lines("-"):
        for line in lines:
            for word in split_words(line):
                _print(f"{word} {vector_line(vectors.word(word))}")


@app.command("print-sentence-vectors")
def print_sentence_vectors(model: ModelFile) -> None:
    """Print the vector of each line of standard input.

    Examples:
        fasttext-app ft print-sentence-vectors model.bin < lines.txt
    """
    from fasttext_app.fasttext.lines import text_lines
    from fasttext_app.fasttext.word_vectors import vector_line

    vectors = _load_model(model).vectors
    for lines in text_lines("-"):
        for line in lines:
            _print(vector_line(vectors.sentence(line)))


@app.command("print-ngrams")
def print_ngrams(
    model: ModelFile, word: Annotated[str, typer.Argument(metavar="WORD", help="Any word.")]
) -> None:
    """Print the rows of a word and of each of its character n-grams.

    Examples:
        fasttext-app ft print-ngrams model.bin where
    """
    from fasttext_app.fasttext.word_vectors import vector_line

    vectors = _load_model(model).vectors
    for name, row in zip(*vectors.subwords(word), strict=True):
        _print(f"{name} {vector_line(vectors.rows([row])[0])}")


@app.command()
def dump(
    model: ModelFile,
    option: Annotated[
        str, typer.Argument(metavar="OPTION", help="One of args, dict, input and output.")
    ],
) -> None:
    """Print a part of a model file: its args, its dictionary, or a matrix.

    Examples:
        fasttext-app ft dump model.bin args
        fasttext-app ft dump model.bin dict
    """
    from fasttext_app.fasttext.dump import PARTS, dump_lines
    from fasttext_app.fasttext.file_format import read_file

    if option not in PARTS:
        raise typer.BadParameter(f"must be one of {', '.join(PARTS)}", param_hint="OPTION")
    for line in dump_lines(read_file(model), option):
        _print(line)


@app.command(context_settings=SINGLE_DASH_FLAGS)
def skipgram(context: typer.Context) -> None:
    """Not supported: this program trains classifiers only."""
    _refuse_word_vectors("skipgram")


@app.command(context_settings=SINGLE_DASH_FLAGS)
def cbow(context: typer.Context) -> None:
    """Not supported: this program trains classifiers only."""
    _refuse_word_vectors("cbow")


def _refuse_word_vectors(command: str) -> None:
    from fasttext_app.errors import ConfigError

    raise ConfigError(
        f"{command}: this program trains classifiers only; train word vectors with the original, "
        "and read its file with `ft nn`, `ft print-word-vectors` or model.pretrained"
    )


@app.command()
def nn(model: ModelFile, k: Neighbors = 10) -> None:
    """Print the K words nearest to each word of standard input.

    Examples:
        fasttext-app ft nn model.bin
        fasttext-app ft nn model.bin 5 < words.txt
    """
    vectors = _load_model(model).vectors
    for (word,) in _queries("Query word? ", 1):
        for similarity, neighbor in vectors.nearest(word, k):
            _print(f"{neighbor} {similarity:.6g}")


@app.command()
def analogies(model: ModelFile, k: Neighbors = 10) -> None:
    """Print the K words nearest to A - B + C, for every three words of standard input.

    Examples:
        fasttext-app ft analogies model.bin
    """
    vectors = _load_model(model).vectors
    for a, b, c in _queries("Query triplet (A - B + C)? ", 3):
        for similarity, neighbor in vectors.analogies(a, b, c, k):
            _print(f"{neighbor} {similarity:.6g}")


def _queries(prompt: str, size: int) -> Iterator[list[str]]:
    """Yield the words of standard input in groups of ``size``, with a prompt before each."""
    words: list[str] = []
    _print(prompt, end="")
    for line in sys.stdin.buffer:  # a word may have any bytes
        words += line.decode("utf-8", "surrogateescape").split()
        while len(words) >= size:
            yield words[:size]
            words = words[size:]
            _print(prompt, end="")


def _parse_flags(arguments: list[str]) -> dict[str, Any]:
    """Parse the flags of `supervised` and `quantize`: ``-name value``, or ``-name`` alone.

    Args:
        arguments: the words of the command line.

    Raises:
        typer.BadParameter: a flag is unknown, or its value is missing or of another type.
        ConfigError: a flag belongs to autotune.
    """
    from fasttext_app.errors import did_you_mean
    from fasttext_app.fasttext.options import DEFAULTS, refuse_autotune

    defaults = {**FILE_FLAGS, **QUANTIZE_FLAGS, **DEFAULTS}
    flags: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        name = word.removeprefix("-")
        if not word.startswith("-") or name not in defaults:
            refuse_autotune(name, "-")
            hint = did_you_mean(word, [f"-{flag}" for flag in defaults])
            raise typer.BadParameter(f"unknown argument: {word}{hint}")
        if isinstance(defaults[name], bool):
            flags[name] = True
            continue
        value = next(words, None)
        if value is None:
            raise typer.BadParameter(f"{word} is missing an argument")
        try:
            flags[name] = type(defaults[name])(value)
        except ValueError:
            raise typer.BadParameter(f"{word}: {value!r} is not a number") from None
    return flags


def _only(flags: dict[str, Any], used: Collection[str], command: str) -> dict[str, Any]:
    """Return the flags that a command uses; note the others, which another command uses.

    The original accepts all flags with each of its commands.
    """
    unused = [name for name in flags if name not in {*used, "verbose"}]
    if unused:
        _note(f"without effect here: {', '.join(f'-{name}' for name in unused)} (see {command})")
    return {name: value for name, value in flags.items() if name in used}


def _require(flags: dict[str, Any], *names: str) -> None:
    missing = [f"-{name}" for name in names if not flags.get(name)]
    if missing:
        raise typer.BadParameter(f"empty input or output path: give {' and '.join(missing)}")


def _check_writable(output: str, *suffixes: str) -> None:
    """Raise if a file could not be written, before the work of training."""
    from fasttext_app.errors import ArtifactError

    folder = Path(output).parent
    if not folder.is_dir():
        raise ArtifactError(f"{output}: there is no folder {folder}")
    for path in (Path(output + suffix) for suffix in suffixes):
        if path.exists() and not path.is_file():
            raise ArtifactError(f"{path}: is a folder or a device; choose another -output")


def _load_model(path: Path) -> FastText:
    from fasttext_app import compat

    return compat.load_model(path)


def _load_classifier(path: Path, k: int) -> FastText:
    if k == 0 or k < -1:
        raise typer.BadParameter("must be at least 1, or -1 for all labels", param_hint="K")
    model = _load_model(path)
    _ = model.classifier  # raises if the file holds word vectors
    return model


def _print(line: str, end: str = "\n") -> None:
    """Print a line; bytes that are not UTF-8 leave as they came."""
    typer.echo(f"{line}{end}".encode("utf-8", "surrogateescape"), nl=False)


def _note(line: str) -> None:
    messages.say(line)
