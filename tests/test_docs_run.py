"""Every code block of the README and of the documents runs, in the order of its page.

The blocks run in this process, on a few rows: ``sample`` and ``ag_news`` are cut down, and the
files that a document takes for the reader's own are made here. The README names only files of a
clone.
"""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

import fasttext_app as ft
from fasttext_app.config.loading import resolve
from fasttext_app.tuning.space import SearchSpace
from tests.helpers import NODE, NODE_MODULES, ROOT, installs_undone, run_cli
from tests.hub_server import TOKEN, HubServer, hub_in_place
from tests.serve.conftest import make_service

pytestmark = pytest.mark.slow

GENERATED = ("api.md", "configuration.md", "how_it_works.md")  # tested by test_docs.py and doctest
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED),
    ROOT / "data" / "sample" / "README.md",
    ROOT / "data" / "langid" / "README.md",
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)

NOT_RUN = (
    *("make setup", "source ", "pip install"),  # the installation itself
    *("python scripts/bench_", "python scripts/build_"),  # minutes, or the network
    *("python scripts/kill_and_resume.py", "python scripts/compare_threads.py"),  # minutes
    *(
        "npm ",
        "docker ",
        "cp ",
        "python -m http.server",
        "python docs/examples/browser/",
    ),  # tests/onnx
    "python docs/examples/scoring/",  # tests/scoring
    *("torchrun ", "cmp "),  # tests/training/test_sharded.py
)
ADDRESS = "http://127.0.0.1:8000"
SERVICES: list[TestClient] = []
"""The service that a page has started."""
FINISHED = "the run is finished"  # what --resume says of a run that was not interrupted

NEWS = {
    "World": "minister election treaty president",
    "Sports": "goal cup team coach",
    "Business": "shares profit bank oil",
    "Sci/Tech": "software nasa chip internet",
}
TICKETS = {"login": "password access", "shipping": "parcel late", "refund": "money back"}
TEXTS = [f"{word} and {other}" for words in TICKETS.values() for word in words.split()
         for other in words.split()]  # fmt: skip
LABELS = [name for name, words in TICKETS.items() for _ in range(len(words.split()) ** 2)]


# --- the rows


def write_csv(path: str, columns: dict[str, list[str]], times: int = 5) -> None:
    """Write a CSV file whose rows are repeated, each time with a word more."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for number in range(times):
            for row in zip(*columns.values(), strict=True):
                writer.writerow([row[0] + f" word{number}", *row[1:]])


def write_lines(path: str, prefix: str = "__label__") -> None:
    """Write the tickets as fastText text."""
    lines = (f"{prefix}{label} {text}\n" for text, label in zip(TEXTS, LABELS, strict=True))
    Path(path).write_text("".join(lines) * 3)


def write_news(split: str) -> None:
    """Write rows as in the files of AG_NEWS, of which some are hard."""
    rows = []
    for number in range(120):
        names = list(NEWS)
        words = [NEWS[names[(number + step) % 4]].split() for step in (0, 0, 0, number % 3)]
        text = " ".join(choice[(number // 4 + step) % 4] for step, choice in enumerate(words))
        rows.append((number % 4 + 1, text, f"{text} today {number}"))
    with Path("ag_news", f"{split}.csv").open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)


def cut(folder: Path, target: Path, rows: int) -> None:
    """Copy the first rows of each CSV file of a folder."""
    target.mkdir(parents=True)
    for path in folder.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            records = [record for record, _ in zip(csv.reader(file), range(rows), strict=False)]
        with (target / path.name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(records)


def files_for_calibration() -> None:
    """Write rows for the model of ag_news."""
    news = [(word, name) for name, words in NEWS.items() for word in words.split()]
    labels = ["World" if number % 5 == 0 else name for number, (_, name) in enumerate(news)]
    write_csv("held_out.csv", {"text": [word for word, _ in news], "label": labels})


def files_for_data() -> None:
    """Write tickets with one label or two, and reviews."""
    several = [f"{label}|billing" if number % 2 else label for number, label in enumerate(LABELS)]
    for name in ("tickets.csv", "more.csv"):
        write_csv(name, {"text": TEXTS, "label": several})
    write_csv("reviews.csv", {"title": TEXTS, "body": TEXTS, "topic": LABELS})


def files_for_fasttext() -> None:
    """Write lines, and a model file."""
    for name in ("train.txt", "test.txt"):
        write_lines(name)
    Path("lines.txt").write_text("\n".join(TEXTS) + "\n")
    run_cli("ft", "supervised", "-input", "train.txt", "-output", "model", "-dim", "4")


def files_for_imbalance() -> None:
    """Write rows with weights, and rows with soft labels."""
    labels = ["spam" if label == "login" else "ham" for label in LABELS]
    write_csv("mail.csv", {"text": TEXTS, "label": labels, "votes": ["2"] * len(labels)})
    soft = ["spam=0.7|ham=0.3" if label == "spam" else "ham=1" for label in labels]
    write_csv("annotated.csv", {"text": TEXTS, "label": soft})


def files_for_langid() -> None:
    """Cut the data set that the script of the page builds."""
    cut(ROOT / "data" / "langid", Path("langid"), 200)


def files_for_losses() -> None:
    """Write rows of more than a thousand labels."""
    numbers = [str(number) for number in range(1100)]
    write_csv("tags.csv", {"text": [f"word{n} text" for n in numbers], "label": numbers}, 2)


def files_for_plots() -> None:
    """Train the two models that are compared."""
    for name in ("small", "large"):
        run_cli("train", "--config", "sample", "--epochs", "2", "--output", f"models/{name}")


def files_for_training() -> None:
    """Write rows and vectors."""
    for name in ("new.csv", "train.csv", "reviews/train.csv"):
        write_csv(name, {"text": TEXTS, "label": LABELS})
    Path("vectors.vec").write_text("1 300\nparcel " + "0.1 " * 300 + "\n")
    write_table()


def files_for_scale() -> None:
    """Train the model that scores."""
    write_csv("tickets.csv", {"text": TEXTS, "label": LABELS})
    run_cli("train", "-d", "tickets.csv", "--epochs", "2", "--output", "models/tickets")
    Path("pages").mkdir()
    for number in range(2):
        pages = {"id": list(range(len(TEXTS))), "url": TEXTS, "text": [*TEXTS[1:], None]}
        pq.write_table(pa.table(pages), f"pages/{number}.parquet")


def write_table() -> None:
    """Write a table of model2vec."""
    model2vec, tokenizers = pytest.importorskip("model2vec"), pytest.importorskip("tokenizers")
    ids = {"[UNK]": 0, "parcel": 1, "money": 2, "game": 3, "library": 4}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, "[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    table = model2vec.StaticModel(np.ones((len(ids), 256), np.float32), tokenizer)
    table.save_pretrained("potion-base-8M")


PREPARE: dict[str, Callable[[], None]] = {
    "calibration.md": files_for_calibration,
    "data.md": files_for_data,
    "fasttext.md": files_for_fasttext,
    "imbalance.md": files_for_imbalance,
    "language_identification.md": files_for_langid,
    "losses.md": files_for_losses,
    "plots.md": files_for_plots,
    "scale.md": files_for_scale,
    "scikit_learn.md": write_table,
    "training.md": files_for_training,
}


def names_for(page: Path) -> dict[str, Any]:
    """Return what the Python of a document takes for given; the README's takes nothing."""
    if page.name == "README.md":
        return {}
    names: dict[str, Any] = {"ft": ft, "texts": TEXTS * 5, "labels": LABELS * 5}
    if page.name == "data.md":
        import pandas as pd

        names["df"] = pd.DataFrame({"body": TEXTS, "topic": LABELS, "title": TEXTS})
        names["model"] = ft.train(names["df"], text=["title", "body"], label="topic", epochs=1)
    return names


# --- a small shell


def commands(block: str) -> Iterator[str]:
    """Yield the commands of a block, those after ``$`` if there are any."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    shown = [line[2:] for line in lines if line.startswith("$ ")]
    yield from (line for line in shown or lines if line.strip() and not line.startswith("#"))


class Output(NamedTuple):
    """What a command prints: to standard output, and to both outputs as a terminal shows it."""

    stdout: str
    both: str


def run_line(line: str, quicker: Callable[[list[str]], list[str]]) -> str:
    """Run a line: commands parted by ``;``, each a pipe whose ends may be files.

    Returns what a terminal would show.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;<>")
    lexer.whitespace_split = True
    command: list[str] = []
    stdin, output, words, screen = None, "", [*lexer, ";"], ""
    while words:
        word = words.pop(0)
        if word == "<":
            stdin = Path(words.pop(0)).read_text()
        elif word == ">":
            output = words.pop(0)
        elif word in ("|", ";"):
            shown = run_command(command, stdin, quicker)
            if output:
                Path(output).write_text(shown.stdout)
            elif word == ";":
                screen += shown.both
            stdin, output, command = (shown.stdout if word == "|" else None), "", []
        else:
            command.append(word)
    return screen


def quicker(arguments: list[str]) -> list[str]:
    """Return the arguments of a command that takes less time."""
    if arguments[0] == "score":
        return [*arguments, "--workers", "1"]
    if arguments[0] == "train" and "--epochs" not in arguments:
        return [*arguments, "--epochs", "2"]
    if arguments[0] == "tune":
        at = arguments.index("--time")
        shorter = ["--trials", "1", "--set", "trainer.epochs=2"]
        return [*arguments[:at], *shorter, *arguments[at + 2 :]]
    if arguments[:2] == ["ft", "supervised"]:
        return [*arguments, "-dim", "8", "-bucket", "500"]
    return arguments


def run_command(
    words: list[str], stdin: str | None, quicker: Callable[[list[str]], list[str]]
) -> Output:
    """Run one command in this process."""
    program, *arguments = words
    if (program, *arguments[:1]) == ("fasttext-app", "serve"):
        SERVICES[:] = [TestClient(make_service(*arguments[1:]), ADDRESS)]
        return Output("", "")
    if program == "curl":
        return Output(*[curl(*arguments[1:])] * 2)
    if program == "fasttext-app":
        done = run_cli(*quicker(arguments), stdin=stdin, code=None)
        assert done.exit_code == 0 or FINISHED in done.stderr, (words, done.output)
        return Output(done.stdout, done.output)
    if program == "printf":
        return Output(*[arguments[0].encode().decode("unicode_escape")] * 2)
    if program == "head":
        count, path = arguments
        lines = Path(path).read_text().splitlines(keepends=True)
        return Output(*["".join(lines[: int(count[1:])])] * 2)
    assert program == "python", f"{program}: the small shell does not know it"
    shown = io.StringIO()
    with redirect_stdout(shown), pytest.MonkeyPatch.context() as patch:
        if arguments[0] == "-c":
            exec(arguments[1], {})
        else:
            patch.setattr(sys, "argv", arguments)
            script = Path(arguments[0])  # of the page, or of the repository
            path = script if script.is_file() else ROOT / script
            runpy.run_path(str(path), run_name="__main__")
    return Output(*[shown.getvalue()] * 2)


def curl(url: str, option: str = "", data: str = "") -> str:
    """Send a request to the service of the page, as ``curl -s`` does."""
    method = "POST" if option else "GET"
    content = Path(data[1:]).read_bytes() if data.startswith("@") else data.encode()
    answer = SERVICES[0].request(method, url.removeprefix(ADDRESS), content=content)
    assert answer.status_code in (200, 422), answer.text
    return answer.text


def run_javascript(block: str) -> None:
    """Run a module in Node, if it and what the module imports are installed."""
    if NODE is not None and (NODE_MODULES / "onnxruntime-web").is_dir():
        Path("node_modules").symlink_to(NODE_MODULES)
        Path("block.mjs").write_text(block)
        subprocess.run([NODE, "block.mjs"], check=True, capture_output=True)


def needs_engine(line: str) -> bool:
    """Return whether a command runs on Ray or Spark, as in tests/scoring/test_engines.py."""
    return "--engine ray" in line or "--engine spark" in line


def run_block(language: str, block: str, names: dict[str, Any]) -> None:
    """Run a block of any language."""
    if language in ("sh", "console"):
        for line in commands(block):
            if not line.startswith(NOT_RUN) and not needs_engine(line):
                run_line(line, quicker)
    elif language == "python":
        quick = re.sub(r"trials=\d+", "trials=1, epochs=2", block)
        quick = quick.replace("wordNgrams=2", "wordNgrams=2, bucket=500")
        exec(quick.replace("n_jobs=2", "n_jobs=1"), names)
    elif language == "js":
        run_javascript(block)
    else:
        assert language == "toml", f"{language}: no block of this language is expected"
        document = tomllib.loads(block)
        if "space" in document:
            Path("space.toml").write_text(block)
            SearchSpace.load("space.toml")
        else:
            resolve(document)


@pytest.fixture(name="in_a_clone")
def _in_a_clone(tmp_path, monkeypatch):
    """Work in a folder with a cut of the data of a clone."""
    monkeypatch.chdir(tmp_path)
    cut(ROOT / "data" / "sample", Path("data", "sample"), 120)
    cut(ROOT / "data" / "langid", Path("data", "langid"), 200)
    monkeypatch.setattr("fasttext_app.data.spec.sample_dir", lambda: Path("data", "sample"))
    Path("ag_news").mkdir()
    for split in ("train", "test"):
        write_news(split)
    monkeypatch.setenv("FASTTEXT_APP_DATA", str(tmp_path))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
@pytest.mark.usefixtures("in_a_clone")
def test_every_block_runs(page, tmp_path):
    if page.name in PREPARE:
        PREPARE[page.name]()
    names = names_for(page)
    with ExitStack() as stack:
        stack.enter_context(installs_undone())  # a page may put compat in place of fasttext
        if page.name == "hub.md":
            server = stack.enter_context(HubServer())
            stack.enter_context(hub_in_place(server, tmp_path / "cache", TOKEN))
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            run_block(language, block, names)


@pytest.mark.usefixtures("in_a_clone")
def test_every_cell_of_the_tour_runs():
    notebook = json.loads((ROOT / "docs" / "examples" / "tour.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] or "import pandas" in "".join(cell["source"])
            exec("".join(cell["source"]), names)
    assert names["same"].labels == names["model"].labels


def test_the_readme_shows_what_its_commands_print(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    script = runpy.run_path(str(ROOT / "scripts" / "fill_readme.py"))

    def run(command: str) -> str:
        return script["without_trailing_blanks"](run_line(command, list))

    page = (ROOT / "README.md").read_text(encoding="utf-8")
    filled = script["fill"](page, run)
    assert script["without_numbers"](filled) == script["without_numbers"](page)


def test_the_small_shell_runs_pipes_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "printf 'a\\nb\\n' > x.txt; head -1 x.txt > y.txt; head -2 y.txt  # a comment"
    assert run_line(line, quicker) == "a\n"
    assert Path("y.txt").read_text() == "a\n"
    assert list(commands("$ one \\\n  two\nshown\n$ three\n")) == ["one two", "three"]


def test_scripts_that_are_not_run_exist():
    for page in PAGES:
        for name in re.findall(r"python (scripts/\w+\.py)", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), (page, name)
