"""The program's commands and options. Each command is a function in the module of its name."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from functools import cache, partial, wraps
from importlib import import_module
from keyword import iskeyword
from textwrap import dedent, indent
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fasttext_app._version import __version__
from fasttext_app.cli.errors import report_errors
from fasttext_app.cli.messages import QuietOption, VerboseOption, YesOption, result, verbosity
from fasttext_app.cli.reading import reading_shown
from fasttext_app.cli.terminal import guarded_streams

COMMANDS = (
    *("train", "tune", "predict", "score", "evaluate", "calibrate", "threshold", "quantize"),
    *("explain", "inspect", "plot", "report", "review", "info", "data", "import", "export", "push"),
    *("pull", "serve", "warm-up", "ft"),
)


OPENS_MODEL = {
    *("train", "predict", "score", "evaluate", "calibrate", "threshold", "quantize", "explain"),
    *("inspect", "info", "export", "push", "report", "serve"),
}
"""Commands that can open a model or a checkpoint from a stranger."""


class _PlainTypes:
    """Shows no type of Python in the help: no ``<bool>`` of a flag, no ``<list[str]>``."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters of the command."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if param.param_type_name == "argument" or param.is_flag:
                param.display_type_rich = lambda ctx: ""
        return params


class _EachOptionOnce:
    """Refuses an option that is given twice, of which Typer would take the last value."""

    def make_parser(self, ctx: Any) -> Any:
        """Return the parser of the command's arguments."""
        parser: Any = super().make_parser(ctx)  # type: ignore[misc]
        parse = parser.parse_args

        def parse_args(args: list[str]) -> tuple[Any, list[str], list[Any]]:
            values, rest, order = parse(args=args)
            for param, count in Counter(order).items():
                takes_one = param.param_type_name == "option" and not param.multiple
                if takes_one and not param.is_flag and count > 1:
                    problem = f"is given {count} times; give it once"
                    raise typer.BadParameter(problem, ctx=ctx, param=param)
            return values, rest, order

        parser.parse_args = parse_args
        return parser


class _Coercion:
    """Builds a parameter's validator only if there is a value: most options are not given."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value as the type of the parameter; without one, what Typer returns."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        return self._build().coerce(value, param=param, ctx=ctx)


class Command(_PlainTypes, _EachOptionOnce, TyperCommand):
    """A command."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for param in self.params:
            parameter: Any = param
            if hasattr(parameter, "get_runtime_param"):  # which early versions of Typer lack
                parameter.get_runtime_param = partial(_Coercion, parameter.get_runtime_param)


class Group(_PlainTypes, _EachOptionOnce, TyperGroup):
    """A group of commands."""


class Program(Group):
    """Runs commands, and reports the errors that the user can fix in one line each."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Parse the arguments up to the command; this also runs ``--help`` and ``--version``."""
        with report_errors(lambda: str(info_name)):
            try:
                return super().make_context(info_name, args, *rest, **extra)
            except OSError as error:
                error.filename = "standard output"  # no other file is touched here
                raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""

        def path() -> str:
            return f"{ctx.command_path} {ctx.invoked_subcommand or ''}".rstrip()

        with guarded_streams(), report_errors(path):
            return super().invoke(ctx)


@cache
def make_app(only: str | None = None) -> typer.Typer:
    """Return the program; with ``only``, just that command, which takes less time to import."""
    app = typer.Typer(
        cls=Program,
        name="fasttext-app",
        help="fastText as it would be written today: text classification with bags of n-grams.",
        no_args_is_help=True,
        add_completion=only is None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for command in COMMANDS if only is None else [only]:
        name = f"{command}_" if iskeyword(command) else command.replace("-", "_")
        module = import_module(f"fasttext_app.cli.{name}")
        if command == "ft":
            for registered in module.app.registered_commands:
                registered.cls = Command
                registered.help, registered.epilog = _help_texts(registered.callback)
                registered.callback = _announcing_compilation(registered.callback)
            app.add_typer(module.app, cls=Group)
        else:
            function = getattr(module, name)
            shown, examples = _help_texts(function)
            app.command(command, cls=Command, help=shown, epilog=examples)(
                _with_verbosity(function)
            )
    return app


def _help_texts(function: Callable[..., None]) -> tuple[str, str | None]:
    """Return the help of a command, a line for each paragraph, and its examples if it has any."""
    shown, _, examples = (inspect.getdoc(function) or "").partition("\n\nExamples:\n")
    paragraphs = (" ".join(paragraph.split()) for paragraph in shown.split("\n\n"))
    shown_examples = "Examples:\n" + indent(dedent(examples), "  ") if examples else None
    return "\n\n".join(paragraphs), shown_examples


def _announcing_compilation(function: Callable[..., None]) -> Callable[..., None]:
    @wraps(function)
    def run(*arguments: Any, **named: Any) -> None:
        with verbosity():
            function(*arguments, **named)

    return run


def _with_verbosity(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--quiet`` and ``--verbose`` to the options of a command, and ``--yes`` if it asks."""

    @wraps(function)
    def run(*, quiet: bool, verbose: bool, yes: bool = False, **arguments: Any) -> None:
        with verbosity(quiet=quiet, verbose=verbose, yes=yes), reading_shown():
            function(**arguments)

    signature = inspect.signature(function, eval_str=True)
    added: dict[str, Any] = {"quiet": QuietOption, "verbose": VerboseOption}
    if function.__name__ in OPENS_MODEL:
        added = {"yes": YesOption, **added}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, default=False, annotation=annotation)
        for name, annotation in added.items()
    ]
    wrapper: Any = run
    wrapper.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), *parameters]
    )
    wrapper.__annotations__ = {**function.__annotations__, **added}
    return run


def _show_version(requested: bool) -> None:
    if requested:
        result(f"fasttext-app {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None: ...
