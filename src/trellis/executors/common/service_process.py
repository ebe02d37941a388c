"""The process of a service (an interchange, a manager, a factory), as the submit side starts, watches, and ends it.

Decides nothing. The process reads its settings as one line from its standard input, which then stays open as long as
this process lives: its end is the end of the service. It writes its ports as one line to its standard output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from trellis.errors import ExecutorError
from trellis.executors.common.process import GroupLeader, tail
from trellis.transport.service import Loop

P = TypeVar("P")

# Services start in about 0.2 s on an idle machine.
_START_TIMEOUT_S = 30.0
# How soon a start is abandoned when nobody wants it any more.
_LOOK_S = 0.1


class ServiceProcess(Generic[P]):
    """A child process in a session of its own: an interrupt from the terminal is for the user's program alone.

    Args:
        label: of the executor.
        what: what the service is, for people.
        command: its words.
        settings: a struct with a field ``logdir``.
        ports: the type of the answer.
        log: name of the service's log in that directory.
    """

    def __init__(self, label: str, what: str, command: Sequence[str], settings: Any, ports: type[P], log: str) -> None:
        self._label = label
        self.what = what
        self._command = list(command)
        self._settings = settings
        self._ports = ports
        self._log = Path(settings.logdir) / log
        self._stderr_path = self._log.with_suffix(".stderr")
        self._kill_reason = ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._process

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, abandoned: Callable[[], bool] = lambda: False) -> P:
        """Start it, and wait until it listens, or until nobody wants it any more.

        Raises:
            ExecutorError: it does not; the message has its last words.
        """
        with open(self._stderr_path, "ab") as stderr:
            self._process = GroupLeader(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
        try:
            return self._read_ports(abandoned)
        except BaseException:
            self.end(0.0)
            raise

    def _read_ports(self, abandoned: Callable[[], bool]) -> P:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
            self._process.stdin.flush()
        said: list[bool] = []
        loop = Loop()
        loop.add_fd(self._process.stdout.fileno(), lambda: said.append(True))
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not said and time.monotonic() < deadline and not abandoned():
            loop.run_once(_LOOK_S)
        loop.close()
        os.set_blocking(self._process.stdout.fileno(), False)
        line = self._process.stdout.readline()
        if not line:
            if not said:
                self.kill(f"did not listen within {_START_TIMEOUT_S:g} s")
            self.end(1.0)
            raise ExecutorError(self._label, f"the {self.what} does not start. {self.last_words()}")
        return msgspec.json.decode(line, type=self._ports)

    def open_sentinel(self) -> int:
        """A file descriptor that is readable when the process has ended."""
        return self._process.open_sentinel()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end, whatever it is, but not longer than that; give whether it has ended."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ending(self) -> str:
        """How it ended, as the rest of a sentence about it."""
        code = self._process.poll()
        if self._kill_reason:
            return self._kill_reason
        if code is None:
            return "is still there"
        if code < 0:
            return f"was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"ended with exit code {code}"

    def last_words(self) -> str:
        """How it ended, and the ends of its logs."""
        return f"It {self.ending()}.{_end_of(self._stderr_path)}{_end_of(self._log)}"

    def kill(self, reason: str = "") -> None:
        """End it and what it has started, in whatever state; ``reason``: why, if it has not ended by itself."""
        self._kill_reason = self._kill_reason or reason
        self._process.signal_group(signal.SIGKILL)

    def end(self, timeout_s: float) -> None:
        """Close its standard input, wait for its end, and kill it when that takes longer than ``timeout_s``."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()


def _end_of(path: Path) -> str:
    text = tail(path)
    return f"\nEnd of {path}:\n{text}" if text else ""
