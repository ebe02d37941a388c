"""What a failed task's future gets, and how its exception reads in a log. Users' exceptions are never trusted."""

from __future__ import annotations

from trellis.core.users_errors import text_of
from trellis.errors import TaskExited

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
