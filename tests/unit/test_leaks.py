"""The leak checks of all tests, tested themselves."""

import os
import subprocess
import sys
import threading

from tests.leaks import Snapshot


def test_a_thread_that_runs_on_is_named() -> None:
    before = Snapshot(processes=False)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="forgotten")
    thread.start()

    assert before.leaks(grace_s=0) == ["thread 'forgotten' still runs"]

    release.set()
    assert before.leaks() == []


def test_an_open_file_is_named() -> None:
    before = Snapshot(processes=True)
    descriptor = os.open("/dev/null", os.O_RDONLY)

    assert before.leaks(grace_s=0) == ["1 x /dev/null still open"]

    os.close(descriptor)
    assert before.leaks() == []


def test_a_child_process_is_named_with_its_command() -> None:
    before = Snapshot(processes=True)
    child = subprocess.Popen([sys.executable, "-c", "input()", "a-mark"], stdin=subprocess.PIPE)

    child_lines = [line for line in before.leaks(grace_s=0) if line.startswith(f"process {child.pid} ")]
    assert len(child_lines) == 1

    child.communicate(b"\n")
    assert before.leaks() == []
