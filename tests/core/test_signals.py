"""Ctrl-C and SIGTERM: noted amid work, raised where the work waits, and at once the second time."""

from __future__ import annotations

import signal

import pytest

from fasttext_app.core.signals import DeferredInterrupts, Terminated

RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
both = pytest.mark.parametrize("number", RAISED, ids=lambda number: number.name)


@both
def test_the_first_one_is_noted(number):
    with DeferredInterrupts() as interrupts:
        assert not interrupts()
        signal.raise_signal(number)
        assert interrupts()
        assert interrupts.received == number


@both
def test_the_second_one_raises_what_the_first_one_was(number):
    with DeferredInterrupts() as interrupts:
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
        assert caught.type is RAISED[number]
        assert interrupts.received == number


@both
def test_one_that_came_before_is_raised_where_the_work_waits(number):
    with DeferredInterrupts() as interrupts:
        signal.raise_signal(number)
        with pytest.raises(RAISED[number]):
            interrupts.interruptible(lambda: pytest.fail("it should not come to this"))()
        assert interrupts.exit_code == 128 + number


@both
def test_one_that_comes_where_the_work_waits_is_raised_at_once(number):
    with DeferredInterrupts() as interrupts:
        with pytest.raises(RAISED[number]):
            interrupts.interruptible(lambda: signal.raise_signal(number))()
        assert interrupts()
    with DeferredInterrupts() as interrupts:
        assert interrupts.interruptible(lambda: "done")() == "done"
        signal.raise_signal(number)  # no more


@both
def test_one_that_comes_amid_items_is_raised_before_the_next(number):
    with DeferredInterrupts() as interrupts:
        items = interrupts.raise_between([1, 2, 3])
        assert [next(items), next(items)] == [1, 2]
        signal.raise_signal(number)
        with pytest.raises(RAISED[number]):
            next(items)
    assert list(DeferredInterrupts().raise_between([1, 2])) == [1, 2]


def test_the_handlers_of_before_come_back():
    before = [signal.getsignal(number) for number in RAISED]
    with DeferredInterrupts():
        assert [signal.getsignal(number) for number in RAISED] != before
    assert [signal.getsignal(number) for number in RAISED] == before
