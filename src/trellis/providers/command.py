"""Processes that providers start: commands of batch systems, and scripts on this host. No decisions about blocks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence

import psutil

from trellis.core.interfaces import CommandResult
from trellis.errors import ExecutionProviderException
from trellis.providers.job_environment import without_outer_job

# Where waiting for processes to die looks again: at first at once, later twenty times a second.
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
# A killed process is gone in milliseconds, unless it hangs in the kernel (a dead file server); nobody waits for those.
_KILL_TIMEOUT_S = 5.0


class CommandTimeout(ExecutionProviderException):
    """A command was killed because it took too long. What it had asked for may happen all the same."""


class SubprocessRunner:
    """Runs the commands of a batch system (``sbatch``, ``qstat`` …) as processes.

    They see nothing of a job in which this program itself may run: what they submit is no part of it.
    """

    def run(self, argv: Sequence[str], timeout_s: float) -> CommandResult:
        """Run a command to its end; a non-zero exit code is a result, not an error.

        Raises:
            CommandTimeout: it has not ended after ``timeout_s``.
            ExecutionProviderException: it does not exist.
        """
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                env=without_outer_job(os.environ),
            )
        except OSError as error:
            raise ExecutionProviderException(f"cannot run {argv[0]}: {error.strerror}; is it on PATH?") from error
        with process:
            try:
                stdout, stderr = process.communicate(timeout=timeout_s)
            except BaseException as error:
                # The group, not only the command: what it started would hold the pipes open.
                _signal_group(process.pid, signal.SIGKILL)
                process.wait()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise CommandTimeout(f"{argv[0]} has not ended after {timeout_s:g} s") from None
                raise
        return CommandResult(process.returncode, stdout, stderr)


class ScriptProcess:
    """A bash script running on this host, leader of its own session.

    The leader is reaped last, after everything else in its session is gone: until then its id, which is also the
    session's, cannot pass to somebody else's process.
    """

    __slots__ = ("_popen", "_process", "pid")

    def __init__(self, script_path: str, stdout_path: str, stderr_path: str) -> None:
        with open(stdout_path, "ab") as stdout, open(stderr_path, "ab") as stderr:
            self._popen = subprocess.Popen(
                ["/bin/bash", script_path],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._process = psutil.Process(self.pid)

    def has_ended(self) -> bool:
        """Whether the script itself has ended; what it started may still run."""
        if self._popen.returncode is not None:
            return True
        try:
            # Popen.poll() would reap it. Gone: somebody else in this program waits for all children.
            return not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def ask_to_end(self) -> None:
        """Send SIGTERM to the script and what it started."""
        if self._popen.returncode is None:
            _signal_group(self.pid, signal.SIGTERM)

    def is_gone(self) -> bool:
        """Whether the script and everything in its session has ended."""
        return self.has_ended() and not _others_in_session(self.pid)

    def reap(self) -> int:
        """Kill what is left of it, and give its exit code (negative: the number of the signal that ended it)."""
        if self._popen.returncode is None:
            deadline = time.monotonic() + _KILL_TIMEOUT_S
            _signal_group(self.pid, signal.SIGKILL)
            # A process may start another one while we look, and dying takes a moment: look until nobody is there.
            while (others := _others_in_session(self.pid)) and time.monotonic() < deadline:
                for pid in others:
                    _signal(pid, signal.SIGKILL)
                time.sleep(_FIRST_PAUSE_S)
            try:
                self._popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return -signal.SIGKILL
        return self._popen.returncode


def end_scripts(scripts: Iterable[ScriptProcess], grace_s: float) -> None:
    """End these scripts and all that they started: SIGTERM first, SIGKILL for what still runs after ``grace_s``."""
    remaining = list(scripts)
    for script in remaining:
        script.ask_to_end()
    deadline = time.monotonic() + grace_s
    pause_s = _FIRST_PAUSE_S
    while True:
        waiting = [script for script in remaining if not script.is_gone()]
        if not waiting or time.monotonic() >= deadline:
            break
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    for script in remaining:
        script.reap()


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or (macOS) only zombies are left
        os.killpg(group, number)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _others_in_session(leader: int) -> list[int]:
    """Processes of the leader's session, without it and without zombies (whoever is their parent has to reap them)."""
    found = []
    for pid in psutil.pids():
        try:
            if pid != leader and os.getsid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found
