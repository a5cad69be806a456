"""A function in a process of its own: what it returns, raises, and leaves when it is ended.

Each test has a fresh process: this one has threads, and must not be forked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pyarrow
import pytest

from fasttext_app.core.fork import can_fork

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.cpu_count() == 1, reason="needs Linux and two cores"
)


def run(body: str) -> str:
    """Run some lines of code on their own; return what they print."""
    start = "from fasttext_app.core.fork import ForkedCall, can_fork\nassert can_fork()\n"
    code = start + textwrap.dedent(body)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_this_process_must_not_be_forked():
    assert pyarrow.__name__ in sys.modules
    assert not can_fork()


def test_a_result_comes_back_from_another_process():
    shown = run("""
        import os
        with ForkedCall(lambda: (os.getpid(), "x" * 1_000_000)) as work:
            process, text = work.result()
        print(process != os.getpid(), len(text))
    """)
    assert shown == "True 1000000\n"


def test_an_error_is_raised_where_the_result_is_taken():
    shown = run("""
        from fasttext_app.errors import DataError
        def fail():
            raise DataError("rows.csv:7: no label")
        with ForkedCall(fail) as work:
            try:
                work.result()
            except DataError as error:
                print(error)
                print("in fail" in error.__notes__[0])
    """)
    assert shown == "rows.csv:7: no label\nTrue\n"


def test_a_process_that_is_killed_is_one_clear_error():
    shown = run("""
        import os, signal
        from fasttext_app.errors import TrainingError
        with ForkedCall(lambda: os.kill(os.getpid(), signal.SIGKILL)) as work:
            try:
                work.result()
            except TrainingError as error:
                print(error)
    """)
    assert shown == (
        "the process that prepares the data was killed (exit code -9); is there enough memory?\n"
    )


def test_a_process_that_is_killed_amid_its_answer_is_the_same_error():
    shown = run("""
        import os, signal, threading, time
        from fasttext_app.errors import TrainingError
        def large():
            threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            return b"x" * 50_000_000
        with ForkedCall(large) as work:
            time.sleep(1)
            try:
                work.result()
            except TrainingError as error:
                print(error)
    """)
    assert shown.startswith("the process that prepares the data was killed (exit code -9)")


def test_it_ends_with_the_process_that_started_it():
    shown = run("""
        import os, signal, time
        reader, writer = os.pipe()
        first = os.fork()
        if not first:
            def work_on():
                os.write(writer, b"%d" % os.getpid())
                time.sleep(60)
            with ForkedCall(work_on):
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
    assert shown == "True\n"


def test_it_is_stopped_when_no_one_waits_for_it():
    shown = run("""
        import os, time
        reader, writer = os.pipe()
        def work_on():
            os.write(writer, b"begun")
            time.sleep(60)
        with ForkedCall(work_on) as work:
            os.read(reader, 5)
            process = work._process
        print(process.exitcode)
    """)
    assert shown == "-9\n"


def test_ctrl_c_is_left_to_the_process_that_waits():
    shown = run("""
        import os, signal
        def interrupted():
            os.kill(os.getpid(), signal.SIGINT)
            return "done"
        with ForkedCall(interrupted) as work:
            print(work.result())
    """)
    assert shown == "done\n"


def test_what_was_prepared_in_the_background_is_what_is_prepared_here(tmp_path):
    path = tmp_path / "rows.csv"
    rows = "".join(f"the goal number {n},sport\nthe bank number {n},money\n" for n in range(40))
    path.write_text("text,label\n" + rows)
    shown = run(f"""
        from functools import partial
        def prepared(folder, memory):
            from fasttext_app.config.loading import resolve
            from fasttext_app.training.prepare import prepare_source
            text = {{"word_ngrams": 2, "bucket": 50, "term_weighting": "tfidf"}}
            data = {{"source": {str(path)!r}, "validation": 0.2, "in_memory_mb": memory}}
            model = {{"mode": "sum"}}
            config = resolve({{"text": text, "data": data, "model": model}})
            return prepare_source(config, folder, prefer_files=True)
        def parts(found):
            ids = [load().to_lists() for side in (found.train, found.validation)
                   for load in side.shards]
            classes = [c.tolist() for c in (*found.train.classes, *found.validation.classes)]
            words = found.encoder.vocabulary.words.to_pylist()
            encoded = found.encoder.encode(["a bank number 3", "goal"]).to_lists()
            return ids, classes, words, encoded, found.idf.tolist(), found.statistics
        import os
        here, one, other = ({str(tmp_path)!r} + name for name in ("/a", "/b", "/c"))
        for folder in (here, one, other):
            os.mkdir(folder)
        with ForkedCall(partial(prepared, one, 0)) as files:
            with ForkedCall(partial(prepared, other, 100)) as memory:
                from_files, from_memory = files.result(), memory.result()
        print(len([name for name in os.listdir(one) if name.endswith(".ids")]) > 0)
        print(parts(from_files) == parts(from_memory) == parts(prepared(here, 100)))
    """)
    assert shown == "True\nTrue\n"
