"""Models on the Hugging Face hub: ids such as ``owner/name@revision``, downloads and uploads.

A model is a repository with the files of a model directory, or with one fastText file. This module
moves the files and translates the errors of ``huggingface_hub``; it looks into none of them.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from importlib import import_module
from logging import CRITICAL
from pathlib import Path
from typing import Any

from fasttext_app._version import __version__
from fasttext_app.core import meter
from fasttext_app.core.checksummed_dir import MANIFEST, UNREADABLE, read_json
from fasttext_app.errors import ArtifactError, ConfigError, FastTextAppError, missing_package
from fasttext_app.model.directory import FORMAT, MODEL_FILES

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
FASTTEXT_SUFFIXES = (".bin", ".ftz")
NOT_FOUND = "no such model directory"
LOG_IN = "log in with `hf auth login`"


@dataclass(frozen=True)
class ModelId:
    """A repository of the hub, and a revision of it: a branch, a tag or a commit.

    >>> ModelId.parse("owner/name@v1.0")
    ModelId(repo='owner/name', revision='v1.0')
    >>> ModelId.parse("models/deep/folder") is ModelId.parse("models/lid.176.bin") is None
    True
    """

    repo: str
    revision: str | None = None
    """None: the default branch."""

    @classmethod
    def parse(cls, text: str) -> ModelId | None:
        """Read an id; None if the text can only be a path."""
        repo, at, revision = text.partition("@")
        is_id = REPOSITORY.fullmatch(repo) and not repo.endswith(FASTTEXT_SUFFIXES)
        return cls(repo, revision or None) if is_id and bool(at) == bool(revision) else None

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def local_model(model: str | Path, revision: str | None = None, token: str | None = None) -> Path:
    """Return the path of a model: of a model directory, or of a fastText file.

    A path that exists is taken as it is; if it is a folder with no model but one fastText file,
    the model is that file. Any other name in the form ``owner/name`` or ``owner/name@revision`` is
    looked up on the hub, and the files that are not in the local cache are downloaded.

    Args:
        model: the path or the id.
        revision: the revision of an id that names none.
        token: the access token; None: the one that the user is logged in with.

    Returns:
        The path; one that does not exist if the name can only be a path.

    Raises:
        ArtifactError: the hub has no such model, or it cannot be downloaded.
        ConfigError: the revision is given twice, or for a path.
        MissingDependencyError: huggingface_hub is not installed.
    """
    path = Path(model)
    if path.exists():
        if revision is not None:
            raise ConfigError(f"revision: {model} is a local path, which has no revisions")
        return _only_fasttext_file(path) or path
    found = ModelId.parse(str(model))
    if found is None:
        return path
    if revision is not None:
        if found.revision is not None:
            raise ConfigError(f"revision: {model} names a revision already; give one of the two")
        found = replace(found, revision=revision)
    return download(found, token)


def download(model: ModelId, token: str | None = None) -> Path:
    """Return the path of a model of the hub in the local cache, whose files are links.

    Raises:
        ArtifactError: the hub has no such model, or it cannot be downloaded.
        MissingDependencyError: huggingface_hub is not installed.
    """
    from fasttext_app.data.hub import offline_where_unreachable  # imports what reads tables

    with _library(model, token, f"{NOT_FOUND}, and ") as library, offline_where_unreachable():
        api = _api(library, token)
        revision = api.resolve_revision(model.repo, revision=model.revision)
        fetch = partial(api.snapshot_download, model.repo, revision=revision)
        folder = Path(fetch(allow_patterns=[MANIFEST]))
        present = _names_in(library, model.repo, revision, folder)
        if _has_our_manifest(folder):
            names = sorted(MODEL_FILES.intersection(present))
        else:
            names = [_fasttext_file(library, model, revision, present, token)]
        if not all((folder / name).exists() for name in names):
            with _bars(library):
                fetch(allow_patterns=[escape(name) for name in names])
        return folder if MANIFEST in names else folder / names[0]


def _names_in(library: Any, repo: str, revision: Any, folder: Path) -> list[str]:
    """Return the names of the files of a revision, as far as the cache knows them."""
    try:
        return [entry.path for entry in library.get_cached_repo_tree(repo, revision=revision)]
    except library.errors.CachedRepoTreeNotFoundError:  # offline, and an older version filled it
        return [entry.name for entry in folder.iterdir()]


def _fasttext_file(
    library: Any, model: ModelId, revision: Any, names: Iterable[str], token: str | None
) -> str:
    """Return the name of the one fastText file of a repository, before it is downloaded.

    Raises:
        ArtifactError: there is none, or there are several.
    """
    candidates = _fasttext_names(names)
    if len(candidates) > 1:
        raise ArtifactError(
            f"{model}: the repository has several fastText files ({', '.join(candidates)}); "
            "download one with `hf download`, and name its path"
        )
    if not candidates or not _begins_as_fasttext(
        library, model.repo, revision, candidates[0], token
    ):
        raise ArtifactError(
            f"{model}: the repository has neither a model of fasttext_app nor a fastText file; "
            "choose another"
        )
    return candidates[0]


def _only_fasttext_file(path: Path) -> Path | None:
    """Return the one fastText file of a folder without a model directory's manifest."""
    if not path.is_dir() or (path / MANIFEST).exists():
        return None
    from fasttext_app.fasttext.file_format import is_fasttext

    names = _fasttext_names(entry.name for entry in path.iterdir())
    return path / names[0] if len(names) == 1 and is_fasttext(path / names[0]) else None


def _fasttext_names(names: Iterable[str]) -> list[str]:
    """Return the names of files, not of those in folders, that end like fastText's."""
    return sorted(name for name in names if name.endswith(FASTTEXT_SUFFIXES) and "/" not in name)


def _has_our_manifest(folder: Path) -> bool:
    try:
        return read_json(folder / MANIFEST).get("format") == FORMAT
    except UNREADABLE:
        return False


def _begins_as_fasttext(
    library: Any, repo: str, revision: Any, name: str, token: str | None
) -> bool:
    """Read the first bytes of a file: weights of other programs end in ``.bin`` too."""
    from fasttext_app.fasttext.file_format import MAGIC_BYTES, is_fasttext

    cached = library.try_to_load_from_cache(repo, name, revision=revision.resolved)
    if isinstance(cached, str):
        return is_fasttext(cached)
    headers = library.utils.build_hf_headers(token=token)
    headers["Range"] = f"bytes=0-{len(MAGIC_BYTES) - 1}"
    url = library.hf_hub_url(repo, name, revision=revision.resolved)
    with library.utils.get_session().stream("GET", url, headers=headers) as response:
        library.utils.hf_raise_for_status(response)
        return bytes(next(response.iter_bytes(), b"")).startswith(MAGIC_BYTES)


def _import() -> Any:
    """Return `huggingface_hub`, which does not import its modules by itself."""
    for name in ("constants", "errors", "utils"):
        import_module(f"huggingface_hub.{name}")
    return import_module("huggingface_hub")


def _api(library: Any, token: str | None) -> Any:
    return library.HfApi(token=token, library_name="fasttext_app", library_version=__version__)


@contextmanager
def _library(model: ModelId, token: str | None, missing: str = "") -> Iterator[Any]:
    """Import `huggingface_hub`, keep it quiet, and raise its errors as one line.

    Args:
        model: what is looked up.
        token: the access token, which no message repeats.
        missing: the beginning of a message that the model is not there.
    """
    try:
        library = _import()
    except ImportError:
        user = f"{model}: {missing}the hub" if missing else f"{model}: the hub"
        raise missing_package(user, "huggingface_hub", "hub") from None
    bars = library.utils.are_progress_bars_disabled()
    verbosity = library.utils.logging.get_verbosity()
    _show_bars(library, shown=False)
    library.utils.logging.set_verbosity(CRITICAL)
    try:
        yield library
    except FastTextAppError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises many unrelated types
        problem = f"{model}: {_problem(library, error, model, missing)}"
        for secret in (token, library.get_token()):
            problem = problem.replace(secret, "(token)") if secret else problem
        raise ArtifactError(problem) from None
    finally:
        library.utils.logging.set_verbosity(verbosity)
        _show_bars(library, shown=not bars)


@contextmanager
def _bars(library: Any) -> Iterator[None]:
    """Let the library draw its bars in this block, if standard error is a terminal."""
    stream: Any = sys.stderr
    if not meter.bars or stream is None or not stream.isatty():
        yield
        return
    _show_bars(library, shown=True)
    try:
        # The command line escapes control characters; the bars need them, and show no foreign text.
        with redirect_stderr(getattr(stream, "rich_proxied_file", stream)):
            yield
    finally:
        _show_bars(library, shown=False)


def _show_bars(library: Any, *, shown: bool) -> None:
    change = library.utils.enable_progress_bars if shown else library.utils.disable_progress_bars
    with warnings.catch_warnings(action="ignore"):  # HF_HUB_DISABLE_PROGRESS_BARS has precedence
        change()


def _problem(library: Any, error: BaseException, model: ModelId, missing: str) -> str:
    """Return what is wrong, and what to do."""
    errors, page = library.errors, f"{library.constants.ENDPOINT}/{model.repo}"
    cause = error.__cause__
    if isinstance(error, RuntimeError) and cause is not None:  # of an upload
        error = cause
    if isinstance(cause, errors.HfHubHTTPError):  # the library has looked into its cache after it
        error = cause
    if isinstance(error, errors.HFValidationError):
        return f"{missing}the hub allows no such id; check the name"
    if isinstance(error, errors.GatedRepoError):
        return f"access to it is restricted; ask for access at {page}, and {LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{missing}the hub has no such repository; check the name, or {LOG_IN} if it is private"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision; name one of its branches, tags or commits"
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(error)
    unreachable = (
        *(errors.OfflineModeIsEnabled, errors.RevisionResolutionError),
        *(errors.LocalEntryNotFoundError, errors.HTTPError),
    )
    if isinstance(error, unreachable) and library.constants.HF_HUB_OFFLINE:
        lacking = ", and the cache lacks it" if missing else ""
        return f"{missing}HF_HUB_OFFLINE is set{lacking}; unset it to reach the hub"
    if isinstance(error, unreachable):
        return (
            f"{missing}the hub cannot be reached; check the network, and HF_ENDPOINT if it is set"
        )
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(reason).split())


def _refusal(error: Any) -> str:
    """Return why the hub refuses a request, and what to do."""
    code = error.response.status_code
    known = {
        401: f"the hub requires a valid token; {LOG_IN}",
        403: "the hub denies access; use a token with the permission for it",
        429: "the hub allows no more requests for now; try again later",
    }
    if code in known:
        return known[code]
    detail = " ".join((error.server_message or "").split())
    answer = f"the hub answers with error {code}{f' ({detail})' if detail else ''}"
    return f"{answer}; try again later" if code >= 500 else answer


def upload(
    files: Mapping[str, Path | bytes],
    model: ModelId,
    *,
    private: bool | None = None,
    message: str | None = None,
    token: str | None = None,
) -> ModelId:
    """Put the files of a model into a repository, in one commit.

    The repository and the branch are created if there are none. Files of an earlier model that this
    one lacks are deleted; files that are not part of a model stay.

    Args:
        files: a path or the content of each file.
        model: the repository; the revision is a branch.
        private: whether a new repository is private; None: as is the default of its owner. True
            refuses one that is public.
        message: the message of the commit.
        token: the access token; None: the one that the user is logged in with.

    Returns:
        The repository with the commit as the revision.

    Raises:
        ArtifactError: the hub refuses it or cannot be reached.
        MissingDependencyError: huggingface_hub is not installed.
    """
    with _library(model, token) as library, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data")
        warnings.filterwarnings("ignore", message="Warnings while validating metadata")
        warnings.filterwarnings("ignore", message="Use 'content=", category=DeprecationWarning)
        api = _api(library, token)
        api.create_repo(model.repo, private=private, exist_ok=True)
        if private and not api.model_info(model.repo).private:
            raise ArtifactError(
                f"{model.repo}: the repository is public; make it private in its settings first"
            )
        branch = model.revision
        if branch is not None and not branch.startswith("refs/"):
            api.create_branch(model.repo, branch=branch, exist_ok=True)
        earlier = set(api.list_repo_files(model.repo, revision=branch)) & MODEL_FILES
        operations = [
            *(library.CommitOperationAdd(name, content) for name, content in files.items()),
            *(library.CommitOperationDelete(name) for name in sorted(earlier - set(files))),
        ]
        message = message or f"Upload a model of fasttext_app {__version__}"
        with _bars(library):
            commit = api.create_commit(
                model.repo, operations, revision=branch, commit_message=message
            )
        return replace(model, revision=commit.oid)


def page_of(model: ModelId) -> str:
    """Return the address of a repository."""
    return f"{_import().constants.ENDPOINT}/{model.repo}"
