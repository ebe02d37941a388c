"""What tests of all batch systems run, and how they wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trellis

Load = Callable[..., Any]
Told = Callable[[str], list[str]]


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Give the condition's value as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not so after {timeout_s:g} s: {what}"
        time.sleep(0.1)
    return value


@trellis.python_app
def run(directory: Path, number: int, seconds: float = 0.0) -> int:
    """Sleep, and give the number back. Each start of it leaves a line in a file of the directory."""
    import time

    with open(directory / str(number), "a") as file:
        print("started", file=file)
    time.sleep(seconds)
    return number


@trellis.python_app
def slow_at_first(note: Path) -> str:
    import time

    if note.exists():
        return "the second time"
    note.touch()
    time.sleep(100)
    return "the first time"


def starts(directory: Path) -> dict[int, int]:
    """How often each task was started."""
    return {int(path.name): path.read_text().count("started") for path in directory.iterdir()}


# A program that waits for ever for a task of one block.
WAITING_PROGRAM = """
import trellis
from trellis import Config, HighThroughputExecutor
from trellis.providers import {provider}

@trellis.python_app
def sleep():
    import time
    time.sleep(1000)

with trellis.load(Config(executors=[HighThroughputExecutor(provider={provider}())])):
    sleep().result()
"""
