"""``ForkedCall``: results, exceptions, and the end of the fork.

Each test runs in a new process, because this one has threads and must not be forked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pyarrow
import pytest

from fasttext_app.core.fork import can_fork

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.cpu_count() == 1, reason="needs Linux and two cores"
)


def run(body: str) -> str:
    """Run code in a new Python process; return its output."""
    start = "from fasttext_app.core.fork import ForkedCall, can_fork\nassert can_fork()\n"
    code = start + textwrap.dedent(body)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_process_with_threads_cannot_fork():
    assert pyarrow.__name__ in sys.modules
    assert not can_fork()


def test_a_result_is_returned_from_another_process():
    printed = run("""
        import os
        with ForkedCall(lambda: (os.getpid(), "x" * 1_000_000)) as call:
            process, text = call.result()
        print(process != os.getpid(), len(text))
    """)
    assert printed == "True 1000000\n"


def test_the_fork_reads_standard_input():
    printed = run("""
        import os, sys
        reader, writer = os.pipe()
        os.write(writer, b"a line")
        os.close(writer)
        os.dup2(reader, 0)
        with ForkedCall(lambda: sys.stdin.buffer.read()) as call:
            print(call.result())
    """)
    assert printed == "b'a line'\n"


def test_result_raises_the_exception_of_the_function():
    printed = run("""
        from fasttext_app.errors import DataError
        def fail():
            raise DataError("rows.csv:7: no label")
        with ForkedCall(fail) as call:
            try:
                call.result()
            except DataError as error:
                print(error)
                print("in fail" in error.__notes__[0])
    """)
    assert printed == "rows.csv:7: no label\nTrue\n"


def test_a_killed_fork_is_a_clear_error():
    printed = run("""
        import os, signal
        from fasttext_app.errors import TrainingError
        with ForkedCall(lambda: os.kill(os.getpid(), signal.SIGKILL)) as call:
            try:
                call.result()
            except TrainingError as error:
                print(error)
    """)
    assert printed == (
        "the process that prepares the data was killed (exit code -9); is there enough memory?\n"
    )


@pytest.mark.slow
def test_a_fork_killed_while_it_sends_its_result_is_the_same_error():
    printed = run("""
        from fasttext_app.errors import TrainingError
        with ForkedCall(lambda: b"x" * 50_000_000) as call:
            assert call._receiver.poll(30)  # the first bytes are here, and fill the pipe
            call._process.kill()
            try:
                call.result()
            except TrainingError as error:
                print(error)
    """)
    assert printed.startswith("the process that prepares the data was killed (exit code -9)")


@pytest.mark.slow
def test_a_fork_ends_with_its_parent():
    printed = run("""
        import os, signal, time
        reader, writer = os.pipe()
        first = os.fork()
        if not first:
            def block():
                os.write(writer, b"%d" % os.getpid())
                time.sleep(60)
            with ForkedCall(block):
                time.sleep(60)
        process = int(os.read(reader, 20))
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        for _ in range(100):
            try:
                os.kill(process, 0)
                with open(f"/proc/{process}/stat") as file:
                    state = file.read().split()[2]
            except OSError:
                state = "gone"
            if state in "Z gone":
                break
            time.sleep(0.05)
        print(state in "Z gone")
    """)
    assert printed == "True\n"


def test_leaving_the_context_kills_the_fork():
    printed = run("""
        import os, time
        reader, writer = os.pipe()
        def block():
            os.write(writer, b"ready")
            time.sleep(60)
        with ForkedCall(block) as call:
            os.read(reader, 5)
            process = call._process
        print(process.exitcode)
    """)
    assert printed == "-9\n"


def test_a_fork_ignores_ctrl_c():
    printed = run("""
        import os, signal
        def interrupted():
            os.kill(os.getpid(), signal.SIGINT)
            return "done"
        with ForkedCall(interrupted) as call:
            print(call.result())
    """)
    assert printed == "done\n"


PREPARE = """
from functools import partial

def prepare(path, folder, prefer_files):
    from fasttext_app.config.loading import resolve
    from fasttext_app.training.prepare import prepare_source

    text = {"word_ngrams": 2, "bucket": 50, "term_weighting": "tfidf"}
    data = {"validation": 0.2, "weight_column": "votes"}
    config = resolve({"text": text, "data": data | {"source": path}, "model": {"mode": "sum"}})
    return prepare_source(config, folder, prefer_files=prefer_files)

def contents(prepared):
    ids = [load().to_lists() for split in (prepared.train, prepared.validation)
           for load in split.shards]
    arrays = (*prepared.train.classes, *prepared.validation.classes, *prepared.train.weights)
    words = prepared.encoder.vocabulary.words.to_pylist()
    encoded = prepared.encoder.encode(["a bank number 3", "goal"]).to_lists()
    numbers = [array.tolist() for array in (*arrays, prepared.idf)]
    return repr((ids, numbers, words, encoded, prepared.statistics))
"""


@pytest.mark.slow
def test_data_prepared_in_a_fork_equals_data_prepared_here(tmp_path):
    path, in_fork, here = tmp_path / "rows.csv", tmp_path / "fork", tmp_path / "here"
    rows = (
        f"the goal number {n},sport,{n % 3}\nthe bank number {n},money,2.5\n" for n in range(40)
    )
    path.write_text("text,label,votes\n" + "".join(rows))
    in_fork.mkdir()
    here.mkdir()
    arguments = f"{str(path)!r}, {str(in_fork)!r}, prefer_files=True"
    printed = run(f"""{PREPARE}
with ForkedCall(partial(prepare, {arguments})) as call:
    print(contents(call.result()))
    """)
    assert any(file.suffix == ".ids" for file in in_fork.iterdir())
    names: dict[str, Any] = {}
    exec(PREPARE, names)
    expected = names["prepare"](str(path), str(here), prefer_files=False)
    assert printed == names["contents"](expected) + "\n"
