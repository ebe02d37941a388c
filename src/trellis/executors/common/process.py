"""Child processes in sessions of their own: started, watched, and ended with all that they have started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from trellis.core.plain_files import open_plain
from trellis.core.process_end import peak_bytes
from trellis.core.system_calls import open_sentinel
from trellis.transport.service import Loop

# The end of its output that is told.
_TAIL_BYTES = 2_000


class GroupLeader(subprocess.Popen[bytes]):
    """A process that leads a session, and so a process group: what it starts is signalled with it.

    An interrupt from the terminal is for the user's program alone.

    Args:
        argv: its command.
        environment: None: ours.
        stdin, stdout, stderr, cwd, pass_fds: as for ``subprocess.Popen``.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        cwd: str | Path | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        super().__init__(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=None if environment is None else dict(environment),
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self._loop: Loop | None = None
        self._sentinel: int | None = None

    def open_sentinel(self) -> int:
        """A descriptor that is readable when the process has ended."""
        return open_sentinel(self.pid)

    def watch(self, loop: Loop, on_end: Callable[[], None]) -> None:
        """Have the loop call ``on_end``, which is to ``reap``, when the process has ended.

        Raises:
            OSError: there are too many open files; it is ended then.
        """
        self._loop = loop
        try:
            self._sentinel = self.open_sentinel()
            loop.add_fd(self._sentinel, on_end)
        except OSError:
            self.reap()
            raise

    def signal_group(self, number: signal.Signals) -> None:
        """Signal it and all that it has started and is still of its process group, if it was not waited for yet."""
        if self.returncode is None:  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def reap(self) -> tuple[int, int]:
        """Kill what is left of the group, and wait: its wait status, and the most memory it had in bytes."""
        # Before the wait: while the process is a zombie its number cannot belong to anybody else.
        self.signal_group(signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        if self._loop is not None and self._sentinel is not None:
            self._loop.remove_fd(self._sentinel)
            os.close(self._sentinel)
        return status, peak_bytes(usage)


def tail(path: str | Path) -> str:
    """The end of a text file; nothing when it cannot be read."""
    try:
        with open(open_plain(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(errors="replace").strip()
    except OSError:
        return ""
