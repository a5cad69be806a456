"""What is imported when: the command line and prediction on the CPU never wait for torch."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest
from pydantic import BaseModel

import fasttext_app
from tests.helpers import QUICK
from tests.test_architecture import NUMBA_AT_THE_TOP, TORCH_AT_THE_TOP, TRITON, modules

# Low layers first, so that the first one to import torch is the one that is named.
WITHOUT_TORCH = sorted(
    set(modules())
    - TORCH_AT_THE_TOP
    - NUMBA_AT_THE_TOP
    - {"", "__main__", "sklearn", "scoring.datatrove", TRITON}
)
ELSEWHERE = ("pyarrow.compute", "fasttext_app.training", "fasttext_app.pipeline")
"""What only training, tuning and reading files need: a good part of a cold prediction."""
UNUSED = (
    *("importlib.metadata", "tempfile", "csv", "glob", "rich", "tomli_w", "numpy.random"),
    *("fasttext_app.hub", "fasttext_app.data.source", "fasttext_app.data.bad_rows"),
    *(
        "fasttext_app.data.soft_labels",
        "fasttext_app.model.huffman",
        "fasttext_app.text.word_break",
    ),
)
"""Modules that the prediction of one text on the command line must not import."""
SLOW = (
    "pandas",
    "numba",
    "torch",
    "torchtext",
    "datasets",
    "sklearn",
    "scipy",
    "matplotlib",
    "optuna",
    "tokenizers",
    "model2vec",
)


def run(code, *arguments):
    """Run Python code on its own; return what its last line of output says, read as JSON."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def run_program(slow, *arguments):
    """Run a command; return its exit code, and which of the ``slow`` modules it imported."""
    code = (
        "import json, os, runpy, sys\n"
        "os._exit = sys.exit\n"
        "try:\n    runpy.run_module('fasttext_app', run_name='__main__')\n"
        "except SystemExit as end:\n    code = end.code\n"
        f"print(json.dumps([code, sorted(set(sys.modules) & set({slow}))]))"
    )
    return run(code, *arguments)


@pytest.mark.slow
def test_no_module_that_a_command_or_the_predictor_needs_imports_torch():
    code = (
        "import importlib, json, sys\n"
        "guilty, slow = {}, set()\n"
        f"for name in {WITHOUT_TORCH}:\n"
        "    importlib.import_module('fasttext_app.' + name)\n"
        f"    new = set(sys.modules) & set({SLOW}) - slow\n"
        "    slow |= new\n"
        "    guilty.update({name: sorted(new)} if new else {})\n"
        "print(json.dumps(guilty))"
    )
    assert run(code) == {}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"]])
def test_help_and_version_do_not_import_torch(arguments):
    assert run_program(SLOW, *arguments) == [0, []]


@pytest.mark.slow
def test_loading_predicting_and_evaluating_on_the_cpu_do_not_import_torch(tiny_model_dir):
    code = (
        "import json, sys\n"
        "import fasttext_app as ft\n"
        "model = ft.load(sys.argv[1])\n"
        "best = model.predict('the team scored a late goal').labels\n"
        "many = [p.labels[0] for p in model.predict(['bank profit', 'the cup'] * 2)]\n"
        f"slow = sorted(set(sys.modules) & set({SLOW + ELSEWHERE}))\n"
        "scores = model.evaluate(['bank profit', 'the cup'], ['money', 'sport'])\n"
        "print(json.dumps([best, many, slow, scores['accuracy'], 'torch' in sys.modules]))"
    )
    expected = [["sport"], ["money", "sport"] * 2, [], 1.0, False]
    assert run(code, tiny_model_dir) == expected


@pytest.mark.slow
def test_a_prediction_on_the_command_line_imports_nothing_slow(tiny_model_dir):
    slow = SLOW + ELSEWHERE + UNUSED
    assert run_program(slow, "predict", tiny_model_dir, "the team scored") == [0, []]


@pytest.mark.slow
def test_a_prediction_on_the_command_line_starts_no_other_program(tiny_model_dir):
    code = (
        "import json, runpy, sys\n"
        "begun = []\n"
        "sys.addaudithook(lambda event, _: begun.append(event) if event in EVENTS else None)\n"
        "import os; os._exit = sys.exit\n"
        "try:\n    runpy.run_module('fasttext_app', run_name='__main__')\n"
        "except SystemExit:\n    print(json.dumps(begun))"
    ).replace("EVENTS", "('subprocess.Popen', 'os.fork', 'os.posix_spawn')")
    assert run(code, "predict", tiny_model_dir, "the team scored") == []


def test_a_process_is_set_up_before_the_program_is_imported():
    code = (
        "import json, sys\n"
        "import fasttext_app.cli.app\n"
        "print(json.dumps(sorted(sys.modules.keys() & {'typer', 'pydantic', 'numpy'})))"
    )
    assert run(code) == []


@pytest.mark.parametrize("name", ["config.schema", "model.documents"])
def test_pydantic_gets_annotations_that_it_need_not_compile(name):
    module = importlib.import_module(f"fasttext_app.{name}")
    models = [
        value
        for value in vars(module).values()
        if getattr(value, "__module__", "") == module.__name__
        if isinstance(value, type) and issubclass(value, BaseModel)
    ]
    annotations = [
        kind for model in models for kind in vars(model).get("__annotations__", {}).values()
    ]
    assert len(annotations) > 30
    assert not [kind for kind in annotations if isinstance(kind, str)]


def test_pydantic_imports_what_finds_its_plugins_only_to_look_for_them():
    code = (
        "import json, os, sys\n"
        "from fasttext_app.core import startup\n"
        "startup.begin_command(keeps_all=True)\n"
        "import fasttext_app.config.schema\n"
        "early = 'importlib.metadata' in sys.modules\n"
        "from pydantic.plugin import _loader\n"
        "del os.environ['PYDANTIC_DISABLE_PLUGINS']\n"
        "plugins = list(_loader.get_plugins())\n"
        "found = 'pytest' in _loader.entry_points(group='console_scripts').names\n"
        "print(json.dumps([early, plugins, found, 'importlib.metadata' in sys.modules]))"
    )
    assert run(code) == [False, [], True, True]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.csv", "lines.txt"])
def test_predicting_a_small_file_loads_no_compiled_code_and_not_all_of_arrow(
    name, tiny_model_dir, tmp_path
):
    path = tmp_path / name
    path.write_text("text\n" + "the team scored\n" * 1000)
    options = ["--input", path, "--output", tmp_path / "answers.jsonl"]
    slow = (*SLOW, "pyarrow.compute", "pyarrow.dataset")
    assert run_program(slow, "predict", tiny_model_dir, *options) == [0, []]


@pytest.mark.slow
def test_a_prediction_by_a_file_of_fasttext_imports_nothing_slow(train_original):
    path = train_original(wordNgrams=2, bucket=300)
    assert run_program(SLOW, "predict", path, "the team scored") == [0, []]


@pytest.mark.slow
def test_training_imports_neither_pandas_nor_scipy_nor_the_compiler_of_torch(tmp_path):
    """Each of them takes a tenth of the time of a short run."""
    data, model = tmp_path / "a.csv", tmp_path / "model"
    data.write_text("title,text,label\na,late goal,sport\nb,bank profit,money\n" * 5)
    slow = ("pandas", "scipy.linalg", "torch._dynamo", "torch.fx.experimental.symbolic_shapes")
    options = ["--text-column", "title", "--text-column", "text", *QUICK]
    assert run_program(slow, "train", "--data", data, "--output", model, *options) == [0, []]


@pytest.mark.slow
@pytest.mark.parametrize("is_command", [True, False])
def test_commands_do_not_import_scipy_linalg_and_other_programs_do(is_command):
    pytest.importorskip("scipy")
    code = (
        "import json, sys\n"
        "from fasttext_app.core import startup\n"
        f"startup.is_command = {is_command}\n"
        "from fasttext_app.training.optim.cpu_columns import load_kernels\n"
        "load_kernels()\n"
        "found = 'scipy.linalg' in sys.modules\n"
        "import scipy.linalg\n"
        "print(json.dumps([found, float(scipy.linalg.norm([3, 4]))]))"
    )
    assert run(code) == [not is_command, 5.0]


@pytest.mark.slow
def test_predicting_many_texts_does_not_import_scipy(tiny_model_dir, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("the team scored a late goal\n" * 50_000)
    answers = tmp_path / "answers.txt"
    options = ["--input", lines, "--output", answers]
    slow = ("torch", "torchtext", "tokenizers", "scipy.linalg", "pandas")
    assert run_program(slow, "predict", tiny_model_dir, *options) == [0, []]
    assert len(answers.read_text().splitlines()) == 50_000


def test_importing_the_package_imports_nothing_but_its_version():
    code = (
        "import json, sys\n"
        "import fasttext_app\n"
        "print(json.dumps(sorted(n for n in sys.modules if n.startswith('fasttext_app'))))"
    )
    assert run(code) == ["fasttext_app", "fasttext_app._version"]


# --- the lazy package --------------------------------------------------------------------------


@pytest.mark.parametrize("name", fasttext_app.__all__)
def test_every_public_name_is_there(name):
    assert getattr(fasttext_app, name) is not None


def test_the_public_names_are_those_that_dir_shows():
    assert sorted(fasttext_app.__all__) == sorted(dir(fasttext_app))
    assert len(set(fasttext_app.__all__)) == len(fasttext_app.__all__)


def test_public_names_are_the_objects_of_their_modules():
    from fasttext_app.api import load, train
    from fasttext_app.inference.classifier import TextClassifier
    from fasttext_app.inference.load import load as light_load

    assert fasttext_app.load is load is light_load
    assert fasttext_app.train is train
    assert fasttext_app.TextClassifier is TextClassifier


def test_a_star_import_brings_all_public_names():
    names: dict[str, object] = {}
    exec("from fasttext_app import *", names)
    assert set(fasttext_app.__all__) <= set(names)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'fasttext_app' has no attribute 'nothing'"):
        fasttext_app.nothing  # noqa: B018


def test_a_submodule_that_was_not_imported_is_found_by_an_import_statement():
    from fasttext_app import errors

    assert errors.FastTextAppError is fasttext_app.FastTextAppError


@pytest.mark.slow
def test_training_starts_its_second_process_before_anything_with_threads_is_imported(tmp_path):
    """Else reading the data and importing torch would go one after the other."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "good fun,a\nbad luck,b\n" * 8)
    code = (
        "import json, sys\n"
        "from fasttext_app.core import fork\n"
        "from fasttext_app.cli import program as cli\n"
        "forked = []\n"
        "can = fork.can_fork\n"
        "def can_fork():\n    forked.append(can())\n    return forked[-1]\n"
        "fork.can_fork = can_fork\n"
        "try:\n    cli.make_app()(['train', '--data', sys.argv[1], '--output', sys.argv[2],\n"
        "             '--epochs', '1', '--set', 'model.dim=4', *sys.argv[3:]])\n"
        "except SystemExit as end:\n    print(json.dumps([end.code, forked]))"
    )
    expected = [0, [os.cpu_count() != 1 and sys.platform == "linux"]]
    every = ("--checkpoint-every", "1")
    assert run(code, rows, tmp_path / "model", *every) == expected
