"""The service as a process: where it listens, how it stops, and why it does not start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from fasttext_app.serve.server import _Workers
from tests.helpers import run_cli
from tests.serve.conftest import make_service
from tests.serve.process import SECONDS, running, until

pytestmark = pytest.mark.slow


def predict(address, text):
    body = json.dumps({"text": text}).encode()
    with urllib.request.urlopen(f"{address}/predict", body, SECONDS) as answer:
        return json.load(answer)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_answers_until_a_signal_and_finishes_what_it_began(model_copy, workers):
    with running(f"m={model_copy}", "--workers", workers) as (process, address):
        assert predict(address, "a late goal")["labels"] == ["sport"]
        host, port = address.removeprefix("http://").split(":")
        open_request = socket.create_connection((host, int(port)), SECONDS)
        body = b'{"text": "a goal"}'
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
        open_request.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body[:-1])
        assert open_request.recv(99) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it has begun
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        open_request.sendall(body[-1:])
        assert open_request.recv(9999).startswith(b"HTTP/1.1 200")
        open_request.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == "stopped\n"


def test_a_worker_that_ends_is_started_again(model_copy):
    with running(f"m={model_copy}", "--workers", 2) as (process, address):
        until(lambda: len(children(process)) == 2)
        os.kill(children(process)[0], signal.SIGKILL)
        assert "has ended (signal 9); starting it again" in process.stderr.readline()
        for _ in range(20):
            assert predict(address, "a late goal")["labels"] == ["sport"]
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0


def test_a_worker_that_fails_says_why(model_copy, monkeypatch, caplog):
    def fail(number):
        raise RuntimeError("no metrics")

    service = make_service(f"m={model_copy}")
    monkeypatch.setattr(service.metrics, "of_worker", fail)
    monkeypatch.setattr(os, "_exit", lambda code: codes.append(code))
    codes: list[int] = []
    workers = _Workers(service, [], [].append)
    workers._pipe = os.pipe()
    workers._work(0)
    os.close(workers._pipe[0])
    assert codes == [1]
    assert "worker 1 has failed" in caplog.text
    assert "RuntimeError: no metrics" in caplog.text


def children(process):
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in path.read_text().split()]


def test_workers_end_with_the_process_that_started_them(model_copy):
    with running(f"m={model_copy}", "--workers", 2) as (process, _):
        until(lambda: len(children(process)) == 2)
        workers = children(process)
        process.kill()
        process.wait()
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_what_keeps_a_service_from_starting_is_told_in_one_line(tiny_model_dir, tmp_path):
    damaged = shutil.copytree(tiny_model_dir, tmp_path / "damaged")
    (damaged / "labels.json").write_text("[]")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for workers in (1, 2):
            result = run_cli("serve", tiny_model_dir, "--port", port, "--workers", workers, code=1)
            assert result.stderr == (
                f"error: 127.0.0.1, port {port}: cannot listen there (Address already in use); "
                "choose another --port or --host\n"
            )
    for arguments, message in [
        ([damaged], "labels.json: has 2 bytes"),
        ([tmp_path / "no"], "no such model directory"),
        ([tiny_model_dir, tiny_model_dir], "another model is named model too"),
        ([tiny_model_dir, "--host", "no.such.host.invalid"], "choose another --host"),
        ([tiny_model_dir, "--host", "192.0.2.1"], "cannot listen there"),
    ]:
        result = run_cli("serve", *arguments, "--port", "0", code=1)
        assert message in result.stderr
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


def test_a_missing_package_is_named_with_the_extra(tiny_model_dir, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("fasttext_app.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = run_cli("serve", tiny_model_dir, code=1)
    assert result.stderr.startswith("error: serve needs the package uvicorn; pip install")
    assert "'.[serve]'" in result.stderr
