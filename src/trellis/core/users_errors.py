"""What users' exceptions say, whatever they do when they are asked. Stands on nothing."""

from __future__ import annotations

import threading


class EndedBySignal(SystemExit):
    """A signal ends the program: no task has raised this."""


def encodable(text: str) -> str:
    """A text with halves of characters, as names of files may have them, as escapes: logs and databases take it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def text_of(error: BaseException) -> str:
    """An error's message, or a placeholder: its ``__str__`` may raise anything, even what would end a program."""
    try:
        return encodable(str.__str__(str(error)))  # of a subclass of str, only the text
    except BaseException:
        return "(its message cannot be shown)"


def repr_of(error: BaseException) -> str:
    """The ``repr`` of an error, as careful as ``text_of``."""
    try:
        return encodable(str.__str__(repr(error)))
    except BaseException:
        return f"{type(error).__name__}(its words cannot be shown)"


def describe(error: BaseException) -> str:
    """Type and message."""
    return f"{type(error).__name__}: {text_of(error)}"


def is_interrupt(error: BaseException) -> bool:
    """Whether this may be the user's Ctrl-C, or the end that a signal's handler wants: not to be taken for a failure.

    Only the main thread gets them.
    """
    return (
        isinstance(error, KeyboardInterrupt | EndedBySignal) and threading.current_thread() is threading.main_thread()
    )
