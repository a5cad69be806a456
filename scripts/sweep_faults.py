"""Run every command on a disk that is full from the n-th write on, for n = 1, 2, ...

python scripts/sweep_faults.py [--only TEXT] [--quick] [--every N]

Each command is repeated until no write fails any more. Whenever one failed, the command must either
succeed all the same, or end with exit code 1 and one line on standard error. No file that was there
before may have changed, and every new file must be complete, as after a run without a fault. The
same command must then succeed once there is room again.

Needs a C compiler and Linux: ``full_disk.c`` makes the writes fail.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("full_disk.c")
SHIM = "FULL_DISK_SHIM"
"""The variable with the path of the compiled shim, in a process that has it preloaded."""
QUICK = ("--epochs", "2", "--dim", "4", "--threads", "1", "--device", "cpu")
MAX_WRITES = 2000
MAX_SECONDS = 120

UNLIKE = r"(history|metrics|run|state|manifest)\.json|README\.md|best\.toml|trials\.csv|study"
PULLED, PUSHED = "some-user/pulled", "some-user/pushed"

Contents = dict[str, bytes | None]


@dataclass(frozen=True)
class Job:
    """A command to repeat."""

    name: str
    arguments: tuple[str, ...]
    stdout: str = ""
    """The file for standard output on the full disk; "": elsewhere."""
    again: tuple[str, ...] = ()
    """What follows once there is room again, if it is not the same command."""
    unlike: str = UNLIKE
    """Files that differ from run to run, in times."""
    quick: bool = False
    whole_process: bool = False
    """Whether to start a process of its own, which takes seconds: it forks where it can."""
    leaves: str = ""
    """Files that a failed command may leave: a regular expression."""
    failures: str = ""
    """What a command that goes on after a failure says, instead of ending with one line."""


CHECKPOINTS = r"run(/checkpoints(/(lock|\d+(/.*)?))?)?"
STUDY = "search(/study.jsonl|/best.toml|/final.toml|/trials.csv|/search.png)?"
HUB = r"cache(/.*)?"
"""Downloads and locks of huggingface_hub."""
TAGGED = rf"{UNLIKE}|cache/CACHEDIR.TAG"
"""A note for backup programs, which huggingface_hub writes in place."""
FASTTEXT = (
    "-dim",
    "2",
    "-bucket",
    "300",
    "-maxn",
    "3",
    "-minn",
    "2",
    "-epoch",
    "1",
    "-thread",
    "1",
)
THRESHOLDS = ("--no-temperature", "--thresholds", "f1")
SEARCH = ("tune", "-d", "data.csv", "-o", "search", "--trials", "2", "--threads", "1")
PREDICTION = ("predict", "model", "-i", "data.csv")
JOBS = [
    Job("train", ("train", "-d", "data.csv", "-o", "out", *QUICK)),
    Job(
        "train in a process of its own",
        ("train", "-d", "data.csv", "-o", "out", "--epochs", "2", "--dim", "4", "--threads", "2"),
        whole_process=True,
    ),
    Job("train over a model", ("train", "-d", "data.csv", "-o", "model", "--overwrite", *QUICK)),
    Job("train further", ("train", "--from", "model", "-d", "data.csv", "-o", "out", *QUICK)),
    Job(
        "train with checkpoints",
        ("train", "-d", "data.csv", "-o", "run", "--checkpoint-every", "1", *QUICK),
        again=("train", "--resume", "run"),
        leaves=CHECKPOINTS,
    ),
    Job(
        "train with TensorBoard",
        ("train", "-d", "data.csv", "-o", "out", "--tensorboard", "log", *QUICK),
        leaves="log(/.*)?",
        unlike=f"{UNLIKE}|log/",
    ),
    Job("tune", SEARCH, leaves=STUDY),
    Job("tune and train", (*SEARCH, "--train"), leaves=f"{STUDY}|search/model(/.*)?"),
    *(
        Job(f"predict {form}", (*PREDICTION, "-o", f"out.{form}"), quick=form == "csv")
        for form in ("jsonl", "csv", "parquet", "txt")
    ),
    Job(
        "score",
        ("score", "model", "data.csv", "-o", "scored"),
        leaves="scored(/.*)?",
        failures="data.csv: cannot be written: No space left on device\n",
    ),
    Job("review", ("review", "-d", "data.csv", "-o", "out.csv", "--folds", "2")),
    Job("report", ("report", "model", "-d", "dev.csv", "-o", "out.html")),
    Job("evaluate", ("evaluate", "model", "-d", "data.csv", "--reliability", "x.svg")),
    Job("calibrate", ("calibrate", "model", "-d", "dev.csv", "-o", "out", *THRESHOLDS)),
    Job("quantize", ("quantize", "model", "-o", "out")),
    Job("explain", ("explain", "model", "the team", "-o", "out.html"), quick=True),
    Job("plot svg", ("plot", "model", "-o", "out.svg")),
    Job("plot png", ("plot", "model", "-o", "out.png")),
    Job("import", ("import", "m.bin", "-o", "out")),
    Job("export bin", ("export", "words", "out.bin")),
    Job("export onnx", ("export", "model", "out.onnx"), leaves=r"\.ses"),  # of ONNX Runtime
    Job("export vec", ("export", "model", "out.vec"), quick=True),
    Job("push", ("push", "model", PUSHED), leaves=HUB),
    Job("pull", ("pull", PULLED, "out"), leaves=HUB, unlike=TAGGED),
    Job(
        "predict with a model of the hub",
        ("predict", PULLED, "the team"),
        leaves=HUB,
        unlike=TAGGED,
    ),
    Job(
        "ft supervised",
        ("ft", "supervised", "-input", "data.txt", "-output", "out", "-saveOutput", *FASTTEXT),
        leaves="out.bin|out.vec",
    ),
    Job("ft quantize", ("ft", "quantize", "-output", "m")),
    Job(
        "ft quantize -retrain",
        ("ft", "quantize", "-output", "m", "-retrain", "-input", "data.txt", "-qnorm"),
    ),
    *(
        Job(f"{' '.join(command[:2])} to a full disk", command, "out.txt", quick="-i" in command)
        for command in (
            PREDICTION,
            ("threshold", "model", "-i", "data.csv", "--label", "money", "--keep", "0.5"),
            ("evaluate", "model", "-d", "data.csv", "--json"),
            ("info", "model"),
            ("data", "data.csv"),
            ("inspect", "model", "the team"),
            ("explain", "model", "the team"),
            ("review", "-d", "data.csv", "--folds", "2"),
            ("plot", "model"),
            ("ft", "test", "m.bin", "data.txt"),
            ("ft", "test-label", "m.bin", "data.txt"),
            ("ft", "predict", "m.bin", "data.txt"),
            ("ft", "predict-prob", "m.bin", "data.txt"),
            ("ft", "print-word-vectors", "m.bin"),
            ("ft", "print-sentence-vectors", "m.bin"),
            ("ft", "print-ngrams", "m.bin", "team"),
            ("ft", "nn", "m.bin"),
            ("ft", "analogies", "m.bin"),
            ("ft", "dump", "m.bin", "dict"),
        )
    ),
]


def contents(folder: Path) -> Contents:
    """Return the bytes of every file below a folder by its path; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def prepare(folder: Path) -> None:
    """Make the files that the commands read."""
    rows = "".join(f"the team won {n},sport\nthe bank fell {n},money\n" for n in range(20))
    (folder / "words.txt").write_text("team bank won\n")
    for name in ("data.csv", "dev.csv"):
        (folder / name).write_text(f"text,label\n{rows}")
    lines = (f"__label__{line.split(',')[1]} {line.split(',')[0]}\n" for line in rows.splitlines())
    (folder / "data.txt").write_text("".join(lines))
    small = ("-c", "fasttext", "-s", "text.bucket=100")
    for command in (
        ("train", "-d", "data.csv", "-o", "model", *QUICK),
        ("train", "-d", "data.csv", "-o", "words", *QUICK, *small),
        ("ft", "supervised", "-input", "data.txt", "-output", "m", *FASTTEXT),
        ("push", "model", PULLED),
    ):
        code, output, _ = run(Job("", command), folder, folder / "never", 0)
        if code:
            raise SystemExit(f"{' '.join(command)}: {output}")


def run(job: Job, folder: Path, full: Path, writes: int) -> tuple[int, str, int]:
    """Run a command; return its exit code, what it says, and how many writes failed.

    Args:
        job: the command.
        folder: its working folder.
        full: the folder that is on the full disk.
        writes: the number of the first write that fails.
    """
    with tempfile.TemporaryDirectory() as other:
        if job.whole_process:
            return _run_in_process(job, folder, full, writes, Path(other, "state"))
        said = Path(other, "said")
        child = os.fork()
        if not child:
            _run_in_child(job, folder, full, writes, said)
        deadline = time.monotonic() + MAX_SECONDS
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                hits = shim().full_disk_hits() if writes else 0
                return os.waitstatus_to_exitcode(status), said.read_text(), hits
            if time.monotonic() > deadline:
                os.kill(child, 9)
                os.waitpid(child, 0)
                return -9, "it hangs", 1
            time.sleep(0.005)


def _run_in_process(
    job: Job, folder: Path, full: Path, writes: int, state: Path
) -> tuple[int, str, int]:
    disk = {"FULL_DISK_AT": str(writes), "FULL_DISK_IN": str(full), "FULL_DISK_STATE": str(state)}
    done = subprocess.run(
        [sys.executable, "-m", "fasttext_app", *job.arguments],
        cwd=folder,
        env={**os.environ, **({**disk, "TMPDIR": str(full)} if writes else {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=MAX_SECONDS,
    )
    hits = int.from_bytes(state.read_bytes()[8:16], sys.byteorder) if writes else 0
    return done.returncode, done.stderr, hits


def _run_in_child(job: Job, folder: Path, full: Path, writes: int, said: Path) -> None:
    code = 99
    try:
        os.chdir(folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(full) if full.is_dir() else str(said.parent)
        err = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        out = os.open(job.stdout, os.O_CREAT | os.O_WRONLY, 0o644) if job.stdout else err
        words = os.open("words.txt" if Path("words.txt").exists() else os.devnull, os.O_RDONLY)
        os.dup2(words, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["fasttext-app", *job.arguments]
        from fasttext_app.cli.app import main

        if writes:
            shim().full_disk_arm(writes, str(full).encode())
        main()
    except BaseException:  # noqa: BLE001 - it must not go on as the parent
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def shim() -> ctypes.CDLL:
    """Return the shim, which is preloaded."""
    return ctypes.CDLL(os.environ[SHIM])


def problems(
    job: Job, before: Contents, after: Contents, clean: Contents, code: int, said: str
) -> Iterator[str]:
    """Yield what a command did wrong whose n-th write failed.

    Args:
        job: the command.
        before: the files before it.
        after: the files after it.
        clean: the files after a run without a fault.
        code: its exit code.
        said: what it said.
    """
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if code not in (0, 1) or "Traceback" in said:
        yield f"exit code {code}: {said[-800:]}"
    says_which = job.failures and re.search(job.failures, said)
    if code == 1 and not says_which and (len(errors) != 1 or not said.endswith(f"{errors[-1]}\n")):
        yield f"not one line: {said[-500:]}"
    for name, data in before.items():
        if name not in after:
            yield f"{name} is lost"
        elif after[name] not in (data, clean.get(name)) and not re.search(job.unlike, name):
            yield f"{name} has changed"
    for name in sorted(after.keys() - before.keys() - {job.stdout}):
        yield from _problem_of_new_file(job, name, after[name], clean, code)
    missing = sorted(clean.keys() - after.keys())
    if code == 0 and missing and not job.leaves:
        yield f"exit code 0, but there is no {missing[0]}"


def _problem_of_new_file(
    job: Job, name: str, data: bytes | None, clean: Contents, code: int
) -> Iterator[str]:
    if not (code == 0 and name in clean) and not re.fullmatch(job.leaves or "-", name):
        yield f"left behind: {name}"
    elif name in clean and data != clean[name] and not re.search(job.unlike, name):
        yield f"half-written: {name}"


def sweep(job: Job, start: Path, every: int, *, again: bool) -> tuple[int, list[str]]:
    """Repeat a command with every write failing once; return how many, and the problems."""
    before, found = contents(start), list[str]()
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        clean_folder = Path(scratch, "clean")
        shutil.copytree(start, clean_folder)
        code, said, _ = run(job, clean_folder, Path(scratch, "none"), 0)
        if code:
            return 0, [f"without a fault: exit code {code}: {said}"]
        clean = contents(clean_folder)
        for writes in range(1, MAX_WRITES, every):
            folder = Path(scratch, "work")
            shutil.copytree(start, folder)
            code, said, hits = run(job, folder, folder, writes)
            after = contents(folder)
            if not hits:
                return writes - 1, found
            found += [
                f"write {writes}: {problem}"
                for problem in problems(job, before, after, clean, code, said)
            ]
            if again and code == 1 and writes % 5 == 1:
                follow_up = job
                if job.again and any("checkpoints/0" in name for name in after):
                    follow_up = Job(job.name, job.again)
                code, said, _ = run(follow_up, folder, Path(scratch, "none"), 0)
                if code and not job.stdout:
                    found.append(f"write {writes}: the next run fails: {said}")
            shutil.rmtree(folder)
    return MAX_WRITES, [*found, "it writes without end"]


def preload() -> None:
    """Import and compile what the commands need, so that a fork of this process starts at once."""
    from fasttext_app.api import train
    from fasttext_app.cli.program import make_app

    for module in ("matplotlib.figure", "optuna", "pyarrow.parquet", "safetensors.torch"):
        with suppress(ImportError):
            __import__(module)
    make_app()
    texts, labels = ["the team won", "the bank fell"] * 20, ["sport", "money"] * 20
    train(texts, labels, epochs=1, dim=4, threads=1, device="cpu").warm_up()


def main() -> None:
    """Compile the shim, start again with it preloaded, and sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="commands whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="a few commands only")
    parser.add_argument("--every", type=int, default=1, help="let only every N-th write fail first")
    options = parser.parse_args()
    if SHIM not in os.environ:
        with tempfile.TemporaryDirectory(prefix="full_disk-") as folder:
            process = start_with_shim(Path(folder), [sys.executable, *sys.argv])
            try:
                raise SystemExit(process.wait())
            finally:
                process.kill()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failures = 0
    with hub(), tempfile.TemporaryDirectory(prefix="faults-") as folder:
        preload()
        start = Path(folder, "start")
        start.mkdir()
        prepare(start)
        for job in JOBS:
            if options.only in job.name and (job.quick or not options.quick):
                writes, found = sweep(job, start, options.every, again=not options.quick)
                sys.stdout.write(f"{job.name}: {writes} writes, {len(found)} problems\n")
                sys.stdout.writelines(f"    {line.strip()}\n" for line in found[:5])
                sys.stdout.flush()
                failures += len(found)
    raise SystemExit(1 if failures else 0)


@contextmanager
def hub() -> Iterator[None]:
    """Run the stand-in for the hub of the tests in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.hub_server"],
        cwd=SOURCE.parent.parent,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        words = server.stdout.readline().split()[1:]  # export HF_ENDPOINT=... HF_TOKEN=...
        os.environ.update(dict(word.split("=", 1) for word in words))
        os.environ.update(HF_HUB_CACHE="cache", HF_HUB_OFFLINE="0", NO_PROXY="127.0.0.1,localhost")
        yield
    finally:
        server.kill()
        server.communicate()


def start_with_shim(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Compile the shim in a folder, and start a command with it preloaded."""
    library = folder / "full_disk.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), SHIM: str(library)}
    return subprocess.Popen(command, env=environment)


if __name__ == "__main__":
    main()
