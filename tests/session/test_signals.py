# SPDX-License-Identifier: Apache-2.0
"""Signals end a run like an exception; while the board is switched off they wait."""

import os
import signal
import threading

import pytest

from hilagent.session import signals


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGINT, "SIGINT"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGHUP, "SIGTERM"),
    ],
)
def test_an_ending_signal_raises(number: signal.Signals, told: str) -> None:
    with signals.as_exceptions(), pytest.raises(KeyboardInterrupt) as seen:
        os.kill(os.getpid(), number)
    assert signals.signal_of(seen.value) == told


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals.as_exceptions():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_the_quiet_they_are_only_noted() -> None:
    with signals.as_exceptions():
        with signals.quiet() as noted:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        assert noted == ["SIGTERM", "SIGINT"]
        with pytest.raises(signals.Interrupted):
            os.kill(os.getpid(), signal.SIGHUP)


def test_in_another_thread_nothing_is_changed() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with signals.as_exceptions():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_plain_keyboard_interrupt_is_sigint() -> None:
    assert signals.signal_of(KeyboardInterrupt()) == "SIGINT"
