"""Do what the Dockerfile says, without Docker, and serve a model as its user.

    python scripts/check_image.py MODEL [--folder FOLDER]

Copies the files that the Dockerfile copies, runs its RUN steps with a virtual environment in
FOLDER, and runs its ENTRYPOINT on a free port. What was built is made read-only, and that process
gets no capability of root, so that it can write nothing there, as in a read-only container.
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
    serve(args.model, folder, placed([f"{target}/bin", *final.all("ENTRYPOINT")[0]]))
    print("the image would serve the model")


def serve(model: Path, folder: Path, words: list[str]) -> None:
    """Run the entry point, and ask it for a prediction, its page and its health."""
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(folder)], check=True)
    path, program, *arguments = words
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    command = [*drop, f"{path}/{program}", *arguments, str(model.resolve()), "--port", "0"]
    nowhere = {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}
    environment = {
        "PATH": f"{path}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        **nowhere,
    }
    print("$", *command, flush=True)
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd="/", env=environment
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
