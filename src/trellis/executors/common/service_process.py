"""The process of a service (an interchange, a manager), as the submit side starts, watches, and ends it.

Decides nothing. The process reads its settings as one line from its standard input, which then stays open as long as
this process lives: its end is the end of the service. It writes its ports as one line to its standard output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from trellis.errors import ExecutorError
from trellis.transport.service import Loop

# Services start in about 0.2 s on an idle machine.
_START_TIMEOUT_S = 30.0


class ServiceProcess:
    """A child process in a session of its own: an interrupt from the terminal is for the user's program alone.

    Args:
        label: of the executor.
        what: what the service is, for people.
        command: its words.
        settings: a struct with a field ``logdir``.
        ports: the type of the answer.
        log: name of the service's log in that directory.
    """

    def __init__(self, label: str, what: str, command: Sequence[str], settings: Any, ports: type, log: str) -> None:
        self._label = label
        self._what = what
        self._command = list(command)
        self._settings = settings
        self._ports = ports
        self._log = Path(settings.logdir) / log
        self._stderr_path = self._log.with_suffix(".stderr")

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> Any:
        """Start it, and wait until it listens.

        Raises:
            ExecutorError: it does not; the message has its last words.
        """
        with open(self._stderr_path, "ab") as stderr:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        try:
            return self._read_ports()
        except BaseException:
            self.end(0.0)
            raise

    def _read_ports(self) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(self._settings) + b"\n")
            self._process.stdin.flush()
        loop = Loop()
        loop.add_fd(self._process.stdout.fileno(), lambda: None)
        loop.run_once(_START_TIMEOUT_S)
        loop.close()
        os.set_blocking(self._process.stdout.fileno(), False)
        line = self._process.stdout.readline()
        if not line:
            self.end(1.0)
            raise ExecutorError(self._label, f"the {self._what} does not start. {self.last_words()}")
        return msgspec.json.decode(line, type=self._ports)

    def open_sentinel(self) -> int | None:
        """A file descriptor that is readable when the process has ended; None where the system has no such thing."""
        return os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else None

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait for its end, whatever it is."""
        self._process.wait()

    def last_words(self) -> str:
        """How it ended, and the ends of its logs."""
        code = self._process.poll()
        if code is None:
            ending = f"It said nothing for {_START_TIMEOUT_S:g} s."
        elif code < 0:
            ending = f"It was killed by signal {-code} ({signal.Signals(-code).name})."
        else:
            ending = f"It ended with exit code {code}."
        return ending + _tail(self._stderr_path) + _tail(self._log)

    def end(self, timeout_s: float) -> None:
        """Close its standard input, wait for its end, and kill it when that takes longer than ``timeout_s``."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _tail(path: Path, most: int = 2_000) -> str:
    try:
        text = path.read_text(errors="replace")[-most:].strip()
    except OSError:
        return ""
    return f"\nEnd of {path}:\n{text}" if text else ""
