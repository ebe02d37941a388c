"""Processes that a worker starts: tasks, libraries, downloads. Starts, watches and ends them; decides nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trellis.core.process_end import exit_reason
from trellis.executors.common.process import GroupLeader, tail
from trellis.transport.service import Loop


class Watched:
    """A process with its output in a file, and how it ended."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._killed = False
        self._why = ""
        self.reason = ""  # how it ended, once it has
        self.beside = 0  # others that ended with it, when what it is a copy of did

    def _note_end(self, status: int, peak: int) -> int:
        """The exit code, from a wait status; notes how it ended. ``peak``: the most memory it had, in bytes."""
        self.reason = exit_reason(status, peak)
        if self._killed and os.WIFSIGNALED(status):
            why = f": {self._why}" if self._why else ""
            self.reason = f"ended by its worker{why}; peak memory {peak / 2**20:.0f} MB"
        return os.waitstatus_to_exitcode(status)

    def output_bytes(self) -> int:
        """How much it has written to its output."""
        try:
            return os.stat(self._output).st_size
        except OSError:
            return 0

    def words(self) -> str:
        """How it ended, and the end of what it wrote."""
        written = tail(self._output)
        return f"{self.reason}; its output ends with:\n{written}" if written else f"{self.reason}; it wrote nothing"


class Child(Watched):
    """A process, leader of a process group of its own, with its output in a file.

    Args:
        loop: where its end is watched.
        argv: its command.
        output: file for standard output and error together.
        on_end: called with its exit code (negative: the signal) when it has ended and its group is gone.
        cwd, environment, pass_fds: as for ``subprocess.Popen``.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        loop: Loop,
        argv: Sequence[str],
        output: Path,
        on_end: Callable[[Child, int], None],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        super().__init__(output)
        self._on_end = on_end
        with open(output, "ab") as stream:
            self._process = GroupLeader(
                argv, stdout=stream, stderr=stream, cwd=cwd, environment=environment, pass_fds=pass_fds
            )
        self.pid = self._process.pid
        self._process.watch(loop, self._ended)

    def ask_to_end(self) -> None:
        """Send SIGTERM to it alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self, because_it_dies: bool = False, why: str = "") -> None:
        """End it and its group; ``on_end`` follows. ``because_it_dies``: its end will not be put down to this."""
        self._killed = self._killed or not because_it_dies
        self._why = self._why or why
        self._process.signal_group(signal.SIGKILL)

    def _ended(self) -> None:
        self._on_end(self, self._note_end(*self._process.reap()))

    def end(self) -> None:
        """Kill it and wait for its end, without telling anybody."""
        self.kill()
        self._note_end(*self._process.reap())
