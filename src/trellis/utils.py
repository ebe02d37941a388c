"""Small helpers that users' programs, providers and executors share. Imports nothing heavy: workers load it too."""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import re
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from trellis.errors import BadStdStreamFile
from trellis.version import VERSION

if TYPE_CHECKING:
    from trellis.dataflow.checkpoint import get_all_checkpoints, get_last_checkpoint

__all__ = [
    "AtomicIDCounter",
    "AutoCancelTimer",
    "RepresentationMixin",
    "Timer",
    "execute_wait",
    "get_all_checkpoints",
    "get_last_checkpoint",
    "get_std_fname_mode",
    "get_version",
    "sanitize_dns_label_rfc1123",
    "sanitize_dns_subdomain_rfc1123",
    "setproctitle",
    "time_limited_open",
    "wait_for_file",
    "wtime_to_minutes",
]

logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    # Checkpoints belong to the data-flow kernel, which stands above this module: loaded only when asked for.
    if name in ("get_all_checkpoints", "get_last_checkpoint"):
        return getattr(import_module("trellis.dataflow.checkpoint"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_version() -> str:
    """The version of Trellis, such as ``"0.1.0"``."""
    return VERSION


def setproctitle(title: str) -> None:
    """Set what ``ps`` and ``top`` show of this process."""
    from setproctitle import setproctitle as set_title

    set_title(title)


# -- files -----------------------------------------------------------------------------------------------------

# Seconds between two looks at a file that is waited for: short against any file system's delay, idle enough.
_LOOK_INTERVAL_S = 0.01


def get_std_fname_mode(
    fdname: str, stdfspec: str | os.PathLike[str] | tuple[str | os.PathLike[str], str]
) -> tuple[str, str]:
    """Path and open mode of a standard stream of an app; the mode is ``"a+"`` unless it is given.

    Args:
        fdname: ``"stdout"`` or ``"stderr"``, for the error message.
        stdfspec: a path, or a pair (path, mode).

    Raises:
        BadStdStreamFile: ``stdfspec`` is neither.
    """
    match stdfspec:
        case str() | os.PathLike():
            return os.fspath(stdfspec), "a+"
        case (str() | os.PathLike() as path, str(mode)):
            return os.fspath(path), mode
        case _:
            raise BadStdStreamFile(f"{fdname} must be a path or a pair (path, mode), not {stdfspec!r}")


@contextmanager
def wait_for_file(path: str, seconds: float = 10) -> Iterator[None]:
    """Enter the block as soon as ``path`` exists, at the latest after ``seconds``: the block must be ready for both."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(_LOOK_INTERVAL_S)
    yield


@contextmanager
def time_limited_open(path: str, mode: str, seconds: float = 1) -> Iterator[IO[Any]]:
    """Open a file and close it after the block; a file to be read is waited for, up to ``seconds``.

    Raises:
        FileNotFoundError: the file to be read has not appeared in time.
    """
    with wait_for_file(path, seconds if "r" in mode else 0), open(path, mode) as file:
        yield file


# -- text ------------------------------------------------------------------------------------------------------


def wtime_to_minutes(time_string: str) -> int:
    """Whole minutes of a wall time ``"HH:MM:SS"``; seconds are dropped, as batch systems count minutes.

    Raises:
        ValueError: the text has another form.
    """
    parts = time_string.split(":")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"wall time must look like HH:MM:SS, not {time_string!r}")
    hours, minutes, _ = map(int, parts)
    total = 60 * hours + minutes
    if total < 1:
        logger.warning("wall time %r is less than one minute", time_string)
    return total


# RFC 1123: a label has at most 63 characters, a whole name 253.
_LABEL_MAX = 63
_SUBDOMAIN_MAX = 253


def sanitize_dns_label_rfc1123(raw_string: str) -> str:
    """The nearest valid DNS label: lower case, digits and inner hyphens, at most 63 characters.

    Raises:
        ValueError: nothing usable is left.
    """
    label = re.sub("[^a-z0-9]+", "-", raw_string.lower()).strip("-")[:_LABEL_MAX].rstrip("-")
    if not label:
        raise ValueError(f"no DNS label can be made of {raw_string!r}")
    return label


def sanitize_dns_subdomain_rfc1123(raw_string: str) -> str:
    """The nearest valid DNS name: labels joined by dots, at most 253 characters.

    Raises:
        ValueError: nothing usable is left, or a label between two dots has nothing usable.
    """
    labels = [sanitize_dns_label_rfc1123(label) for label in raw_string.split(".") if label]
    if not labels:
        raise ValueError(f"no DNS name can be made of {raw_string!r}")
    return ".".join(labels)[:_SUBDOMAIN_MAX].rstrip(".-")


class RepresentationMixin:
    """Shows an object as the call that makes it: the constructor's parameters with the attributes of these names."""

    __max_width__ = 80  # a longer representation is broken over lines
    _validate_repr = False  # True: a parameter without an attribute is an error, for tests of constructors

    def __repr__(self) -> str:
        # Of the class: an instance's __init__ would be bound, a class with __call__ or a metaclass would mislead.
        parameters = list(inspect.signature(type(self).__init__).parameters.values())[1:]
        shown = [self._shown(p) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        name = type(self).__name__
        line = f"{name}({', '.join(shown)})"
        if len(line) <= self.__max_width__ and "\n" not in line:
            return line
        return "\n".join((f"{name}(", textwrap.indent(",\n".join(shown), "    "), ")"))

    def _shown(self, parameter: inspect.Parameter) -> str:
        name = parameter.name
        if hasattr(self, name):
            value = repr(getattr(self, name))
        elif self._validate_repr:
            raise AttributeError(f"{type(self).__name__} keeps no attribute for its parameter {name}")
        else:
            value = "<unrecorded>"
        by_position = parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
        return value if by_position else f"{name}={value}"


# -- counting and time -----------------------------------------------------------------------------------------


class AtomicIDCounter:
    """Gives 0, 1, 2, …, each number once, to any number of threads."""

    def __init__(self) -> None:
        self._numbers = itertools.count()  # next() on it is one step for the interpreter

    def get_id(self) -> int:
        return next(self._numbers)


class Timer:
    """Calls ``callback(*args)`` every ``interval`` seconds on a thread of its own, from now until ``close``.

    An exception of the callback is logged, and the calls go on.
    """

    def __init__(
        self, callback: Callable[..., object], *args: Any, interval: float = 5, name: str | None = None
    ) -> None:
        self.interval = interval
        self.callback = callback
        self.cb_args = args
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name or "trellis-timer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(self.interval):
            self.make_callback()

    def make_callback(self) -> None:
        """Call the callback now, on the caller's thread."""
        try:
            self.callback(*self.cb_args)
        except Exception:
            logger.exception("callback of timer %s failed; it is called again", self._thread.name)

    def close(self, timeout: float | None = None) -> None:
        """Make no more calls; wait for one in progress, at most ``timeout`` seconds (None: as long as it takes)."""
        self._closed.set()
        if threading.current_thread() is not self._thread:  # a callback may close its own timer
            self._thread.join(timeout)


class AutoCancelTimer(threading.Timer):
    """A ``threading.Timer`` for a ``with`` block: starts with it; what has not fired at its end never does."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.cancel()
        if threading.current_thread() is not self:
            self.join()


# -- commands --------------------------------------------------------------------------------------------------


def execute_wait(cmd: str, walltime: float | None = None) -> tuple[int, str, str]:
    """Run a shell command; give its exit code, standard output and standard error.

    Raises:
        subprocess.TimeoutExpired: the command ran for longer than ``walltime`` seconds; it and all that it
            started in its process group have been killed.
    """
    process = subprocess.Popen(
        cmd, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            stdout, stderr = process.communicate(timeout=walltime)
        except BaseException:  # also Ctrl-C: the new session does not get the terminal's signal
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, stdout, stderr
