"""``fasttext-app serve``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from fasttext_app.cli import messages
from fasttext_app.core import meter
from fasttext_app.errors import missing_package

PACKAGES = ("fastapi", "uvicorn", "httptools", "prometheus_client")
"""What the extra ``serve`` installs."""

_models = Argument(
    metavar="MODEL",
    help="Model directory, fastText .bin or .ftz file, or a hub id; NAME=MODEL names it. "
    "Repeatable.",
)


def serve(
    models: Annotated[list[str], _models],
    host: Annotated[str, Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0: any free one.")
    ] = 8000,
    workers: Annotated[
        int, Option(metavar="N", min=1, max=1024, help="Processes that answer requests.")
    ] = 1,
    max_texts: Annotated[
        int, Option("--max-texts", metavar="N", min=1, help="Texts in one request.")
    ] = 10_000,
    max_bytes: Annotated[
        int, Option("--max-bytes", metavar="N", min=1, help="Size of one request.")
    ] = 4 << 20,
) -> None:
    """Serve models over HTTP, with a page to type a text.

    Requests go to POST /predict; /docs describes all of them. A model whose
    files are replaced is loaded again. Ctrl-C or SIGTERM stops the service
    once it has answered the requests under way.

    Examples:
        fasttext-app serve models/tickets
        fasttext-app serve models/tickets lang=lid.176.bin --port 8080 --workers 2
    """
    try:
        from fasttext_app.serve.server import serve as run
        from fasttext_app.serve.settings import ServeSettings
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise missing_package("serve", str(error.name), "serve") from None
    meter.follow = None  # no bar for what a request holds
    settings = ServeSettings(host, port, workers, max_texts, max_bytes)
    run(models, settings, messages.note, messages.warn, packages=messages.says_yes)
