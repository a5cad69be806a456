"""The layers of DESIGN: which module may import which, held to the code by reading its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import fasttext_app

ROOT = Path(fasttext_app.__file__).parent

# A module imports only from its own layer or a lower one. "x.*" is the package x and all in it.
LAYERS = [
    [
        *("errors", "_version", "resources", "interval", "objectives"),
        *("config", "config_sections", "config_rules", "default_space", "search_space"),
    ],
    [
        *(
            "background",
            "callbacks",
            "calibration",
            "compiled",
            "events",
            "interrupts",
            "lean_imports",
        ),
        *("parallel", "sealed_folder", "study", "trials", "whole_file"),
    ],
    ["sources.*", "text.*", "metrics", "device", "kernels", "dropout_kernels", "tree_kernels"],
    ["adaptive_softmax", "huffman", "product_quantizer"],
    ["answers", "artifact", "checkpoints", "history", "model_card", "vectors"],
    [
        *("token_dropout", "batch", "model", "losses", "optim.*", "forward", "predictor"),
        *("evaluation", "explanation", "quantization"),
    ],
    ["trainer", "validation"],
    ["outputs", "plots", "selection", "interop.*", "opening"],
    [
        *(
            "beginning",
            "training_rows",
            "tokenised_rows",
            "preparation",
            "run_manifest",
            "workflows",
            "retraining",
        ),
        *("inspection", "trial_data", "tuning", "tuning_report", "api", "compat.*"),
    ],
    ["console", "console_calibration", "console_training", "render_explanation", "render_curves"],
    ["cli.*", "__main__"],
]
TORCH_AT_THE_TOP = {
    *("batch", "model", "losses", "trainer"),
    *(
        "optim",
        "optim.cuda",
        "optim.cuda_batches",
        "optim.fused",
        "optim.rowwise",
        "optim.schedules",
    ),
    *("optim.stepper", "validation", "token_dropout"),
}
NUMBA_AT_THE_TOP = {
    "compiled",
    "dropout_kernels",
    "kernels",
    "tree_kernels",
    "text.kernels",
    "text.token_kernels",
    "optim.fused",
}
ONLY_AT_THE_TOP_OF = {"compiled": {"numba"}, "optim.cuda_kernels": {"triton"}}
HEAVY = {
    "numba",
    "torch",
    "triton",
    "torchtext",
    "datasets",
    "sklearn",
    "scipy",
    "matplotlib",
    "optuna",
    "tokenizers",
}
RUNS_CODE_ON_LOADING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
LONGEST_FILE = 375  # "about 350 lines"


@dataclass(frozen=True)
class Import:
    """One imported name, and whether it is imported when its module is."""

    target: str
    at_the_top: bool


@cache
def modules() -> dict[str, Path]:
    """Return {name without the package: file} for all modules but the lazy package itself."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


@cache
def imports_of(name: str) -> tuple[Import, ...]:
    return tuple(_imports(tree_of(name).body, at_the_top=True))


def _imports(body: list[ast.stmt], at_the_top: bool) -> Iterator[Import]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_the_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not used here"
            assert node.module is not None
            yield from (
                Import(_module_meant(node.module, alias.name), at_the_top) for alias in node.names
            )
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            within = at_the_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from _imports(getattr(node, field, []), within)


def _module_meant(module: str, name: str) -> str:
    """Return what ``from module import name`` loads: a submodule, or the module itself."""
    inner = f"{module}.{name}".removeprefix("fasttext_app.")
    return f"fasttext_app.{inner}" if inner in modules() else module


def own_imports(name: str) -> list[Import]:
    """Return the imports from this package, by their names without it."""
    return [
        Import(found.target.removeprefix("fasttext_app").removeprefix("."), found.at_the_top)
        for found in imports_of(name)
        if found.target.split(".")[0] == "fasttext_app"
    ]


def layer_of(name: str) -> int | None:
    for layer, patterns in enumerate(LAYERS):
        for pattern in patterns:
            package = pattern.removesuffix(".*")
            if name == package or (pattern != package and name.startswith(f"{package}.")):
                return layer
    return None


every_module = pytest.mark.parametrize("name", sorted(modules()))


@every_module
def test_every_module_has_a_layer(name):
    assert layer_of(name) is not None, f"put {name} into LAYERS"


@pytest.mark.parametrize("pattern", [pattern for layer in LAYERS for pattern in layer])
def test_every_name_in_the_table_is_a_module(pattern):
    assert pattern.removesuffix(".*") in modules()


@every_module
def test_a_module_imports_only_from_its_own_layer_or_a_lower_one(name):
    upward = [found.target for found in own_imports(name) if layer_of(found.target) is None]
    assert not upward, f"{name} imports from the package itself, which hides the module behind it"
    above = [f.target for f in own_imports(name) if layer_of(f.target) > layer_of(name)]
    assert not above


def test_no_modules_import_one_another_in_a_circle():
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in finished:
            return
        for found in own_imports(name):
            if found.at_the_top:
                visit(found.target, [*path, name])
        finished.add(name)

    for name in modules():
        visit(name, [])
    assert finished == set(modules())


@every_module
def test_heavy_packages_are_imported_where_they_are_used(name):
    at_the_top = {found.target.split(".")[0] for found in imports_of(name) if found.at_the_top}
    allowed = {"torch"} if name in TORCH_AT_THE_TOP else set()
    assert at_the_top & HEAVY <= allowed | ONLY_AT_THE_TOP_OF.get(name, set())


@every_module
def test_compiled_code_is_loaded_where_it_is_used(name):
    if name in NUMBA_AT_THE_TOP:
        return
    at_the_top = {found.target for found in own_imports(name) if found.at_the_top}
    assert not at_the_top & (NUMBA_AT_THE_TOP - TORCH_AT_THE_TOP | {"optim.cuda_kernels"})


@every_module
def test_a_module_without_torch_imports_none_with_it(name):
    """An import at the top carries on to what the imported module imports at its top."""
    if name in TORCH_AT_THE_TOP:
        return
    at_the_top = {found.target for found in own_imports(name) if found.at_the_top}
    assert not at_the_top & TORCH_AT_THE_TOP


@every_module
def test_nothing_prints(name):
    calls = [node.func for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


@every_module
def test_nothing_that_is_loaded_can_run_code(name):
    assert not {found.target.split(".")[0] for found in imports_of(name)} & RUNS_CODE_ON_LOADING
    source = ast.unparse(tree_of(name))
    assert "torch.load(" not in source
    assert "allow_pickle=True" not in source
    assert "trust_remote_code=True" not in source


@every_module
def test_files_stay_short(name):
    lines = len(modules()[name].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE


@every_module
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(tree_of(name))


def test_the_reading_of_imports_sees_all_kinds():
    body = ast.parse(
        "import a.b\n"
        "from fasttext_app import errors\n"
        "from fasttext_app.errors import DataError\n"
        "if TYPE_CHECKING:\n    import hidden\n"
        "try:\n    import c\nexcept ImportError:\n    import d\n"
        "def f():\n    with x:\n        import e\n"
        "class C:\n    import g\n    def m(self):\n        import h\n"
    ).body
    found = [(found.target, found.at_the_top) for found in _imports(body, at_the_top=True)]
    assert found == [
        ("a.b", True),
        ("fasttext_app.errors", True),
        ("fasttext_app.errors", True),
        ("c", True),
        ("d", True),
        ("e", False),
        ("g", True),
        ("h", False),
    ]
