"""Errors of TensorBoard's threads are raised once, and not printed by the thread too."""

from __future__ import annotations

import threading

import pytest

from fasttext_app.training.callbacks import TensorBoard

pytestmark = pytest.mark.slow


def test_a_thread_of_a_writer_prints_no_traceback(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)

    class _AsyncWriterThread(threading.Thread):
        def run(self):
            raise OSError("no space")

    TensorBoard(tmp_path)
    for thread in (_AsyncWriterThread(), threading.Thread(target=lambda: 1 / 0)):
        thread.start()
        thread.join()
    assert [error.exc_type for error in shown] == [ZeroDivisionError]
