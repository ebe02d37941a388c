"""The interchange's process, as the submit side starts, watches, and ends it. Decides nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from trellis.errors import ExecutorError
from trellis.executors.htex.settings import Ports, Settings
from trellis.transport.service import Loop

# The interchange's start takes about 0.2 s on an idle machine.
_START_TIMEOUT_S = 30.0


def interchange_command() -> list[str]:
    """How the interchange is started unless the user says otherwise."""
    return [sys.executable, "-P", "-m", "trellis.executors.htex.interchange_service"]


class InterchangeProcess:
    """A child process in a session of its own: an interrupt from the terminal is for the user's program alone.

    Its standard input stays open as long as this process lives; its end is the end of the interchange.
    """

    def __init__(self, label: str, command: Sequence[str], settings: Settings) -> None:
        self._label = label
        self._command = list(command)
        self._settings = settings
        self._stderr_path = Path(settings.logdir) / "interchange.stderr"

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> Ports:
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

    def _read_ports(self) -> Ports:
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
            raise ExecutorError(self._label, f"the interchange does not start. {self.last_words()}")
        return msgspec.json.decode(line, type=Ports)

    def open_sentinel(self) -> int | None:
        """A file descriptor that is readable when the process has ended; None where the system has no such thing."""
        return os.pidfd_open(self._process.pid) if hasattr(os, "pidfd_open") else None

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """How it ended, and the ends of its logs."""
        code = self._process.poll()
        if code is None:
            ending = f"It said nothing for {_START_TIMEOUT_S:g} s."
        elif code < 0:
            ending = f"It was killed by signal {-code} ({signal.Signals(-code).name})."
        else:
            ending = f"It ended with exit code {code}."
        return ending + _tail(self._stderr_path) + _tail(self._stderr_path.with_name("interchange.log"))

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
