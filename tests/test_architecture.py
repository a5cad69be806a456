"""The rules of the house, checked by reading the code: layers, cycles, heavy imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import fasttext_app

ROOT = Path(fasttext_app.__file__).parent

# A module imports only from its own row or from a row above it. A name is a folder or a module.
LAYERS = [
    ["_version", "errors", "foreign_text"],
    ["core", "pages"],
    ["config"],
    ["text"],
    ["data"],
    ["model"],
    ["fasttext"],
    ["hub"],
    ["training"],
    ["inference"],
    ["tuning"],
    ["pipeline"],
    ["onnx", "reporting", "reviewing", "scoring", "serve", "sklearn"],
    ["compat"],
    ["api"],
    ["cli"],
    ["__main__"],
]
SIBLINGS_APART = {("training", "inference")}
"""Pairs of folders of which the second must not import the first either."""
PUBLIC_MODULES = {"", "api", "compat", "compat.FastText", "errors", "onnx", "scoring", "sklearn"}
"""Modules with an ``__all__``; in all others a leading underscore says what is private."""

TORCH_AT_THE_TOP = {
    "model.classifier",
    "model.shard_autograd",
    "training.batch",
    "training.dataset",
    "training.loader",
    "training.losses",
    "training.optim.build",
    "training.optim.cpu_step",
    "training.optim.cuda_batches",
    "training.optim.cuda_step",
    "training.optim.fused",
    "training.optim.rowwise_adagrad",
    "training.optim.sharded_step",
    "training.optim.step",
    "training.optim.torch_step",
    "training.token_dropout",
    "training.trainer",
    "training.validation",
}
NUMBA_AT_THE_TOP = {
    "core.barrier",
    "core.bits",
    "core.matmul_kernels",
    "core.ragged_kernels",
    "core.packing",
    "core.prefetch",
    "core.vectors",
    "inference.kernels",
    "inference.writer_kernels",
    "model.huffman_kernels",
    "model.shard_autograd",
    "model.shard_kernels",
    "text.kernels",
    "text.token_kernels",
    "text.word_break_kernels",
    "training.batch_kernels",
    "training.numbering_kernels",
    "training.optim.cpu_columns",
    "training.optim.cpu_kernels",
    "training.optim.cpu_step",
    "training.optim.sharded_step",
    "training.token_dropout_kernels",
}
TRITON = "training.optim.triton_kernels"
ONLY_AT_THE_TOP_OF = {
    "core.barrier": {"numba"},
    "core.bits": {"numba"},
    "core.packing": {"numba"},
    "core.prefetch": {"numba"},
    "core.vectors": {"numba"},
    TRITON: {"triton"},
    "sklearn": {"sklearn"},
}
HEAVY = {
    "numba",
    "torch",
    "triton",
    "torchtext",
    "datasets",
    "huggingface_hub",
    "sklearn",
    "scipy",
    "matplotlib",
    "optuna",
    "tokenizers",
    "onnxruntime",
    "model2vec",
    "ray",
    "pyspark",
    "polars",
    "duckdb",
}
RUNS_CODE_ON_LOADING = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@dataclass(frozen=True)
class Import:
    """One imported name, and whether it is imported when its module is."""

    target: str
    at_the_top: bool


@cache
def modules() -> dict[str, Path]:
    """Return {dotted name without the package: file}; "" is the package itself."""
    files = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


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
                Import(_imported_module(node.module, alias.name), at_the_top)
                for alias in node.names
            )
        else:
            deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            )
            for field in ("body", "orelse", "finalbody", "handlers"):
                yield from _imports(getattr(node, field, []), at_the_top and not deferred)


def _imported_module(module: str, name: str) -> str:
    """Return what ``from module import name`` loads: a submodule, or the module itself."""
    inner = f"{module}.{name}".removeprefix("fasttext_app.")
    return f"fasttext_app.{inner}" if inner in modules() else module


def own_imports(name: str) -> list[Import]:
    """Return the imports from this package, by their names without it."""
    return [
        Import(entry.target.removeprefix("fasttext_app").removeprefix("."), entry.at_the_top)
        for entry in imports_of(name)
        if entry.target.split(".")[0] == "fasttext_app"
    ]


def layer_of(name: str) -> int | None:
    top = name.split(".")[0]
    return next((number for number, row in enumerate(LAYERS) if top in row), None)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach one another (Tarjan's algorithm).

    >>> cycles({"a": {"b"}, "b": {"a", "c"}, "c": set()})
    [['a', 'b']]
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1 or name in graph[name]:
                groups.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return groups


inner_modules = pytest.mark.parametrize("name", sorted(set(modules()) - {""}))
every_module = pytest.mark.parametrize("name", sorted(modules()))


@inner_modules
def test_every_module_has_a_layer(name):
    assert layer_of(name) is not None, f"put {name} into LAYERS"


@pytest.mark.parametrize("name", [name for row in LAYERS for name in row])
def test_every_layer_exists(name):
    assert name in modules()


@pytest.mark.slow
@inner_modules
def test_a_module_imports_only_from_its_own_layer_or_a_lower_one(name):
    from_the_root = [entry.target for entry in own_imports(name) if not entry.target]
    assert not from_the_root, f"{name} imports from the package root, which hides the real module"
    unknown = [entry.target for entry in own_imports(name) if entry.target not in modules()]
    assert not unknown
    assert not [e.target for e in own_imports(name) if layer_of(e.target) > layer_of(name)]


@inner_modules
def test_inference_does_not_import_training(name):
    top = name.split(".")[0]
    targets = {entry.target.split(".")[0] for entry in own_imports(name)}
    assert not {(target, top) for target in targets} & SIBLINGS_APART


def test_there_are_no_import_cycles_not_even_in_functions_or_for_types():
    graph = {
        name: {entry.target for entry in own_imports(name)} - {""} for name in modules() if name
    }
    assert cycles(graph) == []


@every_module
def test_heavy_packages_are_imported_where_they_are_used(name):
    at_the_top = {entry.target.split(".")[0] for entry in imports_of(name) if entry.at_the_top}
    allowed = {"torch"} if name in TORCH_AT_THE_TOP else set()
    assert at_the_top & HEAVY <= allowed | ONLY_AT_THE_TOP_OF.get(name, set())


@every_module
def test_compiled_code_is_loaded_where_it_is_used(name):
    if name in NUMBA_AT_THE_TOP:
        return
    at_the_top = {entry.target for entry in own_imports(name) if entry.at_the_top}
    compiled = NUMBA_AT_THE_TOP - TORCH_AT_THE_TOP | {TRITON}
    assert not at_the_top & compiled


@every_module
def test_a_module_without_torch_imports_none_with_it(name):
    """An import at the top carries on to what the imported module imports at its top."""
    if name in TORCH_AT_THE_TOP:
        return
    at_the_top = {entry.target for entry in own_imports(name) if entry.at_the_top}
    assert not at_the_top & TORCH_AT_THE_TOP


@pytest.mark.parametrize("name", sorted(TORCH_AT_THE_TOP | NUMBA_AT_THE_TOP))
def test_every_exception_to_the_rules_is_a_module(name):
    assert name in modules()


@every_module
def test_nothing_prints(name):
    calls = [node.func for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call, ast.Name) and call.id == "print"]


PRINTS_TEXT = {"rich", "rich.console", "rich.markup", "rich.text", "typer.echo", "sys.stdout"}
MAY_PRINT = {
    "cli.messages": {"typer.echo", "sys.stdout"},
    "cli.render.console": {"rich.console", "rich.text"},
    "cli.ft": {"typer.echo"},  # bytes that are no UTF-8
    "inference.writers": {"sys.stdout"},
    "cli.explain": {"sys.stdout"},
    "cli.errors": {"sys.stdout"},
    "cli.reading": {"sys.stdout"},
    "cli.app": {"sys.stdout"},
    "cli.terminal": {"sys.stdout"},
    "onnx.fasttext_onnx": {"sys.stdout"},  # JSON in ASCII
}
"""Modules that print, or ask what the stream is."""


@every_module
def test_text_is_printed_where_it_is_made_safe(name):
    """A command that prints in another way would show foreign text as it is."""
    used = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add(f"{node.value.id}.{node.attr}")
    assert used & PRINTS_TEXT <= MAY_PRINT.get(name, set())


@pytest.mark.slow
@every_module
def test_nothing_that_is_loaded_can_run_code(name):
    assert not {entry.target.split(".")[0] for entry in imports_of(name)} & RUNS_CODE_ON_LOADING
    source = ast.unparse(tree_of(name))
    assert "torch.load(" not in source
    assert "allow_pickle=True" not in source
    assert "trust_remote_code=True" not in source


@every_module
def test_only_public_modules_have_a_list_of_public_names(name):
    assigned = [
        target.id
        for node in tree_of(name).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    assert ("__all__" in assigned) == (name in PUBLIC_MODULES)


@every_module
def test_every_module_says_what_it_is(name):
    docstring = ast.get_docstring(tree_of(name))
    assert docstring
    assert "TODO" not in docstring


@pytest.mark.parametrize("name", sorted(n for n, p in modules().items() if p.stem == "__init__"))
def test_a_folder_holds_no_code_of_its_own_unless_it_is_public(name):
    body = tree_of(name).body
    assert name in PUBLIC_MODULES or len(body) == 1


def test_the_reading_of_imports_sees_all_kinds():
    body = ast.parse(
        "import a.b\n"
        "from fasttext_app import errors\n"
        "from fasttext_app.errors import DataError\n"
        "if TYPE_CHECKING:\n    import typed\n"
        "try:\n    import c\nexcept ImportError:\n    import d\n"
        "def f():\n    with x:\n        import e\n"
        "class C:\n    import g\n    def m(self):\n        import h\n"
    ).body
    found = [(entry.target, entry.at_the_top) for entry in _imports(body, at_the_top=True)]
    assert found == [
        ("a.b", True),
        ("fasttext_app.errors", True),
        ("fasttext_app.errors", True),
        ("typed", False),
        ("c", True),
        ("d", True),
        ("e", False),
        ("g", True),
        ("h", False),
    ]


def test_the_search_for_cycles_finds_them():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert cycles({"a": {"a"}}) == [["a"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
