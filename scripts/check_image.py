"""Do what the Dockerfile says, without Docker, and serve a model as its user.

    python scripts/check_image.py MODEL [--folder FOLDER]

Copies the files that the Dockerfile copies, runs its RUN steps with a virtual environment in
FOLDER, and runs its ENTRYPOINT on a free port. If this is root, that process belongs to the user
of the image, who can write nothing, and everything that was built is made read-only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.dockerfile import read_stages  # noqa: E402 - not installed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--folder", type=Path, help="where to build; default: a temporary folder")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="image-", dir="/var/tmp"))
    build, final = read_stages()
    (target,) = {arguments[-1] for arguments in final.all("COPY")}

    def placed(words: list[str]) -> list[str]:
        return [word.replace(target, f"{folder}{target}") for word in words]

    sources = folder / "build"
    for *names, place in build.all("COPY"):
        for name in names:
            source = ROOT / name
            copy = sources / (place if len(names) == 1 else name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(source, copy)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for words in build.all("RUN"):
        command = [word for word in placed(words) if word != "$PIP_OPTIONS"]
        print("$", *command, flush=True)
        subprocess.run(command, cwd=sources, check=True, env=environment)
    shutil.rmtree(sources)
    serve_as_user(
        args.model,
        folder,
        placed([f"{target}/bin", *final.all("ENTRYPOINT")[0]]),
        final.all("USER")[0][0],
    )
    print("the image would serve the model")


def serve_as_user(model: Path, folder: Path, words: list[str], user: str) -> None:
    """Run the entry point, and ask it for a prediction and its health."""
    path, program, *arguments = words
    command = [f"{path}/{program}", *arguments, str(model.resolve()), "--port", "0"]
    identity: dict[str, Any] = {}
    if os.getuid() == 0:
        subprocess.run(["chmod", "-R", "a-w,a+rX", str(folder)], check=True)
        number, group = map(int, user.split(":"))
        identity = {"user": number, "group": group, "extra_groups": []}
    environment = {
        "PATH": f"{path}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
    }
    print("$", *command, identity, flush=True)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd="/", env=environment, **identity
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        try:
            assert "serving" in line, line + process.stderr.read()  # not: compiling kernels
            address = line.partition(" at ")[2].partition(";")[0].replace("0.0.0.0", "127.0.0.1")
            body = json.dumps({"text": "oil prices", "explain": True}).encode()
            print(urlopen(f"{address}/predict", body).read()[:80])
            print(urlopen(f"{address}/health").read())
            assert b"<textarea" in urlopen(address).read()
        finally:
            process.terminate()
        assert process.wait() == 0, process.stderr.read()


if __name__ == "__main__":
    main()
