"""Runs a bash app's command line, on a worker. Imports little: no kernel, no network; the shell is `remote/shell.py`.

The user's function is called here, on the worker, so that a command line is composed where it runs. The command's
exit status becomes the app's result (0) or its failure.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import IO, Any

from trellis.errors import (
    AppBadFormatting,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
)
from trellis.remote import shell


class BashRunner:
    """What executors run for a bash app: ``runner(*args, **kwargs)`` gives 0 or raises.

    One object for all calls of an app, so that executors serialize it once.

    Args:
        func: the user's function; it gives the command line.
        undeclared: special keyword arguments that the function does not take.
    """

    def __init__(self, func: Callable[..., Any], undeclared: frozenset[str] = frozenset()) -> None:
        self.func = func
        self.undeclared = undeclared
        self.__name__ = getattr(func, "__name__", type(func).__name__)
        self.__qualname__ = getattr(func, "__qualname__", self.__name__)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.func

    def __call__(self, /, *args: Any, **kwargs: Any) -> int:
        """Compose the command line, run it, wait for it.

        Raises:
            BashAppNoReturn: the function failed with an AttributeError.
            AppBadFormatting: the function failed while it put the command line together (IndexError).
            ValueError: the function gave something else than a string.
            BadStdStreamFile: a file for standard output or error cannot be opened.
            AppTimeout: the command took longer than ``walltime``; it and its descendants were killed.
            BashExitFailure: the exit code is not zero.
            MissingOutputs: a file of ``outputs`` does not exist.
        """
        command = self._compose(args, kwargs)
        with ExitStack() as stack:
            stdout = _open_stream("stdout", kwargs.get("stdout"), stack)
            stderr = _open_stream("stderr", kwargs.get("stderr"), stack)
            if stderr is not None:
                print(f"--> executable follows <--\n{command}\n--> end executable <--", file=stderr, flush=True)
            start = shell.end_of(stderr)
            exit_code = self._run(command, stdout, stderr, kwargs.get("walltime"))
            if exit_code != 0:
                words = shell.last_words(stderr, start)
                hint = _hint(stdout, stderr, kwargs.get("inputs"))
                meaning = shell.meaning_of(exit_code)
                raise BashExitFailure(self.__name__, exit_code, shell.shortened(command), words, meaning, hint)
        missing = [output for output in kwargs.get("outputs") or () if not os.path.exists(output)]
        if missing:
            where = f"looked for in the directory {os.getcwd()} on host {os.uname().nodename}"
            text = f"bash app {self.__name__} ended, but not all of its outputs exist ({where}): let the command write "
            raise MissingOutputs(f"{text}to the paths of outputs", missing)
        return 0

    def _run(self, command: str, stdout: IO[str] | None, stderr: IO[str] | None, walltime_s: float | None) -> int:
        try:
            return shell.run(command, stdout, stderr, walltime_s)
        except subprocess.TimeoutExpired:
            raise AppTimeout(f"bash app {self.__name__} ran for longer than its walltime of {walltime_s} s") from None

    def _compose(self, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
        passed = {name: value for name, value in kwargs.items() if name not in self.undeclared}
        try:
            command: object = self.func(*args, **passed)
        except AttributeError as e:
            raise BashAppNoReturn(f"bash app {self.__name__} gave no command line: {e}") from e
        except IndexError as e:
            raise AppBadFormatting(f"bash app {self.__name__} could not format its command line: {e!r}") from e
        if isinstance(command, str):
            return command
        hint = ": has the function no return?" if command is None else ""
        kind = type(command).__name__
        raise ValueError(f"bash app {self.__name__} must return a command line, a str, not {kind}{hint}")


def _hint(stdout: IO[str] | None, stderr: IO[str] | None, inputs: object) -> str:
    """What else may explain a failure: inputs that are not there, and output that was not kept."""
    paths = [path for path in inputs if isinstance(path, str | os.PathLike)] if isinstance(inputs, list | tuple) else []
    absent = [os.fspath(path) for path in paths if not os.path.exists(path)]
    said = []
    if absent:
        where = f"looked for in the directory {os.getcwd()} on host {os.uname().nodename}"
        said.append(f"of its inputs, {', '.join(map(str, absent))} cannot be found ({where})")
    if stdout is not None:
        said.append(f"its standard output is in {shell.name_of(stdout)}")
    if stderr is None:
        said.append("its standard error is in no file: give the call stderr=trellis.AUTO_LOGNAME for that")
    return "; ".join(said)


def _open_stream(name: str, target: Any, stack: ExitStack) -> IO[str] | None:
    """Open what ``stdout=`` or ``stderr=`` names: a path, a pair (path, mode), or a file object of Trellis."""
    if target is None:
        return None
    path, mode = target if isinstance(target, tuple) and len(target) == 2 else (target, None)
    try:
        if mode is None:
            # A File is staged out as a whole, so it begins empty; a plain path may collect several commands.
            mode = "a+" if isinstance(path, (str, bytes)) or not hasattr(path, "cleancopy") else "w"
        path = os.fspath(path)
        directory = os.path.dirname(path)
        if directory:
            os.makedirs(directory, exist_ok=True)
        return stack.enter_context(open(path, mode.replace("b", "")))  # the command is written above what it says
    except (OSError, TypeError, ValueError) as e:
        raise BadStdStreamFile(f"{name} {target!r} cannot be opened: {e}") from e


def remote_side_bash_executor(func: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Run the command line that ``func`` gives, as a task of a bash app does: Parsl's name for it."""
    return BashRunner(func)(*args, **kwargs)
