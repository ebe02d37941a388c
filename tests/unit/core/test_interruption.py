from __future__ import annotations

import threading

from trellis.core.interruption import interrupt, interruptible


def test_a_thread_is_interrupted_in_what_it_waits_for() -> None:
    waiting, stopped = threading.Event(), threading.Event()

    def work() -> None:
        with interruptible(stopped.set):
            waiting.set()
            stopped.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    waiting.wait(10)
    assert interrupt(thread)
    thread.join(10)
    assert stopped.is_set()
    assert not interrupt(thread)


def test_an_interruption_that_comes_first_is_not_lost() -> None:
    go_on, stopped = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        with interruptible(stopped.set):
            stopped.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert not interrupt(thread)
    go_on.set()
    thread.join(10)
    assert stopped.is_set()


def test_other_threads_are_left_alone() -> None:
    interrupt(threading.Thread())
    stopped = threading.Event()
    with interruptible(stopped.set):
        assert not stopped.is_set()
