"""Train with different numbers of threads, each in a fresh process and folder; compare the models.

python scripts/compare_threads.py [--threads 1 2 4 8] [--config NAME ...] [--data SPEC]
        [--set KEY=VALUE ...]

A thread has eight columns at least, so the dimension is 40 by default: of 2, 4 and 8 threads, 1, 3
and 5 take the steps, and the others cut batches.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Train, and print the digest of each model's weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--config", nargs="+", default=["sample"])
    parser.add_argument("--data")
    parser.add_argument("--set", nargs="+", default=["model.dim=40"], metavar="KEY=VALUE")
    options = parser.parse_args()
    data = ["--data", options.data] if options.data else []
    differing_configs = 0
    for config in options.config:
        digests = []
        for threads in options.threads:
            with tempfile.TemporaryDirectory() as temporary:
                output = Path(temporary) / "model"
                arguments = ["train", "--config", config, *data, "--device", "cpu"]
                arguments += [word for setting in options.set for word in ("--set", setting)]
                arguments += ["--threads", str(threads), "--output", str(output)]
                command = [sys.executable, "-m", "fasttext_app", *arguments]
                subprocess.run(command, check=True, capture_output=True)
                weights = (output / "model.safetensors").read_bytes()
            digests.append(hashlib.sha256(weights).hexdigest())
            print(f"{config}, {threads} threads  {digests[-1]}", flush=True)
        differing_configs += len(set(digests)) > 1
    print("all equal" if not differing_configs else f"{differing_configs} configs differ")
    sys.exit(differing_configs > 0)


if __name__ == "__main__":
    main()
