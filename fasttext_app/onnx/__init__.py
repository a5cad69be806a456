"""ONNX: a model as a graph that ONNX Runtime runs, in Python, Node and the browser.

``docs/onnx.md`` shows how to use it. It needs the packages onnx and onnxruntime: the extra
``onnx``.
"""

from fasttext_app.onnx.export import export_onnx

__all__ = ["export_onnx"]
