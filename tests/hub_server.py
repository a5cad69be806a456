"""A stand-in for the Hugging Face hub: a server on this machine that speaks its API.

``HubServer`` keeps repositories in memory, with commits, branches, access rights and large files,
as far as ``huggingface_hub`` asks for them. ``python -m tests.hub_server`` runs one to try by hand.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_PlantedTokenThatNobodyMaySee"
LARGE = (".bin", ".ftz", ".safetensors", ".parquet")
"""Suffixes of files that are uploaded apart and downloaded from another host."""

Files = dict[str, bytes]


@dataclass
class Repository:
    """A repository: its commits with their files, and the commit of each branch."""

    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: Files, branch: str = "main", message: str = "") -> str:
        """Add a commit to a branch; return its hash."""
        content = json.dumps([len(self.commits), sorted(files), message]).encode()
        sha = hashlib.sha1(content).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        self.messages.append(message)
        return sha

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a branch or of a hash."""
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None

    def files(self, revision: str = "main") -> Files:
        """Return the files of a revision."""
        sha = self.resolve(revision)
        assert sha is not None
        return self.commits[sha]


@dataclass
class Request:
    """A request as it came."""

    method: str
    path: str
    host: str
    token: str | None


class HubServer:
    """The hub; use it as a context manager.

    Attributes:
        repositories: by their ids.
        requests: all that came.
        failure: status, headers and body of the answer to every request; None: the usual answers.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.uploads: Files = {}
        self.failure: tuple[int, dict[str, str], bytes] | None = None
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.storage = f"http://localhost:{self.port}"
        """The same server by another name: large files come from there, and no token goes there."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, repo: str, files: Files, *, private: bool = False, gated: bool = False) -> str:
        """Add a repository with one commit; return its hash."""
        self.repositories[repo] = Repository(private, gated)
        return self.repositories[repo].commit({".gitattributes": b"*.bin lfs\n", **files})

    def paths(self, method: str) -> list[str]:
        """Return the paths of the requests of a method."""
        return [request.path for request in self.requests if request.method == method]


ROUTES: list[tuple[str, re.Pattern[str], Callable[..., None]]] = []
REPO = r"(?P<repo>[^/]+/[^/]+)"


def route(method: str, pattern: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the function that answers requests with a path."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        ROUTES.append((method, re.compile(pattern.replace("REPO", REPO)), function))
        return function

    return add


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    body = b""

    def log_message(self, *values: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self.body = b"".join(chunks)
        else:
            self.body = self.rfile.read(length)
        authorization = self.headers.get("Authorization")
        token = authorization.removeprefix("Bearer ") if authorization else None
        path, host = urlsplit(self.path).path, self.headers["Host"]
        self.hub.requests.append(Request(self.command, path, host, token))
        if self.hub.failure is not None:
            status, headers, body = self.hub.failure
            self.send(status, body, **headers)
            return
        method = "GET" if self.command == "HEAD" else self.command
        for verb, pattern, function in ROUTES:
            found = pattern.fullmatch(path)
            if verb == method and found:
                named = {name: unquote(value) for name, value in found.groupdict().items() if value}
                function(self, token == TOKEN, **named)
                return
        self.send(404, b"no such page")

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer; ``_`` in the name of a header stands for a hyphen."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, document: Any, status: int = 200) -> None:
        """Send a JSON document."""
        self.send(status, json.dumps(document).encode(), Content_Type="application/json")

    def refuse(self, status: int, code: str, message: str = "") -> None:
        """Send an error as the hub does."""
        headers = {"X_Error_Code": code, "X_Error_Message": message or code}
        self.send(status, json.dumps({"error": message or code}).encode(), **headers)

    def repository(self, repo: str, *, logged_in: bool) -> Repository | None:
        """Return a repository that may be seen; refuse the request if there is none."""
        repository = self.hub.repositories.get(repo)
        if repository is None or (repository.private and not logged_in):
            self.refuse(404 if logged_in else 401, "RepoNotFound", "Repository not found")
            return None
        return repository


def large(name: str) -> bool:
    return name.endswith(LARGE)


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def found_commit(
    handler: _Handler, logged_in: bool, repo: str, revision: str
) -> tuple[Repository, str] | None:
    """Return a repository and a commit; refuse the request if one is missing."""
    repository = handler.repository(repo, logged_in=logged_in)
    if repository is None:
        return None
    sha = repository.resolve(revision)
    if sha is None:
        handler.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None
    return repository, sha


@route("GET", "/api/models/REPO(/revision/(?P<revision>.+))?")
def model_info(handler: _Handler, logged_in: bool, repo: str, revision: str = "main") -> None:
    found = found_commit(handler, logged_in, repo, revision)
    if found:
        repository, sha = found
        siblings = [{"rfilename": name} for name in repository.commits[sha]]
        handler.send_json(
            {
                **{"_id": repo, "id": repo, "sha": sha, "siblings": siblings, "tags": []},
                **{"private": repository.private, "gated": repository.gated},
            }
        )


@route("GET", "/api/models/REPO/tree/(?P<revision>[^/]+)")
def tree(handler: _Handler, logged_in: bool, repo: str, revision: str) -> None:
    found = found_commit(handler, logged_in, repo, revision)
    if not found:
        return
    entries: list[dict[str, Any]] = []
    for name, content in found[0].commits[found[1]].items():
        entry = {"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
        if large(name):
            entry["lfs"] = {"size": len(content), "oid": sha256(content), "pointerSize": 134}
        entries.append(entry)
    handler.send_json(entries)


@route("GET", "/REPO/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
def resolve(handler: _Handler, logged_in: bool, repo: str, revision: str, name: str) -> None:
    found = found_commit(handler, logged_in, repo, revision)
    if not found:
        return None
    repository, sha = found
    if repository.gated and not logged_in:
        return handler.refuse(403, "GatedRepo", f"Access to model {repo} is restricted")
    content = repository.commits[sha].get(name)
    if content is None:
        return handler.refuse(404, "EntryNotFound", "Entry not found")
    if large(name):
        oid = sha256(content)
        handler.hub.uploads[oid] = content
        return handler.send(
            302,
            X_Repo_Commit=sha,
            X_Linked_Etag=f'"{oid}"',
            X_Linked_Size=str(len(content)),
            Location=f"{handler.hub.storage}/storage/{oid}",
        )
    return send_file(handler, content, X_Repo_Commit=sha, ETag=f'"{git_oid(content)}"')


@route("GET", "/storage/(?P<oid>.+)")
def stored(handler: _Handler, logged_in: bool, oid: str) -> None:
    send_file(handler, handler.hub.uploads[oid])


def send_file(handler: _Handler, content: bytes, **headers: str) -> None:
    """Send a file, or the part that the request asks for."""
    part = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range") or "")
    if part is None:
        return handler.send(200, content, **headers)
    start, end = int(part[1]), int(part[2] or len(content) - 1)
    span = f"bytes {start}-{end}/{len(content)}"
    return handler.send(206, content[start : end + 1], Content_Range=span, **headers)


# --- uploads: all of them need a token


@route("POST", "/api/repos/create")
def create(handler: _Handler, logged_in: bool) -> None:
    wanted = json.loads(handler.body)
    repo = f"{wanted['organization']}/{wanted['name']}"
    if not logged_in:
        return handler.refuse(401, "", "Invalid username or password.")
    if wanted["organization"] == "other":
        return handler.refuse(403, "", "You don't have the rights to create a model there")
    known = repo in handler.hub.repositories
    if not known:
        private = wanted.get("visibility") == "private"
        handler.hub.add(repo, {}, private=private)
    return handler.send_json({"url": f"{handler.hub.url}/{repo}"}, 409 if known else 200)


@route("POST", "/api/validate-yaml")
def validate(handler: _Handler, logged_in: bool) -> None:
    import yaml

    _, head, _ = json.loads(handler.body)["content"].split("---\n", 2)
    assert isinstance(yaml.safe_load(head), dict)
    handler.send_json({"errors": [], "warnings": []})


@route("POST", "/api/models/REPO/branch/(?P<branch>.+)")
def create_branch(handler: _Handler, logged_in: bool, repo: str, branch: str) -> None:
    repository = writable(handler, logged_in, repo)
    if repository is None:
        return None
    if branch in repository.branches:
        return handler.refuse(409, "", "Reference already exists")
    repository.branches[branch] = repository.branches["main"]
    return handler.send_json({})


@route("POST", "/api/models/REPO/preupload/(?P<revision>.+)")
def preupload(handler: _Handler, logged_in: bool, repo: str, revision: str) -> None:
    repository = writable(handler, logged_in, repo)
    if repository is None:
        return
    files = []
    for file in json.loads(handler.body)["files"]:
        mode = "lfs" if large(file["path"]) else "regular"
        old = repository.files(revision).get(file["path"])
        oid = None if old is None else sha256(old) if mode == "lfs" else git_oid(old)
        files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    handler.send_json({"files": files})


@route("POST", r"/REPO\.git/info/lfs/objects/batch")
def batch(handler: _Handler, logged_in: bool, repo: str) -> None:
    if writable(handler, logged_in, repo) is None:
        return
    objects = []
    for entry in json.loads(handler.body)["objects"]:
        if entry["oid"] not in handler.hub.uploads:
            upload = {"href": f"{handler.hub.storage}/storage/{entry['oid']}"}
            verify = {"href": f"{handler.hub.url}/verify"}
            entry["actions"] = {"upload": upload, "verify": verify}
        objects.append(entry)
    handler.send_json({"transfer": "basic", "objects": objects})


@route("PUT", "/storage/(?P<oid>.+)")
def store(handler: _Handler, logged_in: bool, oid: str) -> None:
    assert sha256(handler.body) == oid
    handler.hub.uploads[oid] = handler.body
    handler.send(200)


@route("POST", "/verify")
def verify(handler: _Handler, logged_in: bool) -> None:
    wanted = json.loads(handler.body)
    assert len(handler.hub.uploads[wanted["oid"]]) == wanted["size"]
    handler.send(200)


@route("POST", "/api/models/REPO/commit/(?P<revision>.+)")
def commit(handler: _Handler, logged_in: bool, repo: str, revision: str) -> None:
    repository = writable(handler, logged_in, repo)
    if repository is None:
        return
    header, *operations = [json.loads(line) for line in handler.body.splitlines()]
    files = dict(repository.files(revision))
    for operation in operations:
        value = operation["value"]
        if operation["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif operation["key"] == "lfsFile":
            files[value["path"]] = handler.hub.uploads[value["oid"]]
        else:
            assert operation["key"] == "deletedFile"
            del files[value["path"]]
    sha = repository.commit(files, revision, header["value"]["summary"])
    handler.send_json({"commitUrl": f"{handler.hub.url}/{repo}/commit/{sha}", "commitOid": sha})


def writable(handler: _Handler, logged_in: bool, repo: str) -> Repository | None:
    """Return a repository that may be changed; refuse the request if it may not."""
    repository = handler.repository(repo, logged_in=logged_in)
    if repository is not None and not logged_in:
        handler.refuse(401, "", "Invalid username or password.")
        return None
    return repository


@contextmanager
def hub_in_place(server: HubServer, cache: Path, token: str | None = None) -> Iterator[None]:
    """Let ``huggingface_hub`` talk to a server in this block, with a cache of its own."""
    from huggingface_hub import close_session, constants

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
        }.items():
            patch.setattr(constants, name, value)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.delenv("HF_TOKEN", raising=False)
        if token is not None:
            patch.setenv("HF_TOKEN", token)
        close_session()
        yield
        close_session()


def main() -> None:
    """Run a server until Ctrl-C."""
    with HubServer() as server:
        sys.stdout.write(f"export HF_ENDPOINT={server.url} HF_TOKEN={TOKEN} HF_HUB_DISABLE_XET=1\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
