"""The Dockerfile, as far as it can be checked without a daemon; scripts/check_image.py runs it."""

from __future__ import annotations

import shlex
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from tests.dockerfile import read_stages
from tests.helpers import ROOT, run_cli

BUILD, FINAL = read_stages()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def copied():
    return [source for *sources, _ in BUILD.all("COPY") for source in sources]


def test_what_is_copied_exists_and_is_not_ignored():
    assert all((ROOT / source).exists() for source in copied())
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    def is_ignored(path):
        ignored = False
        for pattern in patterns:
            if fnmatch(path, pattern.lstrip("!")):
                ignored = not pattern.startswith("!")
        return ignored

    for source in copied():
        assert not is_ignored(source), source
    assert is_ignored(".venv")
    assert is_ignored("data/ag_news")


def test_what_a_wheel_needs_is_copied():
    project, hatch = PROJECT["project"], PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"], *hatch["packages"]}
    needed |= set(hatch["force-include"])
    assert needed <= set(copied())


def test_the_commands_are_those_of_this_program():
    venv, install, warm_up = BUILD.all("RUN")
    folder = venv[-1]
    assert install[0] == f"{folder}/bin/pip"
    assert "constraints.txt" in install
    (extra,) = [word for word in install if word.startswith(".[")]
    assert extra.strip(".[]") in PROJECT["project"]["optional-dependencies"]
    program, *arguments = warm_up
    assert program == f"{folder}/bin/fasttext-app"
    run_cli(*arguments, "--help")
    assert FINAL.all("COPY") == [["--from=build", folder, folder]]
    assert f"PATH={folder}/bin:$PATH" in FINAL.all("ENV")[0]


def test_the_service_runs_as_nobody_and_is_reached():
    (user,) = FINAL.all("USER")[0]
    assert int(user.partition(":")[0]) > 0
    ((program, *arguments),) = FINAL.all("ENTRYPOINT")
    assert program == "fasttext-app"
    help_text = run_cli(*arguments, *FINAL.all("CMD")[0], code=0).stdout
    assert "--host" in help_text
    (port,) = FINAL.all("EXPOSE")[0]
    assert f":{port}/health" in shlex.join(FINAL.all("HEALTHCHECK")[0])
    assert f"[default: {port}]" in " ".join(help_text.split())


def test_the_python_is_one_that_the_package_takes():
    versions = {stage.image.partition(":")[2].partition("-")[0] for stage in (BUILD, FINAL)}
    (version,) = versions
    minimum = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, version.split("."))) >= tuple(map(int, minimum.split(".")))
    assert Path(ROOT / "Dockerfile").read_text().count("FROM") == 2
