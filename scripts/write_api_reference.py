"""Write docs/api.md from the docstrings of the public API, so that the two cannot differ.

python scripts/write_api_reference.py [--check]
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, is_typeddict

from pages import field_docstrings, write_generated_page

import fasttext_app
from fasttext_app import compat, errors, onnx, scoring, sklearn
from fasttext_app.compat.model import FastText
from fasttext_app.inference.explain import Contribution, Explanation, LabelFeature
from fasttext_app.model.metrics import MultiLabelScores, Scores
from fasttext_app.reviewing.review import Review, Suspect
from fasttext_app.scoring import duckdb, polars, ray, spark
from fasttext_app.text.features import TextFeature
from fasttext_app.tuning.trial import Trial, TuneResult

TARGET = Path(__file__).resolve().parent.parent / "docs" / "api.md"

HEAD = """# API reference

The public API: everything in `fasttext_app`, what its functions return, the errors it raises,
`fasttext_app.onnx`, `fasttext_app.scoring`, `fasttext_app.sklearn`, and `fasttext_app.compat`, the
Python API of the original.
`python scripts/write_api_reference.py` writes this page from the docstrings; a test keeps it
current.

Examples assume `import fasttext_app as ft`. Shapes: **N** ids in a batch, **B** bags (texts),
**V** table rows, **D** embedding dim, **C** classes.
"""
FUNCTIONS = ("train", "load", "tune", "review")
RETURNED = {
    fasttext_app.Prediction: "prediction",
    Scores: "scores",
    MultiLabelScores: "scores",
    Explanation: "explanation",
    Contribution: "contribution",
    TextFeature: "feature",
    LabelFeature: "feature",
    TuneResult: "result",
    Trial: "trial",
    Review: "review",
    Suspect: "suspect",
}
"""The types that public functions return, and the name of an instance in a call."""
ADAPTERS: dict[str, Any] = {
    "ray.score_dataset": ray.score_dataset,
    "spark.score_frame": spark.score_frame,
    "spark.map_in_arrow": spark.map_in_arrow,
    "spark.output_schema": spark.output_schema,
    "polars.expr": polars.expr,
    "duckdb.register": duckdb.register,
}
"""The functions of each engine."""
INNER = {
    *("chunk_logits", "rank_bags", "encode_chunk", "encode_plain", "encode_tokens", "pruned"),
    *("answers", "structs", "kept", "changed"),
}
"""Methods that other modules of the package call, and users do not."""
WIDTH = 88
SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes):")
ENTRY = re.compile(r"(\**[\w.]+): (.*)")


def inline(text: str) -> str:
    r"""Return one paragraph of a docstring as Markdown.

    >>> inline("As :meth:`~fasttext_app.X.evaluate` does,\nwith ``top_k``.")
    'As `evaluate` does, with `top_k`.'
    """
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


def paragraphs(text: str) -> str:
    r"""Return prose as Markdown; examples and indented blocks become code.

    >>> print(paragraphs("Two\nlines.\n\n    code\n\n    more"))
    Two lines.
    <BLANKLINE>
    ```text
    code
    <BLANKLINE>
    more
    ```
    """
    parts: list[str] = []
    for block in re.split(r"\n{2,}(?! )", text.strip("\n")):
        prose, blank, code = block.partition("\n\n")  # what follows a blank line is indented
        if prose.startswith(">>>"):
            parts.append(f"```pycon\n{prose}\n```")
        elif prose.strip():
            parts.append(inline(prose))
        if blank:
            parts.append(f"```text\n{textwrap.dedent(code)}\n```")
    return "\n\n".join(parts)


def entries(section: str) -> str:
    r"""Return the entries of a section as a list; text without a name stays a paragraph.

    >>> print(entries("lr: the learning\n    rate.\nseed: a number."))
    - `lr`: the learning rate.
    - `seed`: a number.
    """
    rows = []
    for entry in re.split(r"\n(?! )", section.strip()):
        named = ENTRY.fullmatch(inline(entry))
        rows.append(f"- `{named[1]}`: {named[2]}" if named else inline(entry))
    return "\n".join(rows)


def markdown(subject: Any) -> str:
    """Return the docstring of an object, which is in Google style, as Markdown."""
    docstring = inspect.getdoc(subject)
    if not docstring:
        raise ValueError(f"{subject} is public and has no docstring")
    parts: list[str] = []
    prose: list[str] = []
    lines = docstring.splitlines()
    while lines:
        line = lines.pop(0)
        heading = SECTION.fullmatch(line)
        if heading is None:
            prose.append(line)
            continue
        indented = []
        while lines and (not lines[0] or lines[0].startswith(" ")):
            indented.append(lines.pop(0))
        section = entries(textwrap.dedent("\n".join(indented)))
        parts += [paragraphs("\n".join(prose)), f"**{heading[1]}**", section]
        prose = []
    return "\n\n".join(part for part in [*parts, paragraphs("\n".join(prose))] if part)


def call(name: str, function: Callable[..., Any]) -> str:
    """Return how a function is called, with its defaults and what it returns, as a code block."""
    signature = inspect.signature(function)
    arguments = []
    keyword_only = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            arguments.append("*")
            keyword_only = True
        arguments.append(str(parameter.replace(annotation=parameter.empty)))
    annotation = signature.return_annotation
    nothing = isinstance(function, type) or annotation in (signature.empty, "None")
    returned = "" if nothing else f" -> {annotation}"
    line = f"{name}({', '.join(arguments)}){returned}"
    if len(line) > WIDTH:
        inside = "".join(f"    {argument},\n" for argument in arguments)
        line = f"{name}(\n{inside}){returned}"
    return f"```python\n{line}\n```"


def function_entry(level: int, heading: str, function: Callable[..., Any], name: str) -> str:
    """Return the heading, the call by ``name`` and the docstring of a function or a method."""
    return f"{'#' * level} `{heading}`\n\n{call(name, function)}\n\n{markdown(function)}"


def class_entry(level: int, cls: type, instance: str) -> str:
    """Return a class: its docstring, fields, properties and methods."""
    parts = [f"{'#' * level} `{cls.__name__}`", markdown(cls)]
    if "**Args**" in parts[1]:
        parts.insert(1, call(cls.__name__, cls))
    if is_dataclass(cls) or is_typeddict(cls) or hasattr(cls, "_fields"):  # of a NamedTuple
        parts.append(fields(cls))
    methods = []
    for name, member in public_members(cls):
        if isinstance(member, classmethod):
            heading = called = f"{cls.__name__}.{name}"
            methods.append(function_entry(level + 1, heading, getattr(cls, name), called))
        elif inspect.isfunction(member):
            heading, called = f"{cls.__name__}.{name}", f"{instance}.{name}"
            methods.append(function_entry(level + 1, heading, member, called))
        elif isinstance(member, property):
            parts.append(f"**`{instance}.{name}`**: {markdown(member)}")
    return "\n\n".join([*parts, *methods])


def public_members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public members of a class by name, base classes first."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("fasttext_app")]
    names = dict.fromkeys(name for base in reversed(bases) for name in vars(base))
    for name in names:
        if not name.startswith("_") and name not in INNER:
            yield name, inspect.getattr_static(cls, name)


def fields(cls: type) -> str:
    """Return the annotated fields of a class as a list, each with the docstring under it."""
    docstrings = field_docstrings(cls)
    rows = []
    for name, annotation in cls.__annotations__.items():
        kind = getattr(annotation, "__forward_arg__", annotation)  # a string, except in TypedDict
        docstring = f": {inline(docstrings[name])}" if name in docstrings else ""
        rows.append(f"- `{name}` (`{kind}`){docstring}")
    return "\n".join(rows)


def public_functions(module: ModuleType) -> list[str]:
    """Return the public functions of a module, in the order in which it defines them."""
    found = [name for name in module.__all__ if inspect.isfunction(getattr(module, name))]
    return sorted(found, key=lambda name: inspect.getsourcelines(getattr(module, name))[1])


def render() -> str:
    """Return the whole page."""
    compat_functions = (
        function_entry(3, f"compat.{name}", getattr(compat, name), f"compat.{name}")
        for name in public_functions(compat)
    )
    parts = [
        HEAD,
        "## Functions",
        *(
            function_entry(3, f"ft.{name}", getattr(fasttext_app, name), f"ft.{name}")
            for name in FUNCTIONS
        ),
        class_entry(2, fasttext_app.TextClassifier, "model"),
        "## What functions return",
        *(class_entry(3, cls, instance) for cls, instance in RETURNED.items()),
        class_entry(2, fasttext_app.TextEncoder, "encoder"),
        "## `Config`",
        markdown(fasttext_app.Config),
        "[configuration.md](configuration.md) lists every setting.",
        "## Errors",
        markdown(errors),
        "## `fasttext_app.onnx`",
        markdown(onnx),
        function_entry(3, "onnx.export_onnx", onnx.export_onnx, "onnx.export_onnx"),
        "## `fasttext_app.scoring`",
        markdown(scoring),
        class_entry(3, scoring.Scorer, "scorer"),
        *(
            function_entry(3, f"scoring.{name}", function, f"scoring.{name}")
            for name, function in ADAPTERS.items()
        ),
        "[scale.md](scale.md) shows each engine, and datatrove.",
        "## `fasttext_app.sklearn`",
        markdown(sklearn),
        class_entry(3, sklearn.FastTextClassifier, "classifier"),
        class_entry(3, sklearn.FastTextVectorizer, "vectorizer"),
        "## `fasttext_app.compat`",
        markdown(compat),
        *compat_functions,
        class_entry(3, FastText, "model"),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    write_generated_page(TARGET, render(), __doc__)
