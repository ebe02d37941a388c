"""Runs one command line in a shell, whatever its length, and tells how its standard error ends. Knows no apps.

The command and what it has started are killed when they take too long, or when this thread is interrupted.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from trellis.core.interruption import interruptible

_SHELL = "/bin/bash"

# Linux takes no single argument of 128 KiB or more, its end included.
_ARGUMENT_LIMIT_BYTES = 128 * 1024 - 1

# For processes that do not end on SIGTERM: long enough to write a last line, short against any walltime.
_KILL_GRACE_S = 1.0

# Where tasks of TaskVine have the files of absolute paths, in their own directory (see its ``sandbox_path``).
_OUTSIDE = ".outside/"

# Of a command and of its standard error, in an error.
_COMMAND_SHOWN = 200
_WORDS_SHOWN = 500


def run(command: str, stdout: IO[str] | None, stderr: IO[str] | None, timeout_s: float | None) -> int:
    """The exit code of a command.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout_s``; it and its descendants were killed.
    """
    with _arguments(command) as (arguments, fds):
        # The child stays in this process's group: who kills a worker's group kills its commands too.
        process = subprocess.Popen([_SHELL, "-c", arguments], stdout=stdout, stderr=stderr, pass_fds=fds)
    try:
        with interruptible(lambda: _kill_tree(process)):
            return process.wait(timeout=timeout_s)
    finally:
        if process.returncode is None:  # too slow, or this thread was interrupted
            _kill_tree(process)


@contextmanager
def _arguments(command: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What the shell is given to run, and the descriptors that it needs for that."""
    data = os.fsencode(command)
    if len(data) < _ARGUMENT_LIMIT_BYTES:
        yield command, ()
        return
    # Too long for an argument: the shell reads it from a file that has no name. It has read all of it when it runs the
    # first line, which closes the file, so that what the command starts does not have it open.
    with tempfile.TemporaryFile() as file:
        fd = file.fileno()
        file.write(b"exec %d<&-\n%b\n" % (fd, data))
        file.seek(0)
        yield f". /dev/fd/{fd}", (fd,)


def shortened(command: str) -> str:
    """A command as an error shows it: on one line, without its middle if it is long."""
    words = " ".join(command.split())
    half = _COMMAND_SHOWN // 2
    return words if len(words) <= _COMMAND_SHOWN else f"{words[:half]} … {words[-half:]}"


def meaning_of(exit_code: int) -> str:
    """What the exit code of a command says; empty if nothing but that it has failed."""
    if exit_code == 127:
        return "a program was not found: is it installed where tasks run, and on PATH there (worker_init)?"
    if exit_code == 126:
        return "a program cannot be executed: is it a program for this system, and allowed to be (chmod +x)?"
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    hint = ", perhaps by the system for lack of memory" if number == signal.SIGKILL else ""
    return f"killed by signal {number} ({name}){hint}"


def end_of(stream: IO[str] | None) -> int:
    """Where a file ends now: what is written from here on is the command's."""
    return 0 if stream is None else os.fstat(stream.fileno()).st_size


def name_of(stream: IO[str]) -> str:
    """A file's path as its user knows it."""
    name = os.fsdecode(stream.name)
    inner = name.removeprefix(_OUTSIDE)
    return name if inner == name or inner.startswith("up/") else f"/{inner}"


def last_words(stream: IO[str] | None, start: int) -> str:
    """Where a command's standard error is, and how what it has written since ``start`` ends. Never raises."""
    if stream is None:
        return ""
    with suppress(OSError, ValueError):
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):  # a terminal, a pipe: nothing to read there
            return f"its standard error went to {name_of(stream)}"
        with open(stream.name, "rb") as file:
            cut = os.fstat(file.fileno()).st_size - _WORDS_SHOWN
            file.seek(max(start, cut))
            words = file.read(_WORDS_SHOWN).decode(errors="replace").strip()
            if cut > start and "\n" in words:  # whole lines
                words = words.partition("\n")[2]
        return f"its standard error, in {name_of(stream)}, " + (f"ends with: {words}" if words else "is empty")
    return f"its standard error is in {name_of(stream)}"


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    import psutil  # not needed by most workers, and slow to load

    try:
        descendants = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        descendants = []
    process.terminate()
    for child in descendants:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_GRACE_S)
    _, alive = psutil.wait_procs(descendants, timeout=_KILL_GRACE_S)
    for child in alive:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.kill()
    process.wait()
