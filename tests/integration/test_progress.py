"""Progress of real programs: on a terminal, interrupted there, and in a pipe."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 30
PROGRAM = """
import sys, time, trellis
from trellis import Config, ThreadPoolExecutor

@trellis.python_app
def square(x):
    time.sleep(0.02)
    return x * x

with trellis.load(Config(executors=[ThreadPoolExecutor(max_threads=4)], progress=True)):
    for future in square.map(range(40), progress=True):
        future.result()
    time.sleep(0.5)  # the bars are drawn a moment later
    print("a line of the program")
    while "wait" in sys.argv:
        square(1).result()
"""


def read_until(fd: int, *words: str) -> str:
    """What comes on a terminal until these words have come, one after the other; without any: all that comes."""
    text, place = "", 0
    for word in words or ("\0",):
        while (found := text.find(word, place)) < 0:
            try:
                data = os.read(fd, 65536)
            except OSError:  # the other side is closed
                return text
            text += data.decode(errors="replace")  # a character may come in two pieces
        place = found + len(word)
    return text


def start(tmp_path: Path, fd: int, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=fd, stdout=fd, stderr=fd)


def test_on_a_terminal_and_interrupted_there(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = start(tmp_path, theirs, "wait")
    os.close(theirs)
    shown = read_until(ours, "40 of 40", "a line of the program", "all tasks")
    process.send_signal(signal.SIGINT)
    shown += read_until(ours)
    process.wait(TIMEOUT_S)
    os.close(ours)
    assert "square.map" in shown
    assert "all tasks" in shown
    assert "40 of 40" in shown
    assert "KeyboardInterrupt" in shown
    assert "\x1b[?25l" not in shown.rpartition("\x1b[?25h")[2]  # the cursor is seen


def test_in_a_pipe_nothing_is_added(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert (done.stdout, done.stderr) == ("a line of the program\n", "")
