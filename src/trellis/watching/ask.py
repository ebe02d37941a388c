"""Asks the program of a run by its socket. What it does not answer in time is said, and why, as far as can be seen."""

from __future__ import annotations

import socket
import time
from typing import Any

import msgspec

from trellis.errors import TrellisError
from trellis.watching import socket_place
from trellis.watching.find_runs import FoundRun, judge
from trellis.watching.processes import busy_share, look
from trellis.watching.questions import Answer, Hello, Question
from trellis.watching.snapshot import RunState

# A program that is well says hello at once; one with a million tasks may need a moment.
HELLO_S = 1.2
# Counting a million tasks takes a second or two, more on a busy host.
ANSWER_S = 60.0
# How long a silent process is looked at, to say what it does.
_LOOK_S = 0.3
# Of a core: on a host that is crowded, who computes gets little.
_IS_BUSY = 0.1


class NoAnswer(TrellisError):
    """The run does not answer; ``state`` and ``str`` say why."""

    def __init__(self, run: FoundRun, state: RunState, text: str) -> None:
        super().__init__(text)
        self.run = run
        self.state = state


class QuestionRefused(TrellisError):
    """The run has answered that it cannot say, or do, what was asked."""


def ask(run: FoundRun, question: Question, hello_s: float = HELLO_S, answer_s: float = ANSWER_S) -> Any:
    """The answer: plain values, as ``as_json`` makes them.

    Raises:
        NoAnswer: the run has ended, or it does not answer.
        QuestionRefused: its answer is an error.
    """
    if run.state != "live":
        raise NoAnswer(run, run.state, run.text or "it has ended")
    file = run.file
    if not file.socket:
        raise NoAnswer(run, "silent", f"it has no socket: {file.no_socket}")
    try:
        hello, answer = _converse(run, question, hello_s, answer_s)
    except TimeoutError:
        raise _silent(run, hello_s) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise _gone(run, error) from error
    if hello.run_id != file.facts.run_id:
        raise NoAnswer(run, "killed", f"its socket is that of another run, {hello.run_id}")
    if answer.error:
        raise QuestionRefused(answer.error)
    return answer.ok


def _converse(run: FoundRun, question: Question, hello_s: float, answer_s: float) -> tuple[Hello, Answer]:
    deadline = time.monotonic() + hello_s
    with socket_place.connect(run.file.socket_path, hello_s) as connection:
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        lines = _Lines(connection)
        hello = msgspec.json.decode(lines.next(), type=Hello)
        connection.settimeout(answer_s)
        connection.sendall(msgspec.json.encode(question) + b"\n")
        return hello, msgspec.json.decode(lines.next(), type=Answer)


class _Lines:
    """Lines that come from a socket; ``makefile`` would be of no use after a time limit is over."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def next(self) -> bytes:
        pieces = [self._rest]
        while b"\n" not in pieces[-1]:
            piece = self._connection.recv(1 << 20)
            if not piece:
                raise ConnectionResetError("the connection was closed before the answer was complete")
            pieces.append(piece)
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line


def _silent(run: FoundRun, waited_s: float) -> NoAnswer:
    again = judge(run.file)
    if again.state != "live":
        return NoAnswer(again, again.state, again.text)
    pid = run.file.facts.pid
    text = f"process {pid} ({run.file.facts.program}) has not answered within {waited_s:g} s"
    share = busy_share(pid, _LOOK_S)
    process = look(pid)
    if share > _IS_BUSY or (process is not None and process.state == "R"):
        text += (
            f"; it computes ({100 * share:.0f} % of a core): probably one call, in C, keeps Python's threads waiting"
        )
    elif process is not None and process.state == "D":
        text += "; it waits for a disk or a file system"
    else:
        text += "; it does nothing, but is not suspended: its lock may be held by a call that waits"
    return NoAnswer(run, "silent", f"{text}. `py-spy dump --pid {pid}` shows where it is")


def _gone(run: FoundRun, error: Exception) -> NoAnswer:
    """The socket does not work."""
    again = judge(run.file)
    if again.state != "live":
        return NoAnswer(again, again.state, again.text)
    if isinstance(error, FileNotFoundError):
        text = f"its socket {run.file.socket_path} is not there any more, but process {run.file.facts.pid} is"
    elif isinstance(error, PermissionError):
        text = f"its socket {run.file.socket_path} is closed to you: it answers user {run.file.facts.user} only"
        return NoAnswer(run, "private", text)
    else:
        text = f"process {run.file.facts.pid} is there, but its socket does not work ({error})"
    return NoAnswer(run, "silent", text)
