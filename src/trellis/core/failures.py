"""What a failed task's future gets, how its exception reads in a log, and which failures are of one kind.

Users' exceptions are never trusted.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import NamedTuple

from trellis.core.users_errors import text_of
from trellis.errors import PropagatedException, RemoteError, RemoteTraceback, TaskExited

# Of an exception's text, in one line of a log.
_SHOWN = 500


def as_exception(raised: BaseException, task: str) -> Exception:
    """What ``task`` raised, as something that ``except Exception`` catches: programs do not end with their tasks."""
    if isinstance(raised, Exception):
        return raised
    exited = TaskExited(task, in_words(raised))
    exited.__cause__ = raised
    return exited


def in_words(exception: BaseException) -> str:
    """Type and message, shortened; ``sys.exit(2)`` for that."""
    name, message = type(exception).__name__, text_of(exception)
    if isinstance(exception, SystemExit):
        return f"sys.exit({message})"
    if len(message) > _SHOWN:
        message = f"{message[:_SHOWN]}…"
    return f"{name}: {message}" if message else name


# -- failures of one kind --------------------------------------------------------------------------------------

# Of a message, in what tells kinds apart.
_COMPARED = 300
# What differs between failures that have one cause: paths, addresses, identifiers, numbers.
_VARYING = re.compile(
    r"(?P<path>(?<![\w/.])(?:[a-z][a-z0-9+]*:/)?/[^\s'\"`,;:()<>\[\]]+)"
    r"|0x[0-9a-fA-F]+|\b[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\b|\b(?=[a-f]*\d)[0-9a-f]{12,}\b"
    r"|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
)
_FRAME = re.compile(r'^ *File "(?P<file>[^\n"]+)", line \d+, in (?P<function>[^\n]+)$', re.MULTILINE)
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OURS_ELSEWHERE = "/trellis/remote/"  # on other hosts


class FailureKind(NamedTuple):
    """What failures have in common that probably have one cause."""

    app: str
    exception: str  # name of its class
    pattern: str  # its message, with ``#`` and ``/…`` for what varies: numbers, addresses, identifiers, paths
    place: str  # file and function that raised it, if it was code of the user's: ``model.py, simulate``

    @property
    def fingerprint(self) -> str:
        """The same for the same kind in all runs and on all hosts: 12 hexadecimal digits."""
        import hashlib  # slow to load, and only needed when something has failed

        return hashlib.sha256("\0".join(self).encode(errors="replace")).hexdigest()[:12]


def kind_of(app: str, exception: BaseException) -> FailureKind:
    """The kind of a failure of an app; for a task that was not run because others failed, theirs counts."""
    if isinstance(exception, PropagatedException) and (roots := exception.root_causes()):
        root = roots[0][0]
        return FailureKind(app, type(exception).__name__, f"{type(root).__name__}: {pattern(text_of(root))}", "")
    if isinstance(exception, RemoteError):
        name, message = exception.type_name.rpartition(".")[2], exception.message
        return FailureKind(app, name, pattern(message), _last_place(exception.traceback_text))
    return FailureKind(app, type(exception).__name__, pattern(text_of(exception)), _place_of(exception))


def fingerprint(app: str, exception: BaseException) -> str:
    """A short name for the kind of a failure; see ``FailureKind``."""
    return kind_of(app, exception).fingerprint


def pattern(message: str) -> str:
    """A message without what varies between failures of one kind."""
    return _pattern(message[:_COMPARED])


@lru_cache(maxsize=256)  # many failures say the same
def _pattern(message: str) -> str:
    return _VARYING.sub(lambda match: "/…" if match["path"] else "#", message)


def _place_of(exception: BaseException) -> str:
    cause = exception.__cause__
    if isinstance(exception, TaskExited) and cause is not None:
        return _place_of(cause)
    if isinstance(cause, RemoteTraceback):
        return _last_place(cause.text)
    trace, place = exception.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = _place(code.co_filename, code.co_name)
        trace = trace.tb_next
    return place


def _last_place(text: str) -> str:
    start = text.rfind('  File "')
    match = _FRAME.match(text, start) if start >= 0 else None
    return _place(match["file"], match["function"]) if match else ""


def _place(file: str, function: str) -> str:
    return "" if file.startswith(_OURS) or _OURS_ELSEWHERE in file else f"{os.path.basename(file)}, {function}"
