"""Ctrl-C and SIGTERM are recorded, raised where the work allows it, and at once the second time."""

from __future__ import annotations

import signal

import pytest

from fasttext_app.core.signals import DeferredInterrupts, Terminated

RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
both = pytest.mark.parametrize("number", RAISED, ids=lambda number: number.name)


@both
def test_the_first_signal_is_recorded(number):
    with DeferredInterrupts() as interrupts:
        assert not interrupts()
        signal.raise_signal(number)
        assert interrupts()
        assert interrupts.received == number


@both
def test_the_second_signal_raises_the_exception_of_the_first(number):
    with DeferredInterrupts() as interrupts:
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
        assert caught.type is RAISED[number]
        assert interrupts.received == number


@both
def test_an_earlier_signal_raises_before_an_interruptible_call(number):
    with DeferredInterrupts() as interrupts:
        signal.raise_signal(number)
        with pytest.raises(RAISED[number]):
            interrupts.interruptible(lambda: pytest.fail("called after a signal"))()
        assert interrupts.exit_code == 128 + number


@both
def test_a_signal_raises_during_an_interruptible_call_and_not_after_it(number):
    with DeferredInterrupts() as interrupts:
        with pytest.raises(RAISED[number]):
            interrupts.interruptible(lambda: signal.raise_signal(number))()
        assert interrupts()
    with DeferredInterrupts() as interrupts:
        assert interrupts.interruptible(lambda: "done")() == "done"
        signal.raise_signal(number)


@both
def test_a_signal_between_items_raises_before_the_next_item(number):
    with DeferredInterrupts() as interrupts:
        items = interrupts.raise_between([1, 2, 3])
        assert [next(items), next(items)] == [1, 2]
        signal.raise_signal(number)
        with pytest.raises(RAISED[number]):
            next(items)
    assert list(DeferredInterrupts().raise_between([1, 2])) == [1, 2]


def test_the_previous_handlers_are_restored():
    before = [signal.getsignal(number) for number in RAISED]
    with DeferredInterrupts():
        assert [signal.getsignal(number) for number in RAISED] != before
    assert [signal.getsignal(number) for number in RAISED] == before
