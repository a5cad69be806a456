"""Kill training runs at random moments, resume them, and compare the models.

python scripts/kill_and_resume.py [--trials 20] [--data SPEC] [--config NAME] [--signal KILL]

Each trial trains with checkpoints, is killed at a random moment, resumes with ``train --resume``,
is killed again, and so on until it finishes. The last line says how many model files equal the
one of an uninterrupted run, byte for byte.
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


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a command and discard its output."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*PROGRAM, *arguments], stdout=quiet, stderr=quiet)


def trial(
    folder: Path, train: list[str], kill_signal: signal.Signals, max_delay: float, kills: int
) -> int:
    """Train with up to ``kills`` kills; return how many hit a running process."""
    hits = 0
    for attempt in range(kills + 1):
        has_checkpoint = any((folder / "checkpoints").glob("[0-9]*"))
        arguments = ["train", "--resume", str(folder)] if has_checkpoint else train
        process = start(arguments)
        if attempt < kills:
            time.sleep(random.uniform(0, max_delay))
            hits += process.poll() is None
            process.send_signal(kill_signal)
        process.wait()
        if (folder / "manifest.json").exists():
            return hits
    raise SystemExit(f"{folder}: the last run was not killed, but saved no model")


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3, help="at most this many in a trial")
    parser.add_argument("--config", default="sample")
    parser.add_argument("--data")
    parser.add_argument("--every", default="5", help="--checkpoint-every of the runs")
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    data = ["--data", options.data] if options.data else []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        train = ["train", "--config", options.config, *data, "--device", "cpu", "--output"]
        started = time.perf_counter()
        start([*train, str(root / "uninterrupted")]).wait()
        seconds = time.perf_counter() - started
        expected = digest(root / "uninterrupted")
        print(f"uninterrupted, {seconds:.1f} s  {expected}")
        digests = []
        for number in range(1, options.trials + 1):
            folder = root / str(number)
            command = [*train, str(folder), "--checkpoint-every", options.every]
            kill_signal = signal.Signals[f"SIG{options.signal}"]
            hits = trial(folder, command, kill_signal, seconds, options.kills)
            digests.append(digest(folder))
            print(f"trial {number:2}, killed {hits} times  {digests[-1]}", flush=True)
    equal = digests.count(expected)
    print(f"{equal} of {len(digests)} are equal to the uninterrupted run")
    sys.exit(equal != len(digests))


if __name__ == "__main__":
    main()
