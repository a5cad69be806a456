"""Build the packages of a release, and try each in an empty environment of each Python.

    python scripts/check_release.py --python 3.11 [--python 3.12 ...] [--output dist]

The wheel and the source distribution are built into OUTPUT, and twine checks their metadata. Then
each is installed into a new venv with the versions of constraints.txt, where it has to train on the
embedded sample, predict, and print its version, outside the repository. The changelog, CITATION.cff
and the package must agree on the version.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEXT = "a chess engine with an opening book"


class ReleaseError(Exception):
    """Something that must be mended before a release."""


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a command and return its standard output.

    Raises:
        ReleaseError: it failed.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        line = " ".join(map(str, command))
        raise ReleaseError(f"{line} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


def check_versions() -> str:
    """Return the version; the changelog and CITATION.cff must have it too.

    Raises:
        ReleaseError: a file names another version.
    """
    package = (ROOT / "fasttext_app" / "_version.py").read_text(encoding="utf-8")
    version: str = re.findall(r'"(\d[^"]*)"', package)[0]
    changelog = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    citation = re.findall(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text("utf-8"), re.M)
    for file, versions in (("CHANGELOG.md", changelog[:1]), ("CITATION.cff", citation)):
        if versions != [version]:
            raise ReleaseError(f"{file} names the version {versions}; the package is {version}")
    return version


def build(output: Path) -> list[Path]:
    """Build the wheel and the source distribution; return them, checked by twine."""
    run(sys.executable, "-m", "build", "--quiet", "--outdir", output)
    packages = sorted(output.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *packages)
    return packages


def try_package(package: Path, python: str, version: str) -> None:
    """Install a package into a new venv, and use it there.

    Raises:
        ReleaseError: it cannot be installed or used, or gives another version.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(interpreter(python), "-m", "venv", folder / "venv")
        bin_folder = folder / "venv" / "bin"
        pip = bin_folder / "python", "-m", "pip", "install", "--quiet"
        run(*pip, "--constraint", ROOT / "constraints.txt", package)
        app = bin_folder / "fasttext-app"
        if version not in run(app, "--version", folder=folder):
            raise ReleaseError(f"{package.name} on Python {python} gives another version")
        run(app, "train", "--config", "sample", "--epochs", "2", "--output", "model", folder=folder)
        answer = run(app, "predict", "model", TEXT, folder=folder)
        if not answer.startswith("games "):
            raise ReleaseError(f"{package.name} on Python {python} answers {answer!r}")


def interpreter(version: str) -> str:
    """Return the interpreter of a Python version.

    Raises:
        ReleaseError: it is not installed.
    """
    candidates = [
        *sorted(map(str, Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))),
        shutil.which(f"python{version}"),
        sys.executable,
    ]
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        found = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
        if found.stdout.strip() == version:
            return path
    raise ReleaseError(f"Python {version} is not installed")


def main() -> int:
    """Check a release and print each step; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--python", action="append", required=True, metavar="VERSION", help="such as 3.11"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "dist",
        help="an empty or a new folder for the packages",
    )
    options = parser.parse_args()
    try:
        if options.output.exists() and any(options.output.iterdir()):
            raise ReleaseError(f"{options.output} is not empty; run make clean, or pass --output")
        for python in options.python:
            interpreter(python)
        version = check_versions()
        packages = build(options.output)
        for python in options.python:
            for package in packages:
                try_package(package, python, version)
                print(f"{package.name} works on Python {python}")
    except ReleaseError as error:
        print(f"check_release: {error}", file=sys.stderr)
        return 1
    print(f"version {version} is ready: twine upload {options.output}/*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
