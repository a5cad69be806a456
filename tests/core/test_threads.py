"""Mapping a function over a stream on several threads."""

from __future__ import annotations

import pytest

from fasttext_app.core.threads import map_ahead, map_threads, whole_number


@pytest.mark.parametrize("threads", [0, 1, 3, 50])
@pytest.mark.parametrize("items", [0, 1, 20])
def test_results_keep_the_order_of_the_items(items, threads):
    results = map_threads(lambda item: item * 2, range(items), threads)
    assert list(results) == [*range(0, 2 * items, 2)]


@pytest.mark.parametrize("threads", [1, 4])
def test_an_exception_in_a_thread_reaches_the_caller(threads):
    with pytest.raises(ZeroDivisionError):
        list(map_threads(lambda item: 1 // item, [1, 0, 2], threads))


def test_a_stream_is_read_only_as_far_as_needed():
    read = []
    results = map_ahead(lambda item: item, (read.append(n) or n for n in range(100)), 3)
    assert [next(results), next(results)] == [0, 1]
    assert len(read) <= 6
    results.close()


@pytest.mark.parametrize(("value", "number"), [("4", 4), ("", 7), ("0", 7), ("many", 7), ("-2", 7)])
def test_a_variable_that_is_no_number_is_as_if_it_were_not_set(monkeypatch, value, number):
    monkeypatch.setenv("SOME_PROCESSES", value)
    assert whole_number("SOME_PROCESSES", 7) == number
    monkeypatch.delenv("SOME_PROCESSES")
    assert whole_number("SOME_PROCESSES", 7) == 7
