"""Kill training runs at random moments, go on with them, and compare what they end with.

python scripts/kill_and_resume.py [--trials 20] [--data SPEC] [--config NAME] [--signal KILL]

Each trial trains with checkpoints, is killed at a random moment after its start, goes on with
``train --resume``, is killed again, and so on until it ends. The last line says whether all model
files are those of a run that no one disturbed, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = [sys.executable, "-m", "fasttext_app"]


def digest(folder: Path) -> str:
    """Return the SHA-256 of a model's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def begin(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a run without its output."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*PROGRAM, *arguments], stdout=quiet, stderr=quiet)


def trial(folder: Path, train: list[str], end: signal.Signals, most: float, kills: int) -> int:
    """Train with up to so many kills; return how many hit a run at work."""
    hits = 0
    for number in range(kills + 1):
        under_way = any((folder / "checkpoints").glob("[0-9]*"))
        arguments = ["train", "--resume", str(folder)] if under_way else train
        process = begin(arguments)
        if number < kills:
            time.sleep(random.uniform(0, most))
            hits += process.poll() is None
            process.send_signal(end)
        process.wait()
        if (folder / "manifest.json").exists():
            return hits
    raise SystemExit(f"{folder}: the last run, which no one disturbed, left no model")


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3, help="at most so many in a trial")
    parser.add_argument("--config", default="sample")
    parser.add_argument("--data")
    parser.add_argument("--every", default="5", help="--checkpoint-every of the runs")
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    data = ["--data", options.data] if options.data else []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        train = ["train", "--config", options.config, *data, "--device", "cpu", "--output"]
        begun = time.perf_counter()
        begin([*train, str(root / "whole")]).wait()
        seconds = time.perf_counter() - begun
        expected = digest(root / "whole")
        print(f"undisturbed, {seconds:.1f} s  {expected}")
        found = []
        for number in range(1, options.trials + 1):
            folder = root / str(number)
            command = [*train, str(folder), "--checkpoint-every", options.every]
            end = signal.Signals[f"SIG{options.signal}"]
            hits = trial(folder, command, end, seconds, options.kills)
            found.append(digest(folder))
            print(f"trial {number:2}, ended {hits} times  {found[-1]}", flush=True)
    same = sum(value == expected for value in found)
    print(f"{same} of {len(found)} are equal to the run that no one disturbed")
    sys.exit(same != len(found))


if __name__ == "__main__":
    main()
