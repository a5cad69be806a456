"""Take docs/images/report.png, the beginning of a report on a model of the sample.

    python scripts/make_report_picture.py

It needs Chromium, and Pillow for a smaller file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1100, 1130  # pixels
COLORS = 48


def main() -> None:
    """Train, write the report, and take the picture."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("there is no Chromium")
    program = [sys.executable, "-m", "fasttext_app"]
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            "train --data sample --output models/sample --quiet",
            "report models/sample --output report.html --quiet",
        ):
            subprocess.run([*program, *command.split()], cwd=folder, check=True)
        size = f"--window-size={WIDTH},{HEIGHT}"
        headless = [browser, "--headless=new", "--no-sandbox", "--hide-scrollbars"]
        shot = Path(folder, "report.png")
        page = Path(folder, "report.html").as_uri()
        subprocess.run(
            [*headless, f"--screenshot={shot}", size, page], check=True, capture_output=True
        )
        with Image.open(shot) as picture:
            picture.convert("RGB").quantize(COLORS).save(TARGET, optimize=True)
    print(f"wrote {TARGET}, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
