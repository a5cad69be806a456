"""ONNX: a model as a graph that ONNX Runtime runs, in Python, Node and the browser.

>>> import fasttext_app as ft
>>> from fasttext_app.onnx import export_onnx
>>> model = ft.train(["good fun", "bad luck"] * 9, ["yes", "no"] * 9, validation=0.0, epochs=2)
>>> folder = getfixture("tmp_path")
>>> [path.name for path in export_onnx(model, folder / "model.onnx")]
['model.onnx', 'model.json', 'fasttext_onnx.py', 'fasttext_onnx.mjs']
"""

from fasttext_app.onnx.export import export_onnx

__all__ = ["export_onnx"]
