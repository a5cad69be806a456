"""Put a page and all that it needs into one HTML file, which runs from a disk without a server.

    python one_page.py model.onnx node_modules/onnxruntime-web/dist page.html

The files are compressed, and the browser unpacks them.
"""

from __future__ import annotations

import base64
import gzip
import sys
from pathlib import Path


def one_page(model: Path, runtime: Path) -> str:
    """Return the page of this folder with a model, its scorer and ONNX Runtime inside.

    Args:
        model: the ONNX file of an export, with the other files of the export beside it.
        runtime: the folder ``dist`` of the npm package onnxruntime-web.
    """
    files = {
        "ort.wasm.bundle.min.mjs": runtime / "ort.wasm.bundle.min.mjs",
        "ort-wasm-simd-threaded.wasm": runtime / "ort-wasm-simd-threaded.wasm",
        "fasttext_onnx.mjs": model.with_name("fasttext_onnx.mjs"),
        "model.onnx": model,
        "model.json": model.with_suffix(".json"),
    }
    missing = [path for path in files.values() if not path.is_file()]
    if missing:
        sys.exit(f"{missing[0]}: no such file; export a model, or npm install onnxruntime-web")
    page = Path(__file__).with_name("index.html").read_text(encoding="utf-8")
    embedded = [
        f'<script type="application/gzip" id="{name}">'
        f"{base64.b64encode(gzip.compress(path.read_bytes())).decode()}</script>\n"
        for name, path in files.items()
    ]
    return page.replace('<script type="module">', "".join(embedded) + '<script type="module">')


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, runtime, target = map(Path, sys.argv[1:])
    target.write_text(one_page(model, runtime), encoding="utf-8")
