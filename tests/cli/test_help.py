"""The help of every command, usage errors, shell completion, and how much a command says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from fasttext_app.cli.program import COMMANDS, make_app
from fasttext_app.config.schema import Config
from tests.helpers import QUICK

PROGRAM: Any = get_command(make_app())


def all_commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with the words that call it."""
    for name, command in PROGRAM.commands.items():
        yield name, command
        for inner, inner_command in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", inner_command


ALL = dict(all_commands())


@pytest.mark.parametrize("name", ALL)
def test_rich_shows_every_word_of_the_help(name):
    """Rich takes ``[word]`` for markup and drops it."""
    command = ALL[name]
    texts = [command.help, command.epilog, *(getattr(p, "help", "") for p in command.params)]
    for text in filter(None, texts):
        assert Text.from_markup(text).plain == text
    for param in command.params:
        shown = param.show_default
        assert not (isinstance(shown, str) and "[" in shown)


WITHOUT_EXAMPLES = ("ft", "ft skipgram", "ft cbow")  # a group, and commands that only refuse


@pytest.mark.parametrize("name", [name for name in ALL if name not in WITHOUT_EXAMPLES])
def test_every_command_has_examples_that_can_be_parsed(name):
    title, *examples = ALL[name].epilog.splitlines()
    assert title == "Examples:"
    assert examples
    for example in examples:
        assert len(example) <= 78  # no line is broken on a terminal of 80 columns
        call = example.rpartition("| ")[2].partition("< ")[0].strip().removeprefix("fasttext-app ")
        assert call.startswith(name)
        ALL[name].make_context(name, shlex.split(call.removeprefix(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", *COMMANDS, "ft nn", "ft supervised"])
def test_help_fits_the_terminal_and_names_no_python_type(run, name, monkeypatch):
    for width in (80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = run(*name.split(), "--help").stdout
        assert max(map(len, shown.splitlines())) == width
        assert not re.search(r"<\w", shown)
    if name != "ft supervised":
        assert run(*name.split(), "-h").stdout == shown


def test_paragraphs_of_the_help_are_filled(run):
    assert "later ones win. The defaults" in " ".join(run("train", "--help").stdout.split())


def test_the_defaults_that_train_shows_are_those_of_the_config():
    fields = {
        name: default
        for section in Config().model_dump().values()
        for name, default in section.items()
    }
    options = {param.name: param.show_default for param in ALL["train"].params}
    for name in ("epochs", "lr", "dim", "batch_size", "seed", "device", "threads"):
        assert options[name] == str(fields[name]), name
    for name in ("label_column", "errors"):
        assert options[name] == f"the model's, else {fields[name]}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no such command 'trian'; did you mean 'train'? See fasttext-app --help"),
        (["train", "--epoch", 3], "no such option: --epoch; did you mean --epochs? See "),
        (["train", "--lr"], "option '--lr' requires an argument; see fasttext-app train --help"),
        (["train", "--lr", "x"], "--lr: must be a valid number; see fasttext-app train --help"),
        (["predict", "m", "-k", "0"], "--top-k: must be greater than or equal to 1; see "),
        (["predict"], "missing argument 'MODEL'; see fasttext-app predict --help"),
        (["info", "a", "b"], "got unexpected extra argument(s) (b); see fasttext-app info --help"),
        (["ft", "nn"], "missing argument 'MODEL'; see fasttext-app ft nn --help"),
        (["train", "-q", "-v"], "--quiet: cannot be combined with --verbose; see "),
        (["-x"], "no such option: -x; see fasttext-app --help"),
    ],
)
def test_a_usage_error_is_one_line(run, arguments, message):
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


# --- shell completion


def complete(*words: str) -> list[str]:
    """Return what bash is offered for the last of these words."""
    environment = {
        "_FASTTEXT_APP_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("fasttext-app", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(make_app(), [], env=environment, prog_name="fasttext-app")
    return result.stdout.split()


def test_the_shell_completes_commands_options_and_values():
    assert complete("tr") == ["train"]
    assert set(complete("predict", "--to")) == {"--top-k"}
    assert complete("predict", "--format", "pa") == ["parquet"]
    assert complete("train", "--config", "samp") == ["sample"]
    assert complete("ft", "predict-") == ["predict-prob"]


# --- quiet and verbose


@pytest.mark.slow
def test_quiet_leaves_warnings_and_verbose_adds_details(run, tiny_csv, workdir):
    train = ("train", "--data", tiny_csv, *QUICK, "--overwrite", "--output", "model")
    plain, quiet, verbose = run(*train), run(*train, "-q"), run(*train, "-v")
    assert plain.stdout.startswith("saved the model")
    assert (quiet.stdout, quiet.stderr) == ("", "".join(
        line for line in plain.stderr.splitlines(keepends=True)
        if not re.match("training|epoch", line)
    ))  # fmt: skip
    first, *_, last = verbose.stderr.splitlines()
    assert first.startswith("fasttext-app ")
    assert re.fullmatch(r"\d+\.\d\d s, peak memory [\d,]+ MB", last)
    assert "chosen for these data: lr=" in verbose.stderr
    assert run("predict", "model", "the team", "-o", "out.txt", "-q").stderr == ""
    assert "Traceback" in run("predict", "nothing", "the team", "-v", code=1).stderr
    assert "Traceback" not in run("predict", "nothing", "the team", code=1).stderr
