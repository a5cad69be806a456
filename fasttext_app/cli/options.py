"""Options that several commands share, the data settings they make, and checks of arguments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, BadParameter, Option

from fasttext_app.cli import messages
from fasttext_app.cli.messages import RUNNING
from fasttext_app.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fasttext_app.config.loading import Layer
    from fasttext_app.config.schema import Config, DataConfig
    from fasttext_app.data.bad_rows import BadRows
    from fasttext_app.data.source import Batches, Source
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.predictor import Predictor

STDIN = ["-"]
SPEC_HELP = (
    "ag_news, sample, a file, a folder, 'a/*.csv', 'a/{split}.csv', a hub id (owner/name), or '-': "
    "standard input; repeatable."
)

READING, SETTINGS = "Reading data", "Settings"
"""Panels of options in ``--help``."""


def complete(*words: str) -> Callable[[str], list[str]]:
    """Return a function that completes a value in the shell."""

    def matching(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return matching


def _complete_config(incomplete: str) -> list[str]:
    from fasttext_app.config.resources import config_names

    return complete(*config_names())(incomplete)


_data = partial(Option, "--data", "-d", metavar="SPEC")
_input = partial(
    Option,
    "--input",
    "-i",
    metavar="PATH",
    help="Texts (a column, or lines): a file, a folder, 'a/*.csv', or '-': standard input; "
    "repeatable.",
)
_reading = partial(Option, rich_help_panel=READING)
_running = partial(Option, rich_help_panel=RUNNING)
_split = partial(_reading, metavar="NAME")

ModelArgument = Annotated[
    Path,
    Argument(
        metavar="MODEL",
        help="Model directory, fastText .bin or .ftz file, or a hub id: owner/name, "
        "owner/name@revision.",
    ),
]
TextsArgument = Annotated[
    list[str] | None, Argument(metavar="TEXT", help="Texts; '-': lines of standard input.")
]
ConfigOption = Annotated[
    str | None,
    Option(
        "--config",
        "-c",
        metavar="FILE|NAME",
        help="TOML file, or a shipped config: ag_news, sample, ...",
        autocompletion=_complete_config,
    ),
]
DataOption = Annotated[list[str] | None, _data(help=SPEC_HELP)]
ScoredDataOption = Annotated[
    list[str] | None, _data(help="Labeled data, as for train.", show_default="the model's own data")
]
SplitOption = Annotated[str | None, _split(help="Split to score.", show_default="test")]
InputOption = Annotated[list[str] | None, _input()]
RequiredInputOption = Annotated[list[str], _input()]
TextColumnsOption = Annotated[
    list[str] | None,
    _reading(
        "--text-column",
        metavar="NAME",
        help="Text column; repeat to join several.",
        show_default="the model's, else text",
    ),
]
LabelColumnOption = Annotated[
    list[str] | None,
    _reading(
        "--label-column",
        metavar="NAME",
        help="Label column; repeat for columns of 0 and 1, one for each label.",
        show_default="the model's, else label",
    ),
]
ErrorsOption = Annotated[
    str | None,
    _reading(
        metavar="strict|replace",
        autocompletion=complete("strict", "replace"),
        help="Reject bad bytes and missing texts, or replace them.",
        show_default="the model's, else strict",
    ),
]
DelimiterOption = Annotated[
    str | None,
    _reading(
        metavar="CHAR|tab", help="Delimiter of CSV files.", show_default="guessed by the header"
    ),
]
EncodingOption = Annotated[
    str | None,
    _reading(
        metavar="NAME",
        help="Encoding of text files: cp1252, utf-16, shift_jis, ...",
        show_default="utf-8",
    ),
]
SkipBadOption = Annotated[
    bool, _reading("--skip-bad", help="Skip rows that cannot be read; count and list them.")
]
ValidationOption = Annotated[
    str | None,
    Option(
        "--validation",
        metavar="SPEC|SPLIT|FRACTION",
        help="Validation rows: a file, a split of the data, or a fraction of the training rows.",
        show_default="the split validation, else 0.1",
    ),
]
SetOption = Annotated[
    list[str] | None,
    _reading("--set", "-s", metavar="data.KEY=VALUE", help="Any other data setting; repeatable."),
]
AnySetOption = Annotated[
    list[str] | None,
    Option(
        "--set",
        "-s",
        metavar="SECTION.KEY=VALUE",
        help="Any other setting; repeatable.",
        rich_help_panel=SETTINGS,
    ),
]
_device = partial(
    _running,
    "--device",
    metavar="auto|cpu|cuda[:i]",
    help="Device to compute on.",
    autocompletion=complete("auto", "cpu", "cuda"),
)
_threads = partial(_running, "--threads", metavar="N", min=0, help="Threads; 0: one per core.")
DeviceOption = Annotated[str, _device()]
ThreadsOption = Annotated[int, _threads()]
TrainDeviceOption = Annotated[str | None, _device(show_default="auto")]
TrainThreadsOption = Annotated[int | None, _threads(show_default="0")]
AllOption = Annotated[
    bool, Option("--all", help="Show whole tables, not only as much as fits on a screen.")
]
JsonOption = Annotated[bool, Option("--json", help="Print the result as one JSON object.")]


@dataclass(frozen=True)
class Reading:
    """How rows are read, as given on the command line; None leaves a setting as it is."""

    text_columns: list[str] | None = None
    label_columns: list[str] | None = None
    errors: str | None = None
    settings: list[str] | None = None
    """``--set`` assignments."""
    delimiter: str | None = None
    encoding: str | None = None
    skip_bad: bool = False
    keep: list[str] | None = None
    """Names of columns to copy, separated by commas; or ``all``."""
    nulls: str | None = None

    @cached_property
    def bad_rows(self) -> BadRows:
        """The rows that were skipped."""
        from fasttext_app.data.bad_rows import BadRows

        return BadRows()

    def layer(self, sources: Sequence[str] | None, validation: str | None = None) -> Layer:
        """Return the ``data`` settings of the flags, without ``--set``."""
        options = {
            "source": sources[0] if sources and len(sources) == 1 else sources or None,
            "text_columns": self.text_columns or None,
            "errors": self.errors,
            "nulls": self.nulls,
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "skip_bad": self.skip_bad or None,
            "validation": None if validation is None else _number_or_name(validation),
        }
        if self.label_columns and len(self.label_columns) == 1:
            options |= {"label_column": self.label_columns[0], "label_columns": ()}
        elif self.label_columns:
            options["label_columns"] = self.label_columns
        if self.keep is not None:
            names = column_names(self.keep)
            options["keep"] = "all" if names == ["all"] else names
        return {"data": {key: value for key, value in options.items() if value is not None}}

    def config_for(self, model: Predictor, sources: Sequence[str] | None) -> Config:
        """Return the config of a model with these ``data`` settings on top.

        Raises:
            ConfigError: a setting is invalid, or ``--set`` names another section than ``data``.
        """
        from fasttext_app.config.loading import resolve
        from fasttext_app.config.schema import FILE_SETTINGS

        layers = [parse_section("data", self.settings), self.layer(sources)]
        if not any(layer.get("data") for layer in layers):
            return model.config
        own = {} if sources is None else {"data": FILE_SETTINGS}
        return resolve(model.config.model_dump(), own, *layers)

    def report_skipped(self) -> None:
        """Print how many rows were skipped, and the problems of the first ones."""
        if "bad_rows" in vars(self):  # rows were read
            report_skipped(self.bad_rows.count, self.bad_rows.problems)


def column_names(groups: Iterable[str]) -> list[str]:
    """Return the names in groups that are separated by commas, each once.

    >>> column_names(["id,url", "id"])
    ['id', 'url']
    """
    return list(dict.fromkeys(name for group in groups for name in group.split(",")))


def resolved_config(
    reading: Reading,
    config_file: str | None,
    settings: list[str] | None,
    data: list[str] | None,
    validation: str | None = None,
    **trainer: Any,
) -> Config:
    """Return the settings of ``--config``, ``--set`` and flags, later ones over earlier ones.

    Args:
        reading: the flags of the data.
        config_file: ``--config``.
        settings: ``--set``.
        data: ``--data``.
        validation: ``--validation``.
        trainer: other flags, by their setting; None: not given.

    Raises:
        ConfigError: a setting is unknown or invalid, or settings cannot be combined.
    """
    from fasttext_app.config.loading import flat_layer, load_config_file, parse_assignments, resolve

    return resolve(
        {} if config_file is None else load_config_file(config_file),
        parse_assignments(settings or []),
        reading.layer(data, validation),
        flat_layer({name: value for name, value in trainer.items() if value is not None}),
    )


def report_skipped(count: int, problems: Sequence[str]) -> None:
    """Print how many rows were skipped, and the problems of the first ones."""
    if count:
        messages.say(f"skipped {count:,} bad row{'s' * (count != 1)}:")
        more = [f"and {count - len(problems):,} more"] if count > len(problems) else []
        for line in (*problems, *more):
            messages.say(f"  {line}")


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def parse_section(section: str, assignments: list[str] | None) -> Layer:
    """Parse ``--set`` assignments that may name one section only.

    Raises:
        ConfigError: an assignment is malformed, or names another section.
    """
    from fasttext_app.config.loading import parse_assignments

    layer = parse_assignments(assignments or [])
    for name in layer:
        if name != section:
            raise ConfigError(f"--set {name}...: only {section}.* can be set here")
    return layer


@dataclass(frozen=True)
class ScoredRows:
    """The rows to score a model on."""

    source: Source
    split: str
    config: DataConfig
    """How their labels are read."""

    def scan(self) -> Batches:
        """Read the rows from the start."""
        return self.source.scan(self.split)


def scored_rows(
    model: Predictor, data: Sequence[str] | None, split: str | None, reading: Reading
) -> ScoredRows:
    """Open the rows to score a model on.

    Args:
        model: the model; its data settings hold unless an option overrides them.
        data: the SPECs; None: the data the model was trained on.
        split: the split; None: the test split.
        reading: how rows are read.

    Raises:
        DataError: there is no such data, the model was trained on it, or a stranger's model names
            it and the user does not agree.
    """
    from fasttext_app.data.spec import open_source

    config = reading.config_for(model, data).data
    if data is None and config.source == model.config.data.source:
        ask_to_read(model)
    source = open_source(config, bad_rows=reading.bad_rows)
    if source.single and data is None:
        raise DataError(
            f"{source.spec}: the model was trained on this very data; pass --data SPEC to score it "
            "on other rows"
        )
    return ScoredRows(source, split or config.test_split, config)


def ask_to_read(model: Predictor) -> None:
    """Ask before data is read that only the model names, if the machine has not trained on it.

    Raises:
        DataError: the user does not agree.
    """
    from fasttext_app.data.named_files import named, unknown

    sources = named(model.config)["data", "source"]
    for spec in unknown(sources, model.artifact.data.get("files")):
        if not messages.agreed(f"The model names {spec} as its data; read it?"):
            raise DataError(
                f"{spec}: only the model names this as its data, and it is not what the machine "
                "trained on; pass --data SPEC, or --yes to read it"
            )


def load_model(path: Path, *, device: str = "cpu", threads: int = 0) -> TextClassifier:
    """Load a model ready to predict; its tokenizer runs a package only with ``--yes``."""
    from fasttext_app.inference.load import load_classifier

    return load_classifier(path, device=device, threads=threads, packages=messages.says_yes)


def texts_or_input(
    texts: list[str] | None, inputs: list[str] | None
) -> tuple[list[str] | None, list[str] | None]:
    """Return texts or the files to read them from; the one text ``-`` is standard input.

    Raises:
        typer.BadParameter: there are both, or a text is the path of a file.
    """
    if texts == STDIN and not inputs:
        return None, STDIN
    for text in texts or []:
        _refuse_file_as_text(text)
    if texts and inputs:
        raise BadParameter("give texts or --input, not both", param_hint="TEXT")
    return texts, inputs or None


def _refuse_file_as_text(text: str) -> None:
    """Refuse a text that is the path of a file; a file named by a plain word is not taken for one.

    Raises:
        typer.BadParameter: it is.
    """
    if ("." in text or "/" in text) and os.path.isfile(text):  # noqa: PTH113 - takes any text
        import shlex

        raise BadParameter(
            f"{text} is a file; did you mean --input {shlex.quote(text)}?", param_hint="TEXT"
        )


def decode_arguments(texts: list[str], errors: str = "strict") -> list[str]:
    """Return texts of the command line without the surrogates of bytes that are not UTF-8.

    Raises:
        DataError: a text has such bytes, and ``errors`` is not ``replace``.
    """
    if errors == "replace":
        return [text.encode(errors="surrogateescape").decode(errors="replace") for text in texts]
    for number, text in enumerate(texts, start=1):
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise DataError(f"text {number} of the command line is not UTF-8; pass it as UTF-8")
    return texts


def check_choice(value: str | None, choices: Iterable[str], option: str) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        typer.BadParameter: it is not.
    """
    if value is not None and value not in choices:
        raise BadParameter(f"{value!r} is not one of {', '.join(choices)}", param_hint=option)


def parse_threshold(text: str | None) -> float | str:
    """Return the value of ``--threshold``: a number, or ``fitted``.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text is None or text == "fitted":
        return text or 0.0
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise BadParameter(
            f"{text!r} is neither a number from 0 to 1 nor 'fitted'", param_hint="--threshold"
        )
    return threshold


def parse_share(text: str, option: str) -> float:
    """Return a share: ``10%`` or ``0.1``.

    Raises:
        typer.BadParameter: it is none.
    """
    match = re.fullmatch(r"(\d*\.?\d+)(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise BadParameter(
            f"{text!r} is not a share above 0 and up to 1, such as 10% or 0.1", param_hint=option
        )
    return share


def size_on_disk(model: Path) -> int:
    """Return the bytes of a model directory or file, or of the download of a model of the hub."""
    from fasttext_app.hub import local_model

    path = local_model(model)
    files = [path] if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files)


def print_json(document: Any) -> None:
    """Print one JSON object on stdout."""
    messages.result(json.dumps(document, ensure_ascii=False))
