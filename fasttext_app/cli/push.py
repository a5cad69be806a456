"""``fasttext-app push``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from fasttext_app.cli.messages import note
from fasttext_app.cli.options import JsonOption, ModelArgument, load_model, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_repo = Argument(
    metavar="REPO", help="Repository, owner/name or owner/name@branch; created if there is none."
)
_private = Option(
    "--private/--public", help="Who may see a new repository.", show_default="the owner's default"
)
_message = Option("--message", "-m", metavar="TEXT", help="Message of the commit.")
_license = Option("--license", metavar="NAME", help="License, for the model card: mit, ...")
_language = Option(
    "--language", metavar="CODE", help="Language, for the model card: en, ...; repeatable."
)
_scores = Option(
    "--scores", metavar="FILE", help="Scores for the model card: what evaluate --json prints."
)


def push(
    model: ModelArgument,
    repo: Annotated[str, _repo],
    private: Annotated[bool | None, _private] = None,
    message: Annotated[str | None, _message] = None,
    license_: Annotated[str | None, _license] = None,
    language: Annotated[list[str] | None, _language] = None,
    scores: Annotated[Path | None, _scores] = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a model to the Hugging Face hub, with its model card.

    The token is that of `hf auth login`, or of the variable HF_TOKEN.

    A README.md that you have edited goes up with your text. The scores add a
    picture of the confusion matrix.

    Examples:
        fasttext-app push models/tickets my-name/tickets --private
        fasttext-app push models/tickets my-name/tickets --license mit --language en
    """
    from fasttext_app.hub import local_model, page_of
    from fasttext_app.inference.publish import card_details, repository
    from fasttext_app.inference.publish import push as upload

    target = repository(repo)
    measured = None if scores is None else _read_scores(scores)
    path = local_model(model)
    classifier = load_model(path)
    details = card_details(classifier, target.repo, license_, language, measured)
    folder = path if path.is_dir() else None
    pushed = upload(classifier, target, details, folder=folder, private=private, message=message)
    if as_json:
        print_json({"id": str(pushed), "url": page_of(pushed)})
        return
    note(f"pushed {model} to {page_of(pushed)}, commit {pushed.revision}", err=False)


def _read_scores(file: Path) -> Mapping[str, Any]:
    """Read the scores that ``evaluate --json`` printed.

    Raises:
        DataError: the file holds something else.
    """
    from fasttext_app.core.checksummed_dir import UNREADABLE, read_json
    from fasttext_app.errors import DataError

    try:
        return read_json(file)
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or "is not the output of `evaluate --json`"
        raise DataError(f"{file}: {reason}; name a file with that output") from None
